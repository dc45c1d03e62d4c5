"""What is read of the API server's objects, whoever wrote them."""

import json
from typing import Any

import pytest

from tftrt_operator.controller.parse import parse_deployment, parse_pod
from tftrt_operator.domain.manifests import names


def pod_body(*, status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    fixed = {"name": "resnet50-abcde", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": fixed | metadata, "spec": {}, "status": status or {}}


def deployment_body(task: str, *conditions: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "resnet50", "uid": "1", "resourceVersion": "2", "generation": 3},
        "spec": {"replicas": 2, "template": {"metadata": {"annotations": {names.SPEC_ANNOTATION: task}}}},
        "status": {"observedGeneration": 3, "conditions": list(conditions)},
    }


def test_a_server_pod_says_of_what_template_it_is_and_what_share_of_memory_it_takes() -> None:
    annotations = {names.TEMPLATE: "0123456789abcdef", names.SPEC_ANNOTATION: json.dumps({"memoryFraction": "0.6666"})}
    found = parse_pod(pod_body(annotations=annotations))
    assert (found.template, found.memory_fraction) == ("0123456789abcdef", "0.6666")
    assert (parse_pod(pod_body()).template, parse_pod(pod_body()).memory_fraction) == ("", None)


@pytest.mark.parametrize(
    "task",
    [
        "",
        "not json",
        "[]",
        "7",
        "null",
        '"text"',
        "{}",
        "[" * 100_000,
        '{"memoryFraction": null}',
        '{"memoryFraction": []}',
        '{"memoryFraction": 1e999}',
        '{"memoryFraction": "half"}',
        '{"memoryFraction": "NaN"}',
        '{"memoryFraction": "2"}',
    ],
    ids=lambda task: task[:32],
)
def test_a_task_that_anyone_may_have_written_has_no_share_of_memory_and_does_no_harm(task: str) -> None:
    assert parse_pod(pod_body(annotations={names.SPEC_ANNOTATION: task})).memory_fraction is None
    assert parse_deployment(deployment_body(task)).memory_fraction is None


def test_a_deployments_share_of_memory_is_that_of_its_pod_template() -> None:
    assert parse_deployment(deployment_body('{"memoryFraction": "1.0000"}')).memory_fraction == "1.0000"


@pytest.mark.parametrize("status", ["True", "False"])
def test_a_pod_is_ready_as_its_condition_says(status: str) -> None:
    found = parse_pod(pod_body(status={"conditions": [{"type": "Ready", "status": status}]}))
    assert found.ready is (status == "True")
    assert not parse_pod(pod_body()).ready


def test_a_pod_that_is_being_deleted_is_not_ready_for_it_gets_no_requests() -> None:
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert not parse_pod(pod_body(status=status, deletionTimestamp="2026-01-01T00:01:00Z")).ready


def test_a_pod_says_why_it_failed_as_a_whole() -> None:
    found = parse_pod(pod_body(status={"phase": "Failed", "reason": "Evicted", "message": "The node was low on disk"}))
    assert (found.phase, found.reason, found.message) == ("Failed", "Evicted", "The node was low on disk")


def test_a_deployment_says_why_its_pods_cannot_be_created_while_that_is_so() -> None:
    failure = {"type": "ReplicaFailure", "reason": "FailedCreate", "message": "exceeded quota"}
    assert parse_deployment(deployment_body("{}", failure | {"status": "True"})).replica_failure == "exceeded quota"
    assert parse_deployment(deployment_body("{}", failure | {"status": "False"})).replica_failure == ""
    assert parse_deployment(deployment_body("{}")).replica_failure == ""
