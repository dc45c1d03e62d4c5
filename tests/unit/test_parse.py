"""What is read of the API server's objects, whoever wrote them."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from tftrt_operator.controller.parse import (
    owners_of,
    parse_child,
    parse_config_map,
    parse_deployment,
    parse_job,
    parse_pod,
)
from tftrt_operator.domain.manifests import names
from tftrt_operator.domain.manifests.conversion_job import conversion_job
from tftrt_operator.domain.record import RECORD_KEY, record_text

from .builders import engine_record, target, trtmodel


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


def test_a_job_says_where_it_publishes_and_with_which_secret() -> None:
    model = trtmodel(artifacts={"uri": "s3://bucket/tftrt", "secretName": "store-keys"})
    made = conversion_job(model, target(model).runtime, target(model).key)
    body: dict[str, Any] = copy.deepcopy(dict(made.body))
    body["metadata"] |= {"uid": "1", "resourceVersion": "2", "creationTimestamp": "2026-01-01T00:00:00Z"}
    found = parse_job(body)
    assert (found.store, found.secret_name, found.has_deadline) == ("s3://bucket/tftrt", "store-keys", False)
    body["spec"]["template"]["metadata"]["annotations"][names.SPEC_ANNOTATION] = "not json"
    body["spec"]["activeDeadlineSeconds"] = 1
    found = parse_job(body)
    assert (found.store, found.has_deadline) == ("", True)


def test_a_pod_whose_last_container_has_run_may_have_written_to_the_store() -> None:
    waiting = {"name": "publish", "state": {"waiting": {"reason": "PodInitializing"}}}
    running = {"name": "publish", "state": {"running": {}}}
    assert not parse_pod(pod_body(status={"containerStatuses": [waiting]})).publishing
    assert parse_pod(pod_body(status={"containerStatuses": [running]})).publishing


def test_an_owner_is_a_trtmodel_of_our_group_in_any_version() -> None:
    def owner(api_version: str) -> dict[str, Any]:
        return {"apiVersion": api_version, "kind": "TRTModel", "name": "resnet50", "uid": api_version}

    versions = ("tftrt.dev/v1alpha1", "tftrt.dev/v9", "elsewhere.example/v1")
    references = [owner(version) for version in versions]
    found = owners_of({"metadata": {"ownerReferences": references}})
    assert [one.uid for one in found] == ["tftrt.dev/v1alpha1", "tftrt.dev/v9"]


def test_an_autoscaler_says_whether_it_can_scale() -> None:
    condition = {"type": "ScalingActive", "status": "False", "reason": "AmbiguousSelector", "message": "two of them"}
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "resnet50", "uid": "1", "resourceVersion": "2"},
        "spec": {},
        "status": {"conditions": [{"type": "AbleToScale", "status": "True"}, condition]},
    }
    found = parse_child(body).scaling_active
    assert found is not None
    assert (found.status, found.reason, found.message) == ("False", "AmbiguousSelector", "two of them")
    assert parse_child(body | {"status": {}}).scaling_active is None
    active = condition | {"status": "True", "reason": "ValidMetricFound"}
    unable = {"type": "AbleToScale", "status": "False", "reason": "FailedUpdateScale", "message": "refused"}
    found = parse_child(body | {"status": {"conditions": [active, unable]}}).scaling_active
    assert found is not None
    assert (found.status, found.reason) == ("False", "FailedUpdateScale"), "it knows the number and cannot set it"
    able = unable | {"status": "True", "reason": "SucceededRescale"}
    found = parse_child(body | {"status": {"conditions": [able, active]}}).scaling_active
    assert found is not None
    assert (found.status, found.reason) == ("True", "ValidMetricFound")
    assert parse_child(body | {"status": {"conditions": [able]}}).scaling_active is None


def test_a_record_is_believed_only_where_it_fits_its_name_its_engine_and_its_place() -> None:
    model = trtmodel()
    record = engine_record(model)
    folder = f"pvc://models/tftrt/default/{record.key.fingerprint}"

    def body(name: str = record.key.record_name, namespace: str = "default", **summary: str) -> dict[str, Any]:
        forged = replace(record, summary=record.summary.model_copy(update=summary))
        metadata = {"name": name, "namespace": namespace, "uid": "1", "resourceVersion": "2"}
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
        return {"metadata": metadata, "data": {RECORD_KEY: record_text(forged)}}

    assert parse_config_map(body()).record == record
    for forged, words in (
        (body(name="tftrt-of-another"), "is called tftrt-"),
        (body(namespace="elsewhere"), "its artifact is not in"),
        (body(fingerprint="0" * 32), "its summary is of engine 00000000"),
        (body(artifact="pvc://payroll-db/backups"), "its artifact is not in"),
        (body(artifact=f"{folder}/../../other/{record.key.fingerprint}/cpu"), "its artifact is not in"),
        (body(artifact=f"{folder}/.."), "its artifact is not in"),
        (body(artifact=f"{folder}/"), "its artifact is not in"),
    ):
        with pytest.raises(ValueError, match=words):
            parse_config_map(forged)


def test_a_pod_is_of_what_controls_it_whatever_its_labels_say() -> None:
    owners = [{"kind": "Node", "uid": "n"}, {"kind": "Job", "uid": "uid-job", "controller": True}]
    labels = {"batch.kubernetes.io/job-name": "another"}
    assert parse_pod(pod_body(labels=labels, ownerReferences=owners)).controller == ("Job", "uid-job")
    assert parse_pod(pod_body(labels=labels)).controller == ("", "")
