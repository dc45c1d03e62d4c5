"""Who reaches a model's pods, and what they reach: whom and what the spec names, and nobody and nothing by accident."""

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tftrt_operator.api.network import NetworkPolicyPeer
from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.manifest import Manifest
from tftrt_operator.domain.manifests.cleanup_job import Store, cleanup_job
from tftrt_operator.domain.manifests.conversion_job import conversion_job
from tftrt_operator.domain.manifests.network_policy import network_policy
from tftrt_operator.domain.observation import Observation, Reference
from tftrt_operator.domain.plan import Plan, plan
from tftrt_operator.domain.runtime import Network
from tftrt_operator.domain.stages.deletion import FINALIZER
from tftrt_operator.domain.step import Writes

from .builders import (
    CATALOGUE,
    engine_record,
    job,
    live,
    live_deployment,
    live_jobs_policy,
    observed_record,
    target,
    trtmodel,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE: dict[str, Any] = {"podSelector": {}}
PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
S3: dict[str, Any] = {"uri": "s3://artifacts/tftrt"}


def planned(model: TRTModel, *children: Any, network: Network | None = None, **observation: Any) -> Plan:
    catalogue = replace(CATALOGUE, network=network or Network())
    return plan(model, catalogue, Observation(children=children, **observation), NOW)


def server_policy(network: Network | None = None, **spec: Any) -> dict[str, Any]:
    model = trtmodel(**spec)
    body = network_policy(model, engine_record(model), network or Network()).body
    found: dict[str, Any] = body["spec"]
    return found


def peers(policy: dict[str, Any], port: str) -> list[dict[str, Any]] | None:
    """Who may reach a port by name; None for nobody."""
    found = [rule["from"] for rule in policy.get("ingress", ()) if port in [item["port"] for item in rule["ports"]]]
    assert len(found) < 2
    return found[0] if found else None


def ports(policy: dict[str, Any]) -> list[int]:
    """The TCP ports that lead out, DNS' own left out."""
    tcp = [item["port"] for rule in policy.get("egress", ()) for item in rule["ports"] if item["protocol"] == "TCP"]
    return [port for port in tcp if port != 53]


def jobs_policies(made: Plan) -> list[Manifest]:
    return [manifest for manifest in made.writes.prerequisites if manifest.name == "resnet50.jobs"]


def jobs_policy(made: Plan) -> dict[str, Any]:
    (policy,) = jobs_policies(made)
    found: dict[str, Any] = policy.body["spec"]
    return found


def test_a_server_is_open_to_the_pods_of_its_namespace_unless_the_spec_names_others() -> None:
    policy = server_policy()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [peers(policy, port) for port in ("http", "grpc", "metrics")] == [[NAMESPACE]] * 3

    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    policy = server_policy(serving={"networkPolicy": {"from": [PROMETHEUS | {"podSelector": {}}, block]}})
    assert peers(policy, "http") == peers(policy, "grpc") == [PROMETHEUS | {"podSelector": {}}, block]
    assert peers(policy, "metrics") == [NAMESPACE]


def test_metrics_are_read_by_whom_the_spec_names_else_by_the_namespace_and_whom_the_configuration_names() -> None:
    scraper = NetworkPolicyPeer.model_validate(PROMETHEUS)
    configured = Network(metrics_from=(scraper,))
    policy = server_policy(configured)
    assert peers(policy, "metrics") == [NAMESPACE, PROMETHEUS]
    assert peers(policy, "http") == [NAMESPACE]
    own = {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["scraper"]}]}}
    assert peers(server_policy(configured, serving={"networkPolicy": {"metricsFrom": [own]}}), "metrics") == [own]


def test_an_empty_list_is_nobody_and_not_everybody() -> None:
    policy = server_policy(serving={"networkPolicy": {"from": [], "metricsFrom": []}})
    assert policy["ingress"] == []
    assert "Ingress" in policy["policyTypes"]


@pytest.mark.parametrize(
    ("spec", "open_ports"),
    [
        ({}, []),
        ({"artifacts": S3}, [443]),
        ({"artifacts": S3, "serving": {"networkPolicy": {"egressPorts": [9000]}}}, [443, 3128, 9000]),
    ],
)
def test_a_server_calls_out_only_to_pull_its_artifact(spec: dict[str, Any], open_ports: list[int]) -> None:
    network = Network(egress_ports=(3128,)) if 3128 in open_ports else Network()
    assert ports(server_policy(network, **spec)) == open_ports


def test_where_the_user_sees_to_it_there_is_no_policy_and_ours_goes() -> None:
    served = trtmodel()
    policy = network_policy(served, engine_record(served), Network())
    child = live(policy.body, served.owner_reference(controller=True))
    model = trtmodel(serving={"networkPolicy": {"mode": "Unmanaged"}})
    made = planned(model, child, live_jobs_policy(model), records=(observed_record(model),))
    assert [manifest.kind for manifest in made.writes.applies] == ["Deployment", "Service"]
    assert [(gone.kind, gone.name) for gone in made.writes.deletes] == [("NetworkPolicy", "resnet50")]


def test_a_server_is_closed_at_once_though_there_is_no_engine_for_the_spec_yet() -> None:
    old = trtmodel()
    record = observed_record(old)
    policy = live(network_policy(old, record.record, Network()).body, old.owner_reference(controller=True))
    server = live(planned(old, records=(record,)).writes.applies[0].body, old.owner_reference(controller=True))
    serving = live_deployment(server, record.record.key.fingerprint)

    def after(network: dict[str, Any]) -> Plan:
        model = trtmodel(source={"uri": "pvc://models/new"}, serving={"networkPolicy": network})
        there = (server, policy, live_jobs_policy(model))
        return planned(model, *there, records=(record,), deployment=serving)

    assert after({}).writes.prerequisites == ()
    made = after({"from": [PROMETHEUS]})
    (closed,) = made.writes.prerequisites
    assert [manifest.kind for manifest in made.writes.creates] == ["Job"], "refused, it would not be begun"
    assert peers(dict(closed.body["spec"]), "http") == [PROMETHEUS]
    assert [gone.name for gone in after({"mode": "Unmanaged"}).writes.deletes] == ["resnet50"]


def test_the_jobs_policy_is_there_before_the_first_job_and_selects_its_pods_alone() -> None:
    made = planned(trtmodel())
    (policy,) = made.writes.prerequisites
    assert policy.name == "resnet50.jobs", "no TRTModel's name has a dot"
    assert [manifest.kind for manifest in made.writes.creates] == ["Job"]
    model, wanted = trtmodel(), target(trtmodel())
    cleanup = cleanup_job(model, wanted.runtime, Store("pvc://models/tftrt"), [wanted.key.fingerprint])
    for run in (conversion_job(model, wanted.runtime, wanted.key), cleanup):
        assert selects(policy, run.body["spec"]["template"]["metadata"]["labels"])
    deployment = planned(model, records=(observed_record(model),)).writes.applies[0]
    assert not selects(policy, deployment.body["spec"]["template"]["metadata"]["labels"])


def test_a_server_is_begun_once_it_is_closed_and_not_while_its_policy_is_being_deleted() -> None:
    model = trtmodel()
    record = observed_record(model)
    made = planned(model, records=(record,))
    assert [manifest.kind for manifest in made.writes.prerequisites] == ["NetworkPolicy"]
    assert [manifest.kind for manifest in made.writes.applies] == ["Deployment", "Service"]
    policy = live(made.writes.prerequisites[0].body, model.owner_reference(controller=True), deleting=True)
    waits = planned(model, policy, records=(record,))
    assert waits.writes.prerequisites == waits.writes.applies == ()
    server = live(made.writes.applies[0].body, model.owner_reference(controller=True))
    standing = live_deployment(server, record.record.key.fingerprint)
    goes_on = planned(model, policy, server, records=(record,), deployment=standing)
    assert [manifest.kind for manifest in goes_on.writes.applies] == ["Service"]
    unmanaged = trtmodel(serving={"networkPolicy": {"mode": "Unmanaged"}})
    assert planned(unmanaged, policy, records=(record,)).writes.applies


def test_no_job_is_begun_while_its_policy_is_being_deleted() -> None:
    model = trtmodel()
    policy = replace(live_jobs_policy(model), deleting=True)
    made = planned(model, policy)
    assert made.writes.prerequisites == made.writes.creates == ()
    assert made.status is not None
    assert "waiting for NetworkPolicy resnet50.jobs" in made.status.conditions[0].message
    assert planned(trtmodel(conversion={"networkPolicy": {"mode": "Unmanaged"}}), policy).writes.creates

    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
    going = trtmodel(metadata=metadata, artifacts={"deletionPolicy": "Delete"})
    made = planned(going, policy, records=(observed_record(going),))
    assert made.writes.prerequisites == made.writes.creates == ()


def test_a_foreign_policy_is_not_taken_over_by_a_model_that_goes() -> None:
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
    model = trtmodel(metadata=metadata, artifacts={"deletionPolicy": "Delete"})
    foreign = Reference("NetworkPolicy", "default", "resnet50.jobs")
    made = planned(model, records=(observed_record(model),), foreign=(foreign,))
    assert made.writes == Writes()
    assert made.status is not None
    assert made.status.conditions[0].reason == "NameConflict"


def selects(policy: Manifest, labels: dict[str, str]) -> bool:
    selector = policy.body["spec"]["podSelector"]
    conditions = selector["matchExpressions"]
    assert {condition["operator"] for condition in conditions} == {"In"}
    return selector["matchLabels"].items() <= labels.items() and all(
        labels[condition["key"]] in condition["values"] for condition in conditions
    )


def test_a_run_that_another_model_waits_for_stays_under_a_policy_when_its_own_model_goes() -> None:
    first, twin = trtmodel(), trtmodel("twin", uid="uid-twin")
    wanted = target(first)
    body = conversion_job(first, wanted.runtime, wanted.key)
    shared = job(first, body.name, instance="resnet50")
    labels = body.body["spec"]["template"]["metadata"]["labels"]
    before = planned(twin, jobs=(shared,))
    assert not selects(before.writes.prerequisites[0], labels), "it is the other's alone until the twin waits for it"
    joined = replace(shared, owners=(*shared.owners, twin.owner_reference(controller=False)))
    (policy,) = planned(twin, jobs=(joined,)).writes.prerequisites
    assert policy.name == "twin.jobs"
    assert selects(policy, labels)


@pytest.mark.parametrize(
    ("spec", "open_ports"),
    [
        ({}, []),
        ({"source": {"uri": "s3://models/resnet50"}}, [443]),
        ({"source": {"uri": "https://models.example:8443/a.tar"}}, [443, 8443]),
        ({"source": {"uri": "http://models.example/a.tar"}}, [80, 443]),
        ({"source": {"uri": "http://[fd00::1]:8080/a.tar"}}, [443, 8080]),
        ({"source": {"uri": "https://models.example:none/a.tar"}}, [443]),
        ({"source": {"uri": "http://[x/y"}}, [443]),
        ({"source": {"uri": "https://a]b/y"}}, [443]),
        ({"verification": {"dataUri": "https://data.example:4443/x.npz"}}, [443, 4443]),
        ({"conversion": {"precision": "INT8", "calibration": {"uri": "gs://data/x"}}}, [443]),
        ({"artifacts": S3, "conversion": {"networkPolicy": {"egressPorts": [9000]}}}, [443, 9000]),
        ({"conversion": {"networkPolicy": {"egressPorts": [9000]}}}, []),
    ],
)
def test_jobs_reach_what_they_read_and_write_by_port(spec: dict[str, Any], open_ports: list[int]) -> None:
    policy = jobs_policy(planned(trtmodel(**spec)))
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    assert ports(policy) == open_ports
    assert bool(policy["egress"]) == bool(open_ports), "nothing at all where all are claims, not even names"


def test_ports_of_the_configuration_are_for_all_that_reach_out() -> None:
    proxy = Network(egress_ports=(3128,))
    assert ports(jobs_policy(planned(trtmodel(artifacts=S3), network=proxy))) == [443, 3128]
    assert ports(jobs_policy(planned(trtmodel(), network=proxy))) == []


def test_a_port_that_somebody_adds_is_taken_away_again() -> None:
    model = trtmodel(artifacts=S3)
    child = live_jobs_policy(model)
    assert planned(model, child).writes.prerequisites == ()
    widened = copy.deepcopy(dict(child.body))
    widened["spec"]["egress"][0]["ports"].append({"port": 22, "protocol": "TCP"})
    assert ports(jobs_policy(planned(model, replace(child, body=widened)))) == [443]


def test_once_it_is_there_the_jobs_policy_follows_the_spec_and_is_not_made_for_nothing() -> None:
    model = trtmodel()
    records = (observed_record(model),)
    assert jobs_policies(planned(model, records=records)) == []
    other = live_jobs_policy(trtmodel(source={"uri": "s3://models/resnet50"}))
    assert ports(jobs_policy(planned(model, other, records=records))) == []


def test_where_the_user_sees_to_the_jobs_there_is_no_policy_and_ours_goes() -> None:
    model = trtmodel(conversion={"networkPolicy": {"mode": "Unmanaged"}})
    assert planned(model).writes.prerequisites == ()
    made = planned(model, live_jobs_policy(trtmodel()))
    assert [(gone.kind, gone.name) for gone in made.writes.deletes] == [("NetworkPolicy", "resnet50.jobs")]


def test_the_cleanup_runs_under_the_policy_too_and_reaches_its_store() -> None:
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
    model = trtmodel(metadata=metadata, artifacts=S3 | {"deletionPolicy": "Delete"})
    made = planned(model, records=(observed_record(model),))
    assert [manifest.kind for manifest in made.writes.creates] == ["Job"]
    assert ports(jobs_policy(made)) == [443]


def test_a_change_of_the_network_converts_nothing_anew() -> None:
    model = trtmodel(conversion={"networkPolicy": {"egressPorts": [9000]}}, artifacts=S3)
    before = trtmodel(artifacts=S3)
    wanted = target(before)
    name = conversion_job(before, wanted.runtime, wanted.key).name
    made = planned(model, live_jobs_policy(model), jobs=(job(before, name),))
    assert made.writes == Writes()
