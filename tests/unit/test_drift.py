import copy
from collections.abc import Callable
from typing import Any

import pytest

from tftrt_operator.domain.drift import concession, drift
from tftrt_operator.domain.manifest import Manifest, with_hash
from tftrt_operator.domain.manifests.network_policy import jobs_network_policy, network_policy
from tftrt_operator.domain.runtime import Network

from .builders import engine_record, trtmodel

BODY: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "namespace": "b"},
    "spec": {
        "paused": False,
        "template": {
            "containers": [{"name": "server", "resources": {"limits": {"cpu": "1000m"}}, "args": ["serve"]}],
            "tolerations": [{"key": "gpu"}],
        },
    },
}


def live(**template: Any) -> dict[str, Any]:
    spec = {
        "replicas": 1,
        "template": {
            "containers": [{"name": "server", "resources": {"limits": {"cpu": "1"}}, "args": ["serve"], "tty": True}],
            "tolerations": [{"key": "gpu"}],
        }
        | template,
    }
    return {**BODY, "metadata": {**BODY["metadata"], "uid": "1"}, "spec": spec}


def test_defaults_of_the_api_server_are_no_drift() -> None:
    assert not drift(Manifest(BODY), live())


def test_a_container_that_a_webhook_added_is_no_drift() -> None:
    containers = [{"name": "sidecar"}, *live()["spec"]["template"]["containers"]]
    assert not drift(Manifest(BODY), live(containers=containers))


@pytest.mark.parametrize(
    "template",
    [
        {"containers": []},
        {"containers": [{"name": "server", "resources": {"limits": {"cpu": "2"}}, "args": ["serve"]}]},
        {"containers": [{"name": "server", "resources": {"limits": {"cpu": "1"}}, "args": ["serve", "--debug"]}]},
        {"tolerations": [{"key": "gpu"}, {"key": "other"}]},
    ],
)
def test_what_somebody_changed_is_drift(template: dict[str, Any]) -> None:
    assert drift(Manifest(BODY), live(**template))


def test_a_field_dropped_from_the_manifest_is_drift() -> None:
    before, after = with_hash(BODY), with_hash({**BODY, "spec": {"paused": False}})
    assert drift(after, before.body)


def test_a_hash_that_reads_as_a_number_with_an_exponent_is_text() -> None:
    before = {**BODY, "metadata": {**BODY["metadata"], "annotations": {"tftrt.dev/manifest-hash": "0874e13896750144"}}}
    after = {**BODY, "metadata": {**BODY["metadata"], "annotations": {"tftrt.dev/manifest-hash": "3463e69954635421"}}}
    assert drift(Manifest(after), before)
    assert not drift(Manifest(after), after)


def test_labels_that_are_equal_as_numbers_are_not_equal() -> None:
    labelled = {**BODY, "metadata": {**BODY["metadata"], "labels": {"version": "1.1"}}}
    assert drift(Manifest(labelled), {**BODY, "metadata": {**BODY["metadata"], "labels": {"version": "1.10"}}})


def test_a_volume_that_a_webhook_mounted_a_second_time_is_no_drift() -> None:
    ours = {"name": "server", "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]}
    theirs = {"name": "server", "volumeMounts": [*ours["volumeMounts"], {"name": "scratch", "mountPath": "/agent"}]}
    bodies = [{**BODY, "spec": {"containers": [container]}} for container in (ours, theirs)]
    assert not drift(Manifest(bodies[0]), bodies[1])


CLIENTS = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
STORE = {"uri": "s3://bucket/tftrt"}
SERVED = trtmodel(serving={"networkPolicy": CLIENTS}, artifacts=STORE)
SERVERS = network_policy(SERVED, engine_record(SERVED), Network())
JOBS = jobs_network_policy(SERVED, ["s3://bucket/tftrt"], Network())


def edited(policy: Manifest, edit: Callable[[Any], object]) -> dict[str, Any]:
    """The live policy after somebody's edit of its spec."""
    body: dict[str, Any] = copy.deepcopy(dict(policy.body))
    body["metadata"] |= {"uid": "1", "generation": 2}
    edit(body["spec"])
    return body


def test_a_policy_as_it_was_applied_is_no_drift() -> None:
    assert not drift(SERVERS, edited(SERVERS, lambda _: None))
    assert not drift(JOBS, edited(JOBS, lambda _: None))
    closed = jobs_network_policy(SERVED, ["pvc://models"], Network())
    assert not drift(closed, edited(closed, lambda spec: spec.update(egress=[]))), "no rule is no rule"


@pytest.mark.parametrize(
    ("policy", "edit"),
    [
        (SERVERS, lambda spec: spec["ingress"].append({})),
        (SERVERS, lambda spec: spec["egress"].append({})),
        (SERVERS, lambda spec: spec["ingress"][0].pop("from")),
        (SERVERS, lambda spec: spec["ingress"][0]["from"].append({"podSelector": {}})),
        (SERVERS, lambda spec: spec["ingress"][0]["from"][0].update(namespaceSelector={})),
        (SERVERS, lambda spec: spec["ingress"][0]["from"][0].update(podSelector={})),
        (SERVERS, lambda spec: spec["egress"][0].update(to=[{"ipBlock": {"cidr": "192.0.2.0/24"}}])),
        (SERVERS, lambda spec: spec["egress"][0]["ports"][-1].update(endPort=65535)),
        (SERVERS, lambda spec: spec["podSelector"]["matchLabels"].update(nobody="here")),
        (SERVERS, lambda spec: spec["policyTypes"].remove("Egress")),
        (JOBS, lambda spec: spec.update(ingress=[{}])),
        (JOBS, lambda spec: spec["podSelector"].update(matchLabels={"nobody": "here"})),
        (JOBS, lambda spec: spec["podSelector"]["matchExpressions"].pop()),
    ],
)
def test_whatever_somebody_changes_of_a_policy_is_drift(policy: Manifest, edit: Callable[[Any], object]) -> None:
    assert drift(policy, edited(policy, edit))


def test_what_a_webhook_adds_to_a_policy_is_conceded_and_nothing_more() -> None:
    def theirs(spec: Any) -> None:
        spec["egress"].append({"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]})

    def more(spec: Any) -> None:
        theirs(spec)
        spec["egress"].append({})

    conceded = concession(SERVERS, edited(SERVERS, theirs))
    assert not drift(SERVERS, edited(SERVERS, theirs), conceded)
    assert drift(SERVERS, edited(SERVERS, more), conceded) == {"spec.egress[2]"}
