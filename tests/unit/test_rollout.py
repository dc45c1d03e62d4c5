"""From a record to a Deployment that answers."""

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tftrt_operator.api.status import Latency
from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.drift import concession
from tftrt_operator.domain.manifest import Manifest
from tftrt_operator.domain.manifests import names
from tftrt_operator.domain.observation import (
    JobState,
    Observation,
    ObservedCondition,
    ObservedDeployment,
    ObservedPod,
    Reference,
    Rejection,
    Termination,
)
from tftrt_operator.domain.plan import Plan, plan
from tftrt_operator.domain.record import ReportedBenchmark, ReportedVerification
from tftrt_operator.domain.step import Writes

from .builders import (
    CATALOGUE,
    ended,
    engine_record,
    job,
    live,
    live_deployment,
    observed_record,
    pod,
    target,
    trtmodel,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def planned(model: TRTModel, observation: Observation) -> Plan:
    return plan(model, CATALOGUE, observation, NOW)


def conditions(made: Plan) -> dict[str, tuple[str, str]]:
    assert made.status is not None
    return {condition.type: (condition.status, condition.reason) for condition in made.status.conditions}


def converted(model: TRTModel) -> Observation:
    return Observation(records=(observed_record(model),))


def rolled_out(model: TRTModel, **changes: Any) -> Observation:
    """What exists once everything that the first plan applies is there, and the rollout is over."""
    writes = planned(model, converted(model)).writes
    applies = (*writes.applies, *writes.prerequisites)
    children = tuple(live(manifest.body, model.owner_reference(controller=True)) for manifest in applies)
    server = next(child for child in children if child.kind == "Deployment")
    found = live_deployment(server, target(model).key.fingerprint, **changes)
    return replace(converted(model), children=children, deployment=found)


def deployment_of(observation: Observation) -> ObservedDeployment:
    assert observation.deployment is not None
    return observation.deployment


def server_pod(observation: Observation, *ends: Termination, **changes: Any) -> ObservedPod:
    """A pod of the Deployment's template."""
    metadata = deployment_of(observation).child.body["spec"]["template"]["metadata"]
    found = pod(
        "",
        *ends,
        name="resnet50-abcde",
        component=names.SERVER,
        controller=("ReplicaSet", "uid-replica-set"),
        fingerprint=metadata["labels"][names.FINGERPRINT],
        template=metadata["annotations"][names.TEMPLATE],
        memory_fraction=json.loads(metadata["annotations"][names.SPEC_ANNOTATION])["memoryFraction"],
    )
    return replace(found, **changes)


def message(made: Plan, kind: str) -> str:
    assert made.status is not None
    return next(condition.message for condition in made.status.conditions if condition.type == kind)


def test_a_converted_model_gets_deployment_service_and_network_policy() -> None:
    made = planned(trtmodel(), converted(trtmodel()))
    assert [manifest.kind for manifest in made.writes.prerequisites] == ["NetworkPolicy"]
    assert [manifest.kind for manifest in made.writes.applies] == ["Deployment", "Service"]
    assert conditions(made)["Converted"] == ("True", "Converted")
    assert conditions(made)["Reconciling"] == ("True", "RolloutProgressing")


def test_from_two_replicas_on_there_is_a_disruption_budget() -> None:
    model = trtmodel(serving={"replicas": 2})
    kinds = [manifest.kind for manifest in planned(model, converted(model)).writes.applies]
    assert "PodDisruptionBudget" in kinds


def test_when_all_is_as_it_should_be_nothing_is_written() -> None:
    model = trtmodel()
    made = planned(model, rolled_out(model))
    assert made.writes == Writes()
    assert conditions(made)["Ready"] == ("True", "Serving")
    assert conditions(made)["Available"] == ("True", "ReplicasAvailable")
    assert not {"Reconciling", "Stalled"} & conditions(made).keys()


def test_more_replicas_start_no_job_and_are_ready_once_all_answer() -> None:
    observation = rolled_out(trtmodel())
    model = trtmodel(serving={"replicas": 3})
    made = planned(model, observation)
    assert made.writes.creates == ()
    assert {manifest.kind for manifest in made.writes.applies} == {"Deployment", "PodDisruptionBudget"}
    assert conditions(made)["Ready"] == ("False", "ReplicasUnavailable")
    assert conditions(made)["Available"] == ("True", "ReplicasAvailable")
    for answering, ready in ((2, ("False", "ReplicasUnavailable")), (3, ("True", "Serving"))):
        scaled = replace(
            deployment_of(observation),
            replicas=3,
            current_replicas=3,
            updated_replicas=3,
            available_replicas=answering,
        )
        assert conditions(planned(model, replace(observation, deployment=scaled)))["Ready"] == ready


def test_a_replica_that_finds_no_gpu_is_told_in_the_schedulers_words() -> None:
    model = trtmodel(serving={"replicas": 2})
    observation = rolled_out(model, available_replicas=1)
    waits = server_pod(observation, unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    made = planned(model, replace(observation, pods=(waits,)))
    assert conditions(made)["Ready"] == ("False", "InsufficientGPU")
    assert conditions(made)["Available"] == ("True", "ReplicasAvailable")
    going = replace(waits, deleting=True)
    made = planned(model, replace(observation, pods=(going,)))
    assert conditions(made)["Ready"] == ("False", "ReplicasUnavailable"), "a pod that is going does not count"


def test_an_autoscaler_that_gets_fewer_than_it_wants_leaves_the_model_ready_and_says_so() -> None:
    model = trtmodel(serving={"autoscaling": {"maxReplicas": 4}})
    observation = rolled_out(model, replicas=3, current_replicas=3, updated_replicas=3, available_replicas=1)
    waits = server_pod(observation, unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    made = planned(model, replace(observation, pods=(waits,)))
    assert conditions(made)["Ready"] == ("True", "Serving")
    assert message(made, "Ready").startswith("1 of 3 replicas answer; “0/1 nodes are available")


def test_fewer_replicas_never_lower_ready() -> None:
    observation = rolled_out(trtmodel(serving={"replicas": 2}))
    model = trtmodel()
    assert conditions(planned(model, observation))["Ready"] == ("True", "Serving")
    assert message(planned(model, observation), "Ready") == "1 of 1 replicas answer"
    # The Deployment has the new number, and its controller has not looked yet.
    unseen = replace(deployment_of(observation), replicas=1, generation=2)
    pods = tuple(server_pod(observation, name=name, ready=True) for name in ("a", "b"))
    seen = replace(observation, deployment=unseen, pods=pods)
    assert conditions(planned(model, seen))["Ready"] == ("True", "Serving")
    other = replace(pods[0], template="of-another-revision")
    assert conditions(planned(model, replace(seen, pods=(other, pods[1]))))["Ready"][0] == "False"


def test_no_replicas_are_there_once_no_pod_is_left() -> None:
    model = trtmodel(serving={"replicas": 0})
    observation = rolled_out(model)
    ending = server_pod(observation, deleting=True)
    assert conditions(planned(model, replace(observation, pods=(ending,))))["Ready"] == ("False", "RolloutProgressing")
    assert conditions(planned(model, observation))["Ready"] == ("True", "ScaledToZero")


def test_what_an_autoscaler_says_of_itself_is_a_condition() -> None:
    model = trtmodel(serving={"autoscaling": {"maxReplicas": 4}})
    observation = rolled_out(model)
    says = ObservedCondition("False", "AmbiguousSelector", "pods are selected by multiple HPAs")
    children = tuple(
        replace(child, scaling_active=says if child.kind == "HorizontalPodAutoscaler" else None)
        for child in observation.children
    )
    made = planned(model, replace(observation, children=children))
    assert conditions(made)["ScalingActive"] == ("False", "AmbiguousSelector")
    assert "exclude each other" in message(made, "ScalingActive")
    assert "ScalingActive" not in conditions(planned(trtmodel(), rolled_out(trtmodel())))


def mirrored(body: Any) -> Any:
    """What a webhook makes of a Deployment: the image comes from a mirror."""
    changed = copy.deepcopy(body)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/converter:1"
    return changed


def test_what_a_webhook_made_of_an_apply_is_no_drift_and_is_told() -> None:
    model = trtmodel()
    observation = rolled_out(model)
    server = observation.child("Deployment")
    assert server is not None
    theirs = replace(server, body=mirrored(server.body))
    others = tuple(child for child in observation.children if child.kind != "Deployment")
    deployment = replace(deployment_of(observation), child=theirs)
    changed = replace(observation, children=(*others, theirs), deployment=deployment)
    assert [manifest.kind for manifest in planned(model, changed).writes.applies] == ["Deployment"]

    conceded = concession(Manifest(server.body), theirs.body)
    assert conceded is not None
    known = replace(changed, concessions={("Deployment", "resnet50"): conceded})
    made = planned(model, known)
    assert made.writes == Writes()
    assert conditions(made)["Ready"] == ("True", "Serving")
    path = "spec.template.spec.containers[server].image"
    assert f"changed by a mutating webhook: Deployment {path}" in message(made, "Available")

    # Neither another change of the object nor another manifest is what was conceded.
    edited = replace(theirs, body={**theirs.body, "spec": {**theirs.body["spec"], "revisionHistoryLimit": 9}})
    made = planned(model, replace(known, children=(*others, edited)))
    assert [manifest.kind for manifest in made.writes.applies] == ["Deployment"]
    more = trtmodel(serving={"maxQueueDelayMicroseconds": 50})
    assert [manifest.kind for manifest in planned(more, known).writes.applies] == ["Deployment"]


def lost(observation: Observation, at: str = "2026-01-01T01:00:00Z") -> ObservedPod:
    words = {"version": 1, "code": 21, "reason": "ArtifactNotFound", "message": "s3://store has no manifest"}
    return server_pod(observation, replace(ended(json.dumps(words), 21, "server"), finished_at=at))


def test_a_retry_after_a_lost_artifact_has_it_made_again_once() -> None:
    retried = trtmodel(metadata={"annotations": {"tftrt.dev/retry": "2"}})
    before = rolled_out(trtmodel(), available_replicas=0, retry="1")
    (record,) = (replace(record, created_at="2026-01-01T00:00:00Z") for record in before.records)
    down = replace(before, records=(record,), pods=(lost(before),))
    assert conditions(planned(trtmodel(), down))["Stalled"] == ("True", "ArtifactNotFound")
    assert planned(trtmodel(), down).writes == Writes(), "an annotation that was taken away asks for nothing"

    done = job(retried, "resnet50-1", JobState.SUCCEEDED)
    made = planned(retried, replace(down, jobs=(done,)))
    assert [(one.kind, one.name) for one in made.writes.deletes] == [("ConfigMap", record.name), ("Job", done.name)]
    assert (made.writes.applies, made.writes.creates) == ((), ())
    heed = {"metadata": {"annotations": {"tftrt.dev/retry": "2"}}}
    assert [(patch.reference.kind, patch.body) for patch in made.writes.patches] == [("Deployment", heed)]
    assert conditions(made)["Reconciling"] == ("True", "ConversionPending")
    other = replace(deployment_of(before), fingerprint="of-another-engine")
    assert planned(retried, replace(down, deployment=other)).writes.deletes == (), "this record is of another engine"

    made = planned(retried, replace(down, records=()))
    assert [manifest.kind for manifest in made.writes.creates] == ["Job"]

    anew = replace(down, records=(replace(record, created_at="2026-01-01T02:00:00Z"),))
    made = planned(retried, anew)
    assert ([m.kind for m in made.writes.applies], made.writes.deletes) == (["Deployment"], ())
    (server,) = made.writes.applies
    assert server.body["spec"]["template"] == deployment_of(before).child.body["spec"]["template"], "no pod restarts"

    heeded = replace(anew, deployment=replace(deployment_of(before), retry="2"), pods=(lost(before, "2026-01-01T03"),))
    made = planned(retried, heeded)
    assert made.writes.deletes == (), "one retry is one run"
    assert conditions(made)["Stalled"] == ("True", "ArtifactNotFound")


def test_what_a_server_died_of_before_it_came_back_is_no_news() -> None:
    model = trtmodel(serving={"replicas": 2}, metadata={"annotations": {"tftrt.dev/retry": "2"}})
    observation = rolled_out(model, available_replicas=1)
    back = replace(lost(observation), ready=True)
    made = planned(model, replace(observation, pods=(back,)))
    assert conditions(made)["Ready"] == ("False", "ReplicasUnavailable")
    assert made.writes.deletes == ()


def test_a_retry_of_long_ago_restarts_no_server() -> None:
    """Operators of before did not write it on the Deployment."""
    observation = rolled_out(trtmodel())
    model = trtmodel(metadata={"annotations": {"tftrt.dev/retry": "1"}})
    made = planned(model, observation)
    (server,) = made.writes.applies
    assert server.body["spec"] == deployment_of(observation).child.body["spec"]
    assert conditions(made)["Ready"] == ("True", "Serving")


def test_an_autoscaled_model_that_is_at_none_is_not_scaled_to_zero() -> None:
    model = trtmodel(serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    none = dict.fromkeys(("replicas", "current_replicas", "updated_replicas", "available_replicas"), 0)
    observation = rolled_out(model, **none)
    assert conditions(planned(model, observation))["Ready"] == ("False", "Unavailable")


def test_a_changed_server_is_a_rolling_update_without_a_job() -> None:
    observation = rolled_out(trtmodel())
    made = planned(trtmodel(serving={"maxQueueDelayMicroseconds": 50}), observation)
    assert made.writes.creates == ()
    assert [manifest.kind for manifest in made.writes.applies] == ["Deployment"]
    assert conditions(made)["Reconciling"] == ("True", "RolloutProgressing")


def test_while_a_new_engine_is_made_the_old_revision_serves_on_and_only_its_replicas_change() -> None:
    observation = rolled_out(trtmodel())
    made = planned(trtmodel(conversion={"precision": "FP16"}, serving={"replicas": 2}), observation)
    assert [manifest.kind for manifest in made.writes.creates] == ["Job"]
    assert made.writes.applies == ()
    assert [(p.reference.kind, dict(p.body)) for p in made.writes.patches] == [
        ("Deployment", {"spec": {"replicas": 2}})
    ]
    assert conditions(made)["Ready"] == ("False", "ConversionPending")
    assert conditions(made)["Available"] == ("True", "ReplicasAvailable")
    assert made.status is not None
    assert made.status.conversion is not None
    assert made.status.conversion.reason == "PrecisionChanged: the precision is FP16, was FP32"


def test_going_back_to_an_earlier_spec_needs_no_job() -> None:
    first, second = trtmodel(), trtmodel(conversion={"precision": "FP16"})
    observation = rolled_out(second)
    both = replace(observation, records=(*observation.records, observed_record(first)))
    made = planned(first, both)
    assert made.writes.creates == ()
    assert [manifest.kind for manifest in made.writes.applies] == ["Deployment"]


def test_an_object_that_somebody_changed_is_mended() -> None:
    model = trtmodel()
    observation = rolled_out(model)
    service = observation.child("Service")
    assert service is not None
    spoiled = replace(service, body={**service.body, "spec": {**service.body["spec"], "selector": {"app": "x"}}})
    others = tuple(child for child in observation.children if child.kind != "Service")
    made = planned(model, replace(observation, children=(*others, spoiled)))
    assert [manifest.kind for manifest in made.writes.applies] == ["Service"]


def test_a_disruption_budget_that_is_no_longer_wanted_goes() -> None:
    observation = rolled_out(trtmodel(serving={"replicas": 2}))
    made = planned(trtmodel(), observation)
    assert [reference.kind for reference in made.writes.deletes] == ["PodDisruptionBudget"]


def test_an_autoscaler_owns_the_replicas_once_it_has_set_them() -> None:
    model = trtmodel(serving={"autoscaling": {"maxReplicas": 5}})

    def applied_replicas(*managers: str) -> object:
        observation = rolled_out(model)
        found = replace(deployment_of(observation), replicas=4, replicas_managers=managers)
        others = tuple(child for child in observation.children if child.kind != "Deployment")
        made = planned(model, replace(observation, deployment=found, children=others))
        (applied,) = [manifest for manifest in made.writes.applies if manifest.kind == "Deployment"]
        return applied.body["spec"].get("replicas")

    assert applied_replicas("tftrt-operator") == 4, "dropping the field now would reset it to 1"
    assert applied_replicas("tftrt-operator", "kube-controller-manager") is None


@pytest.mark.parametrize(
    ("live_replicas", "managers", "applied"),
    [
        pytest.param(0, (), 2, id="replicas were 0 before"),
        pytest.param(0, ("tftrt-operator", "somebody"), 2, id="somebody else set 0"),
        pytest.param(1, (), 2, id="fewer than the fewest"),
        pytest.param(1, ("tftrt-operator", "somebody"), None, id="somebody else's number is the autoscaler's to mend"),
        pytest.param(4, (), 4, id="enough"),
    ],
)
def test_an_autoscaler_starts_from_its_fewest_pods_for_at_zero_it_is_disabled(
    live_replicas: int, managers: tuple[str, ...], applied: int | None
) -> None:
    observation = rolled_out(trtmodel(serving={"replicas": live_replicas}), replicas_managers=managers)
    made = planned(trtmodel(serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 5}}), observation)
    applies = {manifest.kind: manifest for manifest in made.writes.applies}
    assert "HorizontalPodAutoscaler" in applies
    found = applies["Deployment"].body["spec"].get("replicas") if "Deployment" in applies else None
    assert found == (applied if applied != live_replicas else None), "a number that is there already is not applied"


def autoscaled() -> Observation:
    """A rolled out model whose autoscaler has set four replicas."""
    return rolled_out(trtmodel(serving={"autoscaling": {"maxReplicas": 5}}), replicas=4)


def test_an_autoscaler_that_is_no_longer_asked_for_goes_before_the_new_engine_is_there() -> None:
    made = planned(trtmodel(conversion={"precision": "FP16"}), autoscaled())
    assert [reference.kind for reference in made.writes.deletes] == ["HorizontalPodAutoscaler"]
    assert [dict(p.body) for p in made.writes.patches] == [{"spec": {"replicas": 1}}]
    assert made.writes.applies == ()
    made = planned(trtmodel(conversion={"precision": "FP16"}, serving={"replicas": 4}), autoscaled())
    assert [reference.kind for reference in made.writes.deletes] == ["HorizontalPodAutoscaler"]
    assert made.writes.patches == (), "the number is right as it is"


def test_an_autoscaler_that_is_no_longer_asked_for_goes_while_a_gate_fails() -> None:
    strict = trtmodel(conversion={"maxBatchSize": 8}, verification={"maxRelativeError": "0.01"})
    made = planned(strict, replace(autoscaled(), records=gated(strict).records))
    assert conditions(made)["Stalled"] == ("True", "AccuracyBelowThreshold")
    assert [reference.kind for reference in made.writes.deletes] == ["HorizontalPodAutoscaler"]


def test_an_autoscaler_that_is_asked_for_or_is_going_already_is_left_alone() -> None:
    kept = trtmodel(conversion={"precision": "FP16"}, serving={"autoscaling": {"maxReplicas": 5}})
    made = planned(kept, autoscaled())
    assert made.writes.deletes == ()
    assert made.writes.patches == ()
    going = tuple(replace(child, deleting=child.kind == "HorizontalPodAutoscaler") for child in autoscaled().children)
    made = planned(trtmodel(conversion={"precision": "FP16"}), replace(autoscaled(), children=going))
    assert made.writes.deletes == ()


def test_the_share_of_gpu_memory_is_told_to_the_server_and_reported() -> None:
    model = trtmodel(conversion={"maxWorkspaceSize": "4G"})
    made = planned(model, converted(model))
    server = next(manifest for manifest in made.writes.applies if manifest.kind == "Deployment")
    task = json.loads(server.body["spec"]["template"]["metadata"]["annotations"][names.SPEC_ANNOTATION])
    assert task["memoryFraction"] == "0.6666"
    status = planned(model, rolled_out(model, memory_fraction="0.6666")).status
    assert status is not None
    assert status.serving is not None
    assert status.serving.memory_fraction == "0.6666"
    assert status.serving.memory_limit == "7999200000"


def test_the_status_tells_how_the_engine_that_answers_is_asked() -> None:
    before, after = trtmodel(), trtmodel(conversion={"precision": "FP16"})
    apart = {"mode": "Disabled", "reason": "ItemsInteract", "message": "output 'y' differs"}
    old = replace(observed_record(before), record=engine_record(before, batching=apart, batchSizes=[1, 8]))
    observation = rolled_out(after, current_replicas=2, progressing_reason="ReplicaSetUpdated")
    answering = server_pod(rolled_out(before), ready=True)
    made = planned(after, replace(observation, pods=(answering,), records=(observed_record(after), old)))
    assert made.status is not None
    assert made.status.serving is not None
    told = made.status.serving.model_dump(by_alias=True, exclude_none=True)
    assert told["batching"] == apart
    assert told["inputs"] == ({"name": "input_1", "datatype": "FP32", "shape": (-1, 224, 224, 3)},)
    assert told["outputs"] == ({"name": "predictions", "datatype": "FP32", "shape": (-1, 1000)},)


def test_too_little_gpu_memory_stalls_and_rolls_nothing_out() -> None:
    model = trtmodel(gpu={"memory": "1200M"})
    made = planned(model, converted(model))
    assert conditions(made)["Stalled"] == ("True", "GPUMemoryTooSmall")
    assert made.writes.applies == ()


def gated(model: TRTModel) -> Observation:
    """A record whose engine agrees with the unconverted model on 97 % of the samples."""
    observed = observed_record(model)
    verification = ReportedVerification(samples=41, top1_agreement="0.9756", max_relative_error="0.02")
    summary = observed.record.summary.model_copy(update={"verification": verification})
    return Observation(records=(replace(observed, record=replace(observed.record, summary=summary)),))


def test_a_gate_that_fails_rolls_nothing_out_and_a_loosened_one_needs_no_conversion() -> None:
    strict = trtmodel(verification={"minTop1Agreement": "0.99"})
    made = planned(strict, gated(strict))
    assert made.writes == Writes()
    assert conditions(made)["Stalled"] == ("True", "AccuracyBelowThreshold")
    assert conditions(made)["Converted"] == ("True", "Converted")
    assert conditions(made)["Verified"] == ("False", "AccuracyBelowThreshold")

    loose = trtmodel(verification={"minTop1Agreement": "0.97"})
    made = planned(loose, gated(strict))
    assert made.writes.creates == ()
    assert "Deployment" in [manifest.kind for manifest in made.writes.applies]
    assert conditions(made)["Verified"] == ("True", "GatesPassed")
    assert made.status is not None
    assert made.status.conversion is not None
    assert made.status.conversion.top1_agreement == "0.9756"
    assert made.status.conversion.compared_on == "made-up input"
    assert made.status.conversion.converted_share == "0.9846"  # 450 of 457


ON_THE_DEVICE = ReportedBenchmark(
    batch_size=32, converted_p50_microseconds=2000, native_p50_microseconds=13000, speedup="6.50"
)
"""As an older converter told it."""


def timed(observation: Observation, benchmark: ReportedBenchmark) -> Observation:
    (observed,) = observation.records
    summary = observed.record.summary.model_copy(update={"benchmark": benchmark})
    return replace(observation, records=(replace(observed, record=replace(observed.record, summary=summary)),))


def test_an_engine_that_serves_is_kept_where_only_the_devices_figure_is_known_and_its_gate_is_unknown() -> None:
    """An operator's upgrade converts nothing again and stalls nothing, and calls no such gate passed."""
    model = trtmodel(verification={"minSpeedup": "5"})
    before = timed(rolled_out(trtmodel()), ON_THE_DEVICE)
    made = planned(model, before)
    assert made.writes == Writes()
    assert made.events == ()
    assert conditions(made)["Ready"] == ("True", "Serving")
    assert "Stalled" not in conditions(made)
    assert conditions(made)["Verified"] == ("Unknown", "SpeedupUnknown")
    assert "could not compare this model's answers, 6.50 times as fast at batch size 32" in message(made, "Verified")
    assert "; it is rolled out since before, and an older converter has told of this" in message(made, "Verified")


def test_an_engine_is_not_rolled_out_by_the_devices_figure() -> None:
    model = trtmodel(verification={"minSpeedup": "5"})
    made = planned(model, timed(converted(model), ON_THE_DEVICE))
    assert made.writes == Writes()
    assert conditions(made)["Stalled"] == ("True", "SpeedupUnknown")
    assert conditions(made)["Verified"] == ("False", "SpeedupUnknown")
    without = trtmodel()
    made = planned(without, timed(converted(without), ON_THE_DEVICE))
    assert "Deployment" in [manifest.kind for manifest in made.writes.applies]
    assert conditions(made)["Verified"] == ("True", "NoGates")


def test_a_failed_gate_of_speed_stalls_what_serves_as_before() -> None:
    model = trtmodel(verification={"minSpeedup": "7"})
    made = planned(model, timed(rolled_out(trtmodel()), ON_THE_DEVICE))
    assert conditions(made)["Stalled"] == ("True", "SpeedupBelowThreshold")


def test_the_speedup_in_the_status_is_a_clients_and_the_devices_is_called_so() -> None:
    model = trtmodel()
    as_served = {"input": "Host", "in_flight": 2, "speedup": "1.76", "speedup_on_device": "9.48"}
    told = planned(model, timed(converted(model), ON_THE_DEVICE.model_copy(update=as_served))).status
    assert told is not None
    assert told.conversion is not None
    assert (told.conversion.speedup, told.conversion.speedup_on_device) == ("1.76", "9.48")
    assert told.conversion.latency == Latency(native_microseconds=13000, converted_microseconds=2000)


def test_of_an_older_record_the_status_has_nothing_that_a_client_does_not_have_under_a_clients_name() -> None:
    model = trtmodel()
    told = planned(model, timed(converted(model), ON_THE_DEVICE)).status
    assert told is not None
    assert told.conversion is not None
    assert (told.conversion.speedup, told.conversion.latency) == (None, None)
    assert told.conversion.speedup_on_device == "6.50"
    on_cpu = trtmodel(runtime="cpu")
    told = planned(on_cpu, timed(converted(on_cpu), ON_THE_DEVICE)).status
    assert told is not None
    assert told.conversion is not None
    assert (told.conversion.speedup, told.conversion.speedup_on_device) == ("6.50", None), "there is no device"
    assert told.conversion.latency is not None


def test_what_was_not_compared_is_no_figure_in_the_status() -> None:
    model = trtmodel()
    observed = observed_record(model)
    nothing = ReportedVerification(samples=0, not_compared="AnswersDiffer")
    summary = observed.record.summary.model_copy(update={"verification": nothing})
    made = planned(model, Observation(records=(replace(observed, record=replace(observed.record, summary=summary)),)))
    assert made.status is not None
    told = made.status.conversion
    assert told is not None
    assert (told.top1_agreement, told.max_relative_error, told.equal_elements, told.compared_on) == (None,) * 4
    assert "the model answers the same input differently each time" in message(made, "Verified")


def test_while_a_gate_fails_the_old_revision_serves_on() -> None:
    observation = rolled_out(trtmodel())
    strict = trtmodel(conversion={"maxBatchSize": 8}, verification={"maxRelativeError": "0.01"})
    made = planned(strict, replace(observation, records=gated(strict).records))
    assert made.writes.applies == ()
    assert conditions(made)["Available"] == ("True", "ReplicasAvailable")
    assert conditions(made)["Ready"] == ("False", "AccuracyBelowThreshold")


def test_a_server_without_a_gpu_to_run_on_is_insufficient_gpu() -> None:
    model = trtmodel()
    observation = rolled_out(model, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    waiting = server_pod(observation, unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    made = planned(model, replace(observation, pods=(waiting,)))
    assert conditions(made)["Reconciling"] == ("True", "InsufficientGPU")
    assert made.status is not None
    assert "set rollout.strategy: InPlace" in made.status.conditions[0].message


def test_a_label_that_no_node_has_is_named() -> None:
    model = trtmodel(gpu={"product": "NVIDIA-A10"}, rollout={"strategy": "InPlace"})
    observation = rolled_out(model, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    words = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    made = planned(model, replace(observation, pods=(server_pod(observation, unschedulable=words),)))
    assert made.status is not None
    message = made.status.conditions[0].message
    assert f"“{words}”; it goes to nodes with kubernetes.io/arch=amd64; nvidia.com/gpu.product=NVIDIA-A10" in message
    assert "for which spec.gpu.product asks" in message
    assert "InPlace" not in message


def test_the_gpu_that_an_engine_was_built_on_is_named_where_no_node_has_one() -> None:
    observation = rolled_out(trtmodel(), available_replicas=0, progressing_reason="ReplicaSetUpdated")
    words = "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't match Pod's node affinity."
    made = planned(trtmodel(), replace(observation, pods=(server_pod(observation, unschedulable=words),)))
    assert conditions(made)["Reconciling"] == ("True", "InsufficientGPU")
    told = "nvidia.com/gpu.product=NVIDIA-A10 or without that label, for the engine was built on NVIDIA-A10"
    assert told in message(made, "Reconciling")


def test_a_first_rollout_has_no_engine_that_serves_on() -> None:
    observation = rolled_out(trtmodel(), available_replicas=0, progressing_reason="ReplicaSetUpdated")
    made = planned(trtmodel(), replace(observation, pods=(server_pod(observation, ready=True),)))
    assert made.status is not None
    assert "serves on" not in made.status.conditions[0].message


def test_on_the_way_to_no_replicas_what_is_left_is_counted() -> None:
    model = trtmodel(serving={"replicas": 0})
    observation = rolled_out(model, current_replicas=2, updated_replicas=0, available_replicas=0)
    assert observation.deployment is not None
    made = planned(model, observation)
    assert made.status is not None
    assert made.status.conditions[0].message == "to no replicas: 2 pods are there, or still end"


def test_a_server_that_refuses_the_engine_stalls_with_its_own_words() -> None:
    model = trtmodel()
    words = {"version": 1, "code": 24, "reason": "EngineDeviceMismatch"}
    words["message"] = "The engines were built for NVIDIA-A10, and this pod's device is Tesla-T4: convert again."
    observation = rolled_out(model, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    refused = server_pod(observation, ended(json.dumps(words), 24, "server"))
    made = planned(model, replace(observation, pods=(refused,)))
    assert conditions(made)["Stalled"] == ("True", "EngineDeviceMismatch")
    assert "built for NVIDIA-A10, and this pod's device is Tesla-T4" in message(made, "Stalled")


def test_what_a_pod_of_an_earlier_template_died_of_is_no_verdict_on_the_corrected_one() -> None:
    before, after = trtmodel(gpu={"memoryFraction": "0.2"}), trtmodel(gpu={"memoryFraction": "0.8"})
    assert target(before).key == target(after).key, "the engine is the same"
    words = json.dumps({"version": 1, "code": 19, "reason": "GPUOutOfMemory", "message": "the pool is used up"})
    observation = rolled_out(after, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    earlier = server_pod(rolled_out(before), ended(words, 19, "server"))
    made = planned(after, replace(observation, pods=(earlier,)))
    assert conditions(made)["Reconciling"] == ("True", "RolloutProgressing")
    current = server_pod(observation, ended(words, 19, "server"))
    made = planned(after, replace(observation, pods=(earlier, current)))
    assert conditions(made)["Stalled"] == ("True", "GPUOutOfMemory")


def test_a_rollout_past_its_deadline_stalls() -> None:
    model = trtmodel()
    observation = rolled_out(model, available_replicas=0, progressing_reason="ProgressDeadlineExceeded")
    assert conditions(planned(model, observation))["Stalled"] == ("True", "RolloutFailed")


def test_a_deadline_that_the_rollout_before_this_one_exceeded_does_not_count() -> None:
    model = trtmodel()
    observation = rolled_out(
        model, available_replicas=0, progressing_reason="ProgressDeadlineExceeded", generation=2, observed_generation=1
    )
    assert conditions(planned(model, observation))["Reconciling"] == ("True", "RolloutProgressing")


def test_pods_that_cannot_be_created_are_the_obstacle() -> None:
    model = trtmodel()
    quota = 'pods "resnet50-1" is forbidden: exceeded quota: gpus'
    observation = rolled_out(
        model,
        available_replicas=0,
        updated_replicas=0,
        progressing_reason="NewReplicaSetCreated",
        replica_failure=quota,
    )
    made = planned(model, observation)
    assert conditions(made)["Reconciling"] == ("True", "RolloutProgressing")
    assert quota in message(made, "Reconciling")
    late = replace(deployment_of(observation), progressing_reason="ProgressDeadlineExceeded")
    made = planned(model, replace(observation, deployment=late))
    assert conditions(made)["Stalled"] == ("True", "RolloutFailed")
    assert quota in message(made, "Stalled")


def test_a_pod_that_its_node_evicted_is_the_obstacle() -> None:
    model = trtmodel()
    observation = rolled_out(model, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    evicted = server_pod(
        observation, ended("", 137, "server"), reason="Evicted", message="The node was low on resource: memory."
    )
    made = planned(model, replace(observation, pods=(evicted,)))
    assert "Evicted: pod resnet50-abcde: “The node was low on resource: memory.”" in message(made, "Reconciling")


def test_while_a_new_revision_does_not_start_the_status_names_the_engine_that_answers() -> None:
    before = trtmodel(gpu={"memoryFraction": "0.2"})
    after = trtmodel(gpu={"memoryFraction": "0.8"}, conversion={"precision": "FP16"})
    observation = rolled_out(
        after, current_replicas=2, progressing_reason="ProgressDeadlineExceeded", memory_fraction="0.8000"
    )
    old = server_pod(rolled_out(before), ready=True, created_at="2026-01-01T00:00:00Z")
    new = server_pod(observation, name="resnet50-new", created_at="2026-01-02T00:00:00Z")
    both = (observed_record(before), observed_record(after))
    made = planned(after, replace(observation, pods=(new, old), records=both))
    served = target(before).key.fingerprint
    assert conditions(made)["Ready"] == ("False", "RolloutFailed")
    assert f"(engine {served[:8]} serves on)" in message(made, "Ready")
    assert message(made, "Available") == f"engine {served[:8]} answers"
    assert made.status is not None
    assert made.status.fingerprint == served
    assert made.status.serving is not None
    assert made.status.serving.fingerprint == served
    assert made.status.serving.memory_fraction == "0.2000"
    assert made.status.serving.memory_limit == "2400000000"


def test_while_old_and_new_pods_answer_the_old_ones_engine_is_named_until_the_rollout_is_over() -> None:
    before, after = trtmodel(), trtmodel(conversion={"precision": "FP16"})
    observation = rolled_out(after, current_replicas=2, progressing_reason="ReplicaSetUpdated")
    old = server_pod(rolled_out(before), ready=True, created_at="2026-01-01T00:00:00Z")
    new = server_pod(observation, name="resnet50-new", ready=True, created_at="2026-01-02T00:00:00Z")
    status = planned(after, replace(observation, pods=(new, old))).status
    assert status is not None
    assert status.fingerprint == target(before).key.fingerprint
    over = replace(deployment_of(observation), current_replicas=1, progressing_reason="NewReplicaSetAvailable")
    status = planned(after, replace(observation, pods=(new, old), deployment=over)).status
    assert status is not None
    assert status.fingerprint == target(after).key.fingerprint


def test_where_no_pod_is_ready_nothing_answers() -> None:
    model = trtmodel()
    observation = rolled_out(model, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    made = planned(model, replace(observation, pods=(server_pod(observation),)))
    assert conditions(made)["Available"] == ("False", "NoReplicaAvailable")
    assert made.status is not None
    assert made.status.fingerprint is None
    assert made.status.serving is not None
    assert made.status.serving.fingerprint is None
    assert made.status.serving.memory_fraction is None


def test_an_object_of_our_name_that_is_not_ours_is_never_taken_over() -> None:
    model = trtmodel()
    foreign = (Reference("Service", "default", "resnet50"),)
    made = planned(model, replace(converted(model), foreign=foreign))
    assert conditions(made)["Stalled"] == ("True", "NameConflict")
    assert made.writes.applies == made.writes.creates == ()
    assert made.look_again_after is not None, "nobody tells us when it is gone"


def test_what_a_deleted_namesake_has_left_is_waited_for() -> None:
    model = trtmodel()
    leftovers = (Reference("Service", "default", "resnet50"),)
    made = planned(model, replace(converted(model), leftovers=leftovers))
    assert conditions(made)["Reconciling"] == ("True", "NamesakeDeleting")
    assert made.writes.applies == ()


def test_what_the_api_server_refuses_for_good_stalls_in_its_own_words() -> None:
    model = trtmodel()
    rejection = Rejection(Reference("Deployment", "default", "resnet50"), "affinity: unknown operator", final=True)
    made = planned(model, replace(converted(model), rejections=(rejection,)))
    assert conditions(made)["Stalled"] == ("True", "ObjectInvalid")
    assert made.look_again_after == timedelta(minutes=5)


def test_a_quota_that_is_used_up_is_tried_again() -> None:
    model = trtmodel()
    rejection = Rejection(Reference("Deployment", "default", "resnet50"), "exceeded quota", final=False)
    made = planned(model, replace(converted(model), rejections=(rejection,)))
    assert conditions(made)["Reconciling"] == ("True", "WriteForbidden")
    assert made.look_again_after is not None


def test_scaled_to_zero_is_ready() -> None:
    model = trtmodel(serving={"replicas": 0})
    assert conditions(planned(model, rolled_out(model)))["Ready"] == ("True", "ScaledToZero")


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    model = trtmodel()
    first = planned(model, converted(model)).status
    assert first is not None
    later = datetime(2027, 1, 1, tzinfo=UTC)
    seen = trtmodel(status=first.model_dump(by_alias=True))
    second = plan(seen, CATALOGUE, converted(model), later).status
    assert second == first, "the same facts are no reason to write"


def told(model: TRTModel, made: Plan) -> TRTModel:
    """The model once this plan's status has been written."""
    assert made.status is not None
    return model.model_copy(update={"status": made.status})


def test_the_usual_course_is_told_by_the_status_alone() -> None:
    model = trtmodel()
    made = planned(model, converted(model))
    assert made.events == ()
    assert planned(told(model, made), rolled_out(model)).events == ()


def test_what_leaves_the_usual_course_is_an_event_once_and_so_is_the_way_back() -> None:
    model = trtmodel()
    serving = told(model, planned(model, rolled_out(model)))
    down = rolled_out(model, available_replicas=0)
    made = planned(serving, down)
    assert [(event.reason, event.warning) for event in made.events] == [("Unavailable", False)]
    unavailable = told(model, made)
    assert planned(unavailable, down).events == (), "the same news is told once"
    assert [event.reason for event in planned(unavailable, rolled_out(model)).events] == ["Serving"]


def test_a_rollout_that_nothing_answers_of_is_told_in_the_same_words_whatever_its_controller_has_begun() -> None:
    model = trtmodel()
    applied = rolled_out(model, observed_generation=0, generation=1, progressing_reason="", available_replicas=0)
    applied = replace(applied, deployment=replace(deployment_of(applied), current_replicas=0, updated_replicas=0))
    begun = rolled_out(model, progressing_reason="ReplicaSetUpdated", available_replicas=0)
    first, second = planned(model, applied).status, planned(model, begun).status
    assert first == second
    assert first is not None
    assert first.replicas == 1
    assert "none of 1 replicas answers yet" in first.conditions[0].message
