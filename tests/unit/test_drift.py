from typing import Any

import pytest

from tftrt_operator.domain.drift import drift
from tftrt_operator.domain.manifest import Manifest, with_hash

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
