"""From no record to a record: one Job for each engine."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tftrt_operator.api.trtmodel import RETRY_ANNOTATION, TRTModel
from tftrt_operator.domain.manifests.conversion_job import conversion_job, conversion_job_name
from tftrt_operator.domain.observation import JobState, Observation, ObservedJob, ObservedPod
from tftrt_operator.domain.plan import Plan, plan
from tftrt_operator.domain.record import RECORD_KEY, parse_record, record_text
from tftrt_operator.domain.step import Writes
from tftrt_operator.domain.target import Target, target_of

from .builders import CATALOGUE, CPU, ended, job, live_jobs_policy, observed_record, pod, summary, target, trtmodel

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def planned(model: TRTModel, **observation: object) -> Plan:
    """The plan where the Jobs' NetworkPolicy is there already."""
    children = (live_jobs_policy(model),) if isinstance(target_of(model, CATALOGUE), Target) else ()
    return plan(model, CATALOGUE, Observation(children=children, **observation), NOW)  # type: ignore[arg-type]


def job_name(model: TRTModel) -> str:
    wanted = target(model)
    return conversion_job_name(model, wanted.runtime, wanted.key)


def conditions(made: Plan) -> dict[str, tuple[str, str]]:
    assert made.status is not None
    return {condition.type: (condition.status, condition.reason) for condition in made.status.conditions}


def message(made: Plan, kind: str) -> str:
    assert made.status is not None
    return next(condition.message for condition in made.status.conditions if condition.type == kind)


def test_a_new_model_gets_one_job_and_is_reconciling() -> None:
    model = trtmodel()
    made = planned(model)
    assert [(manifest.kind, manifest.name) for manifest in made.writes.creates] == [("Job", job_name(model))]
    assert conditions(made)["Reconciling"] == ("True", "ConversionPending")
    assert conditions(made)["Ready"] == ("False", "ConversionPending")
    assert "Stalled" not in conditions(made)


def test_a_live_job_is_left_alone() -> None:
    model = trtmodel()
    name = job_name(model)
    made = planned(model, jobs=(job(model, name, failed_attempts=1),), pods=(pod(name),))
    assert made.writes == Writes()
    assert conditions(made)["Reconciling"] == ("True", "ConversionRunning")
    assert "attempt 2 of 4" in message(made, "Ready")


def test_a_pod_that_finds_no_node_is_reported_in_the_schedulers_words() -> None:
    model = trtmodel()
    name = job_name(model)
    waiting = pod(name, unschedulable="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    made = planned(model, jobs=(job(model, name),), pods=(waiting,))
    assert "3 Insufficient nvidia.com/gpu" in message(made, "Reconciling")


def test_a_job_that_finds_no_node_says_which_gpus_its_runtime_knows_and_which_label_the_spec_asks_for() -> None:
    model = trtmodel(gpu={"product": "NVIDIA-A10"})
    name = job_name(model)
    words = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    made = planned(model, jobs=(job(model, name),), pods=(pod(name, unschedulable=words),))
    assert f"“{words}”; it goes to nodes with" in message(made, "Reconciling")
    assert "nvidia.com/gpu.product=NVIDIA-A10, for which spec.gpu.product asks" in message(made, "Reconciling")
    assert "a compute capability of at most 9.0" in message(made, "Reconciling")


def test_a_job_whose_pod_is_not_there_or_does_not_start_says_where_to_look() -> None:
    model = trtmodel()
    name = job_name(model)
    made = planned(model, jobs=(job(model, name),))
    assert conditions(made)["Reconciling"] == ("True", "ConversionPending")
    assert f"kubectl describe -n default job {name}, and of its pod" in message(made, "Ready")
    active = job(model, name, started_at="2026-01-01T00:00:00Z")
    assert planned(model, jobs=(active,), pods=(pod(name, started=False),)).status == made.status, "it is no news"
    begun = planned(model, jobs=(active,), pods=(pod(name),)).status
    assert begun is not None
    assert begun.conversion is not None
    assert begun.conversion.started_at == "2026-01-01T00:00:00Z"


CORRECTIONS = [
    pytest.param({"conversion": {"resources": {"limits": {"memory": "8Gi"}}}}, id="other resources"),
    pytest.param({"conversion": {"retries": 5}}, id="more retries"),
    pytest.param({"conversion": {"queue": "team-a"}}, id="another queue"),
    pytest.param({"metadata": {"annotations": {RETRY_ANNOTATION: "1"}}}, id="the retry annotation"),
]


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_run_that_has_not_started_gives_way_to_a_corrected_one(correction: dict[str, Any]) -> None:
    before, after = trtmodel(), trtmodel(**correction)
    waiting = pod(job_name(before), started=False, unschedulable="0/3 nodes are available")
    made = planned(after, jobs=(job(before, job_name(before)),), pods=(waiting,))
    assert [reference.name for reference in made.writes.deletes] == [job_name(before)]
    assert [manifest.name for manifest in made.writes.creates] == [job_name(after)]


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_run_that_has_started_goes_on_for_its_engine_is_the_same(correction: dict[str, Any]) -> None:
    before, after = trtmodel(), trtmodel(**correction)
    made = planned(after, jobs=(job(before, job_name(before)),), pods=(pod(job_name(before)),))
    assert made.writes == Writes()
    assert conditions(made)["Reconciling"] == ("True", "ConversionRunning")


def test_a_job_of_that_name_that_is_being_deleted_is_waited_for() -> None:
    model = trtmodel()
    made = planned(model, jobs=(job(model, job_name(model), deleting=True),))
    assert made.writes == Writes()
    assert conditions(made)["Reconciling"] == ("True", "ConversionPending")
    assert "which is being deleted" in message(made, "Ready")


def test_a_record_keeps_a_job_that_is_over_and_no_run_that_nobody_asks_for() -> None:
    old, new = trtmodel(), trtmodel(source={"uri": "pvc://models/other"})
    running, over = job(old, job_name(old)), job(old, job_name(old), JobState.SUCCEEDED)
    made = planned(new, jobs=(running,), pods=(pod(running.name),), records=(observed_record(old),))
    assert [reference.name for reference in made.writes.deletes] == [running.name]
    made = planned(new, jobs=(over,), records=(observed_record(old),))
    assert made.writes.deletes == (), "people may look at it"
    assert made.look_again_after == timedelta(hours=1)
    assert [gone.name for gone in planned(new, jobs=(over,)).writes.deletes] == [over.name], "it tells of no engine"


def test_a_finished_job_becomes_a_record_that_all_its_owners_use() -> None:
    model, other = trtmodel(), trtmodel("twin", uid="uid-twin")
    name = job_name(model)
    owners = (model.owner_reference(controller=True), other.owner_reference(controller=False))
    done = job(model, name, JobState.SUCCEEDED, owners=owners)
    made = planned(model, jobs=(done,), pods=(pod(name, ended(summary(model).model_dump_json(by_alias=True))),))
    (record,) = made.writes.creates
    assert (record.kind, record.name) == ("ConfigMap", target(model).key.record_name)
    assert record.body["immutable"] is True
    assert {owner["name"] for owner in record.body["metadata"]["ownerReferences"]} == {"resnet50", "twin"}
    assert not any(owner["controller"] for owner in record.body["metadata"]["ownerReferences"])


def test_why_and_by_what_a_model_was_converted_is_told_for_as_long_as_the_engine_serves() -> None:
    model = trtmodel()
    name = job_name(model)
    done = job(model, name, JobState.SUCCEEDED, failed_attempts=1, secret_name="keys")
    made = planned(model, jobs=(done,), pods=(pod(name, ended(summary(model).model_dump_json(by_alias=True))),))
    (manifest,) = made.writes.creates
    record = parse_record(manifest.body["data"][RECORD_KEY])
    assert record.secret_name == "keys"
    made = planned(model, records=(replace(observed_record(model), record=record),))
    assert made.status is not None
    told = made.status.conversion
    assert told is not None
    assert told.reason == "FirstConversion: no engine for this spec exists yet"
    assert (told.job_name, told.attempt) == (name, 2)


def test_why_a_model_was_converted_is_told_on_one_line_whoever_wrote_it() -> None:
    model = trtmodel()
    record = replace(observed_record(model).record, reason="\x1b[2JConverted\n" + "a" * 900_000)
    made = planned(model, records=(replace(observed_record(model), record=record),))
    assert made.status is not None
    assert made.status.conversion is not None
    told = made.status.conversion.reason
    assert told is not None
    assert told.isprintable()
    assert len(told) <= 2000


def test_a_record_of_an_operator_that_kept_less_is_read() -> None:
    model = trtmodel()
    text = json.loads(record_text(observed_record(model).record))
    for name in ("reason", "jobName", "attempt", "secretName"):
        del text[name]
    assert parse_record(json.dumps(text)) == observed_record(model).record


def test_an_attempt_that_took_too_long_ends_its_job_at_once() -> None:
    """Another attempt would hold the GPU as long once more."""
    model = trtmodel()
    name = job_name(model)
    overdue = pod(name, phase="Failed", reason="DeadlineExceeded", message="Pod was active on the node longer than ...")
    made = planned(model, jobs=(job(model, name, failed_attempts=1),), pods=(overdue,))
    assert [(patch.reference.name, patch.body) for patch in made.writes.patches] == [
        (name, {"spec": {"activeDeadlineSeconds": 1}})
    ]
    told = job(model, name, has_deadline=True)
    assert planned(model, jobs=(told,), pods=(overdue,)).writes == Writes()
    made = planned(model, jobs=(job(model, name, JobState.FAILED, reason="DeadlineExceeded"),), pods=(overdue,))
    assert conditions(made)["Stalled"] == ("True", "DeadlineExceeded")
    assert "raise spec.conversion.deadlineSeconds" in message(made, "Stalled")
    twin = trtmodel("twin", uid="uid-twin")
    joined = job(model, name, owners=(model.owner_reference(controller=True), twin.owner_reference(controller=False)))
    assert planned(twin, jobs=(joined,), pods=(overdue,)).writes == Writes(), "it is its controller's to end"


def test_autoscalers_of_nodes_are_asked_to_leave_a_conversion_where_it_is() -> None:
    (manifest,) = planned(trtmodel()).writes.creates
    annotations = manifest.body["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"


def test_a_record_that_names_the_model_by_an_older_version_of_the_api_names_it_by_this_one() -> None:
    """The first step of docs/api-versions.md: before a version goes, nothing names an owner by it."""
    model, twin = trtmodel(), trtmodel("twin", uid="uid-twin")
    old = model.owner_reference(controller=False).model_copy(update={"api_version": "tftrt.dev/v1alpha0"})
    other = twin.owner_reference(controller=False)
    made = planned(model, records=(observed_record(model, old, other),))
    (patch,) = [patch for patch in made.writes.patches if patch.reference.kind == "ConfigMap"]
    assert [(owner["apiVersion"], owner["name"]) for owner in patch.body["metadata"]["ownerReferences"]] == [
        ("tftrt.dev/v1alpha1", "twin"),
        ("tftrt.dev/v1alpha1", "resnet50"),
    ]


def test_a_job_that_never_started_goes_when_another_models_was_faster() -> None:
    model = trtmodel()
    mine = job(model, job_name(model))
    made = planned(model, jobs=(mine,), records=(observed_record(model),))
    assert [reference.name for reference in made.writes.deletes] == [mine.name]
    made = planned(model, jobs=(mine,), pods=(pod(mine.name),), records=(observed_record(model),))
    assert made.writes.deletes == ()


@pytest.mark.parametrize(("queue", "own"), [("gold", False), ("silver", True), ("", True)])
def test_a_twin_waits_for_a_job_that_kueue_holds_only_in_the_same_queue(queue: str, own: bool) -> None:
    model = trtmodel(conversion={"queue": "gold"})
    twin = trtmodel("twin", uid="uid-twin", conversion={"queue": queue} if queue else {})
    held = job(model, job_name(model), suspended=True, queue="gold", created_at=(NOW - timedelta(days=1)).isoformat())
    made = planned(twin, jobs=(held,))
    assert [manifest.name for manifest in made.writes.creates] == ([job_name(twin)] if own else [])


def test_a_finished_job_whose_pod_is_gone_runs_again() -> None:
    model = trtmodel()
    made = planned(model, jobs=(job(model, job_name(model), JobState.SUCCEEDED),))
    assert [reference.name for reference in made.writes.deletes] == [job_name(model)]
    assert made.writes.creates == ()


@pytest.mark.parametrize("pods", [(), (pod("resnet50-run"),)], ids=["no pod", "a pod that runs"])
def test_what_is_not_yet_seen_of_a_jobs_pods_is_awaited(pods: tuple[ObservedPod, ...]) -> None:
    model = trtmodel()
    finished = NOW - timedelta(seconds=3)
    done = job(model, job_name(model), JobState.SUCCEEDED, finished_at=finished.isoformat())
    made = planned(model, jobs=(done,), pods=tuple(replace(one, controller=("Job", done.uid)) for one in pods))
    assert made.writes == Writes()
    assert conditions(made)["Reconciling"] == ("True", "ConversionRunning")
    assert made.look_again_after == timedelta(seconds=60)


def test_a_run_without_a_summary_gives_way_to_another_that_the_user_asks_for() -> None:
    before = trtmodel()
    after = trtmodel(metadata={"annotations": {RETRY_ANNOTATION: "1"}})
    name = job_name(before)
    made = planned(after, jobs=(job(before, name, JobState.SUCCEEDED),), pods=(pod(name, ended("hello")),))
    assert [reference.name for reference in made.writes.deletes] == [name]
    assert [manifest.name for manifest in made.writes.creates] == [job_name(after)]


def test_a_finished_job_without_a_summary_stalls_and_does_not_run_for_ever() -> None:
    model = trtmodel()
    name = job_name(model)
    made = planned(model, jobs=(job(model, name, JobState.SUCCEEDED),), pods=(pod(name, ended("hello")),))
    assert conditions(made)["Stalled"] == ("True", "SummaryMissing")
    assert made.writes == Writes()


def test_the_users_mistake_stalls_with_the_containers_own_words_and_the_way_out() -> None:
    model = trtmodel()
    name = job_name(model)
    words = {"version": 1, "code": 11, "reason": "SourceNotFound", "message": "pvc://models/resnet50 has no file"}
    made = planned(
        model,
        jobs=(job(model, name, JobState.FAILED, reason="PodFailurePolicy"),),
        pods=(pod(name, ended(json.dumps(words), 11, "fetch")),),
    )
    assert conditions(made)["Stalled"] == ("True", "SourceNotFound")
    assert "pvc://models/resnet50 has no file" in message(made, "Stalled")
    assert f"kubectl annotate -n default trtmodel resnet50 --overwrite {RETRY_ANNOTATION}=1" in message(made, "Stalled")
    assert made.writes.creates == ()
    assert [event.warning for event in made.events] == [True]


@pytest.mark.parametrize("reason", ["PodFailurePolicy", "BackoffLimitExceeded"])
def test_what_a_pod_says_of_a_job_that_failed_just_now_is_waited_for(reason: str) -> None:
    """Pods are watched apart from Jobs: their last words may come after it."""
    model = trtmodel()
    name = job_name(model)
    failed = job(model, name, JobState.FAILED, reason=reason, message="Container fetch failed")
    for pods in ((), (pod(name),)):
        just_now = replace(failed, finished_at=(NOW - timedelta(seconds=2)).isoformat())
        made = planned(model, jobs=(just_now,), pods=pods)
        assert conditions(made)["Reconciling"] == ("True", "ConversionRunning")
        assert "Stalled" not in conditions(made)
        assert made.look_again_after is not None
        long_ago = replace(failed, finished_at=(NOW - timedelta(seconds=90)).isoformat())
        assert conditions(planned(model, jobs=(long_ago,), pods=pods))["Stalled"] == ("True", "ConversionFailed")


def test_a_failed_run_does_not_block_a_corrected_one() -> None:
    wrong = trtmodel()
    failed = job(wrong, job_name(wrong), JobState.FAILED)
    for correction in (
        trtmodel(conversion={"resources": {"limits": {"memory": "8Gi"}}}),
        trtmodel(conversion={"retries": 5}),
        trtmodel(metadata={"annotations": {RETRY_ANNOTATION: "1"}}),
    ):
        assert target(correction).key == target(wrong).key
        made = planned(correction, jobs=(failed,))
        assert [manifest.name for manifest in made.writes.creates] == [job_name(correction)]
        assert [reference.name for reference in made.writes.deletes] == [failed.name]


def test_a_job_for_what_is_no_longer_asked_is_deleted() -> None:
    old, new = trtmodel(), trtmodel(conversion={"precision": "FP16"})
    made = planned(new, jobs=(job(old, job_name(old)),))
    assert [reference.name for reference in made.writes.deletes] == [job_name(old)]
    assert [manifest.name for manifest in made.writes.creates] == [job_name(new)]


def test_a_job_that_another_model_waits_for_is_left_to_it() -> None:
    old, new, twin = trtmodel(), trtmodel(conversion={"precision": "FP16"}), trtmodel("twin", uid="uid-twin")
    shared = job(
        old,
        job_name(old),
        owners=(old.owner_reference(controller=True), twin.owner_reference(controller=False)),
    )
    made = planned(new, jobs=(shared,))
    assert made.writes.deletes == ()
    (patch,) = made.writes.patches
    assert [owner["name"] for owner in patch.body["metadata"]["ownerReferences"]] == ["twin"]
    assert patch.body["metadata"]["resourceVersion"] == shared.resource_version


def test_a_second_model_with_the_same_engine_joins_the_live_job() -> None:
    model, twin = trtmodel(), trtmodel("twin", uid="uid-twin")
    made = planned(twin, jobs=(job(model, job_name(model)),))
    assert made.writes.creates == ()
    (patch,) = made.writes.patches
    assert patch.reference.name == job_name(model)
    metadata = patch.body["metadata"]
    assert [(owner["name"], owner["controller"]) for owner in metadata["ownerReferences"]] == [
        ("resnet50", True),
        ("twin", False),
    ]
    assert metadata["resourceVersion"] == "9", "two who join at the same time must not overwrite each other"


def test_a_model_that_finds_a_record_uses_it_without_a_job() -> None:
    model, twin = trtmodel(), trtmodel("twin", uid="uid-twin")
    made = planned(twin, records=(observed_record(model),))
    assert not any(manifest.kind == "Job" for manifest in made.writes.creates)
    (patch,) = made.writes.patches
    assert (patch.reference.kind, patch.reference.name) == ("ConfigMap", target(model).key.record_name)
    assert "Deployment" in [manifest.kind for manifest in made.writes.applies]


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED])
def test_a_job_goes_an_hour_after_its_end_and_only_once_its_record_exists(state: JobState) -> None:
    model = trtmodel()
    name = job_name(model)
    wanted = target(model)
    assert "ttlSecondsAfterFinished" not in conversion_job(model, wanted.runtime, wanted.key).body["spec"]

    def over(ago: timedelta) -> ObservedJob:
        return job(model, name, state, finished_at=(NOW - ago).isoformat(), created_at="2025-01-01T00:00:00Z")

    fresh = planned(model, jobs=(over(timedelta(minutes=1)),), records=(observed_record(model),))
    assert (fresh.writes.deletes, fresh.writes.patches) == ((), ())
    assert fresh.look_again_after == timedelta(minutes=59)
    old = planned(model, jobs=(over(timedelta(hours=1)),), records=(observed_record(model),))
    assert [(gone.name, gone.uid) for gone in old.writes.deletes] == [(name, f"uid-{name}")]
    assert old.look_again_after is None
    failed = replace(over(timedelta(days=1)), state=JobState.FAILED)
    assert planned(model, jobs=(failed,)).writes.deletes == (), "nothing else says how it ended"


def test_names_of_40_characters_leave_room_for_the_job_and_its_pods() -> None:
    model = trtmodel("m" * 40)
    assert len(job_name(model)) + len("-abcde") <= 63


def test_the_job_fails_at_once_on_the_users_mistakes_and_retries_the_rest() -> None:
    model = trtmodel(conversion={"retries": 5, "deadlineSeconds": 120})
    wanted = target(model)
    spec = conversion_job(model, wanted.runtime, wanted.key).body["spec"]
    assert spec["backoffLimit"] == 5
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["template"]["spec"]["activeDeadlineSeconds"] == 120
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2, *range(10, 30)])


def test_only_the_converting_container_has_the_gpu_and_only_publish_may_write_to_the_store() -> None:
    model = trtmodel()
    wanted = target(model)
    pod_spec = conversion_job(model, wanted.runtime, wanted.key).body["spec"]["template"]["spec"]
    containers = {c["name"]: c for c in [*pod_spec["initContainers"], *pod_spec["containers"]]}
    assert [name for name, c in containers.items() if "nvidia.com/gpu" in str(c["resources"])] == ["convert"]
    writable = [
        name
        for name, container in containers.items()
        for mount in container["volumeMounts"]
        if mount["name"].startswith("pvc-") and not mount["readOnly"]
    ]
    assert writable == ["publish"]
    assert not any(mount["name"].startswith("pvc-") for mount in containers["convert"]["volumeMounts"])


def test_a_queue_makes_the_job_wait_for_kueue() -> None:
    model = trtmodel(conversion={"queue": "gpus"})
    wanted = target(model)
    body = conversion_job(model, wanted.runtime, wanted.key).body
    assert body["spec"]["suspend"] is True
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


def test_a_runtime_without_a_gpu_asks_for_none() -> None:
    model = trtmodel(runtime="cpu", gpu={"product": "NVIDIA-A10"})
    wanted = target(model)
    assert wanted.runtime == CPU
    text = str(conversion_job(model, wanted.runtime, wanted.key).body)
    assert "nvidia.com/gpu" not in text


def test_a_runtime_that_is_not_in_the_catalogue_is_the_users_to_mend() -> None:
    made = planned(trtmodel(runtime="torch"))
    assert conditions(made)["Stalled"] == ("True", "RuntimeUnknown")
    assert "use one of triton, cpu" in message(made, "Stalled")
    assert made.writes.creates == ()


def test_a_tensorrt_precision_on_a_runtime_without_tensorrt_starts_no_job() -> None:
    made = planned(trtmodel(runtime="cpu", conversion={"precision": "FP16"}))
    assert conditions(made)["Stalled"] == ("True", "PrecisionNotSupported")
    assert made.writes.creates == ()


def test_other_verification_data_measures_the_same_engine_again_and_builds_none() -> None:
    seeded = trtmodel()
    on_data = trtmodel(verification={"dataUri": "s3://data/held-out"})
    assert target(seeded).key.fingerprint == target(on_data).key.fingerprint
    made = planned(on_data, records=(observed_record(seeded),))
    (again,) = made.writes.creates
    assert (again.kind, again.name) == ("Job", job_name(on_data))
    assert again.name != job_name(seeded)
    task = json.loads(again.body["spec"]["template"]["metadata"]["annotations"]["tftrt.dev/spec"])
    assert task["verification"] == {"uri": "s3://data/held-out"}
    assert "VerificationDataChanged" in message(made, "Ready")
    both = planned(on_data, records=(observed_record(seeded), observed_record(on_data)))
    assert "Job" not in [manifest.kind for manifest in both.writes.creates]


def test_another_output_of_classes_measures_the_same_engine_again_and_builds_none() -> None:
    plain, named = trtmodel(), trtmodel(verification={"top1Output": "labels"})
    on_data = trtmodel(verification={"top1Output": "labels", "dataUri": "s3://data/held-out"})
    assert target(plain).key.fingerprint == target(named).key.fingerprint
    assert len({target(model).key.record_name for model in (plain, named, on_data)}) == 3
    made = planned(named, records=(observed_record(plain),))
    (again,) = made.writes.creates
    task = json.loads(again.body["spec"]["template"]["metadata"]["annotations"]["tftrt.dev/spec"])
    assert task["verification"] == {"uri": None, "top1Output": "labels"}
    assert "verified again, on made-up input, with the classes of labels" in message(made, "Ready")
    both = planned(named, records=(observed_record(plain), observed_record(named)))
    assert "Job" not in [manifest.kind for manifest in both.writes.creates]


def test_one_engine_is_made_once_whatever_data_it_is_verified_on() -> None:
    seeded = trtmodel()
    on_data = trtmodel("twin", uid="uid-twin", verification={"dataUri": "s3://data/held-out"})
    running = job(seeded, job_name(seeded))
    made = planned(on_data, jobs=(running,))
    assert made.writes == Writes()
    assert f"Job {running.name} makes this engine" in message(made, "Reconciling")


def test_the_task_says_all_that_makes_an_engine() -> None:
    model = trtmodel(
        source={"uri": "s3://models/graph.pb", "format": "FrozenGraph", "inputs": ["a:0"], "outputs": ["b:0", "c:0"]},
        conversion={
            "precision": "INT8",
            "dynamicShapes": "Range",
            "inputShapes": {"a": {"min": [1], "opt": [64], "max": [128]}},
            "calibration": {"uri": "s3://data/calibration/", "samples": 64},
        },
    )
    wanted = target(model)
    body = conversion_job(model, wanted.runtime, wanted.key).body
    task = json.loads(body["spec"]["template"]["metadata"]["annotations"]["tftrt.dev/spec"])
    assert task["source"] == {
        "uri": "s3://models/graph.pb",
        "digest": None,
        "format": "FrozenGraph",
        "signature": "serving_default",
        "inputs": ["a:0"],
        "outputs": ["b:0", "c:0"],
    }
    assert task["conversion"]["calibration"] == {"uri": "s3://data/calibration", "samples": 64, "batchSize": 8}
    assert task["conversion"]["inputShapes"] == {"a": {"min": [1], "opt": [64], "max": [128]}}
    assert task["conversion"]["dynamicShapes"] == "Range"


def test_a_failed_attempts_pod_does_not_hide_that_the_publishing_one_is_gone() -> None:
    """The node of the pod that published went, that of an earlier attempt did not."""
    model = trtmodel()
    done = job(model, "resnet50-1", JobState.SUCCEEDED, finished_at="2025-12-31T23:00:00Z")
    left = pod(done.name, ended('{"code": 31, "reason": "StoreUnavailable", "message": "full"}', 31))
    made = plan(model, CATALOGUE, Observation(jobs=(done,), pods=(left,)), NOW)
    assert [reference.name for reference in made.writes.deletes] == [done.name]
    assert conditions(made)["Reconciling"] == ("True", "ConversionPending")


@pytest.mark.parametrize(
    ("waits", "started", "own"),
    [
        pytest.param(timedelta(minutes=4), False, False, id="for a while"),
        pytest.param(timedelta(minutes=6), False, True, id="no longer"),
        pytest.param(timedelta(days=1), True, False, id="while it runs"),
    ],
)
def test_a_twin_is_no_hostage_of_a_job_that_does_not_start(waits: timedelta, started: bool, own: bool) -> None:
    model, twin = trtmodel(), trtmodel("twin", uid="uid-twin")
    name = job_name(model)
    others = job(model, name, created_at=(NOW - waits).isoformat())
    made = planned(twin, jobs=(others,), pods=(pod(name, started=started, unschedulable="" if started else "no node"),))
    assert [manifest.name for manifest in made.writes.creates] == ([job_name(twin)] if own else [])
    assert (made.look_again_after is not None) == (not started and not own)


def test_ones_own_job_that_does_not_start_is_waited_for() -> None:
    model = trtmodel()
    mine = job(model, job_name(model), created_at=(NOW - timedelta(days=1)).isoformat())
    made = planned(model, jobs=(mine,))
    assert made.writes == Writes()


def test_a_job_of_our_own_name_that_another_model_began_is_waited_for_and_no_failure() -> None:
    """The model was deleted and created again while its Job had no node."""
    model = trtmodel()
    before = trtmodel(uid="uid-before")
    owners = (before.owner_reference(controller=True), model.owner_reference(controller=False))
    old = job(model, job_name(model), owners=owners, created_at=(NOW - timedelta(days=1)).isoformat())
    made = planned(model, jobs=(old,))
    assert made.writes.creates == ()
    assert conditions(made)["Reconciling"] == ("True", "ConversionPending")


def test_the_task_says_what_inputs_are_bound_to_and_nothing_where_none_is() -> None:
    """Other Jobs keep their names."""

    def source(**values: Any) -> dict[str, Any]:
        model = trtmodel(source={"uri": "pvc://models/resnet50", "values": values})
        wanted = target(model)
        body = conversion_job(model, wanted.runtime, wanted.key).body
        task = json.loads(body["spec"]["template"]["metadata"]["annotations"]["tftrt.dev/spec"])
        found: dict[str, Any] = task["source"]
        return found

    assert source(phase_train=False, keep_prob=0.5)["values"] == {"phase_train": False, "keep_prob": 0.5}
    assert "values" not in source()


def test_the_task_says_in_which_types_inputs_are_served_and_nothing_where_they_are_the_models_own() -> None:
    """Other Jobs keep their names."""

    def conversion(**inputs: Any) -> dict[str, Any]:
        model = trtmodel(conversion={"inputs": inputs})
        wanted = target(model)
        body = conversion_job(model, wanted.runtime, wanted.key).body
        task = json.loads(body["spec"]["template"]["metadata"]["annotations"]["tftrt.dev/spec"])
        found: dict[str, Any] = task["conversion"]
        return found

    assert conversion(image={"dtype": "UINT8", "scale": ["2e-1"], "offset": ["1.0", "2", "3"]})["inputs"] == {
        "image": {"dtype": "UINT8", "scale": ["0.2"], "offset": ["1", "2", "3"]}
    }
    assert conversion(x={"dtype": "FP16"})["inputs"] == {"x": {"dtype": "FP16", "scale": ["1"], "offset": ["0"]}}
    assert "inputs" not in conversion()
