"""From a record to a Deployment that answers."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.manifests import names
from tftrt_operator.domain.observation import Observation, ObservedDeployment, Reference, Rejection
from tftrt_operator.domain.plan import Plan, plan
from tftrt_operator.domain.record import ReportedVerification
from tftrt_operator.domain.step import Writes

from .builders import (
    CATALOGUE,
    ended,
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
    applies = planned(model, converted(model)).writes.applies
    children = tuple(live(manifest.body, model.owner_reference(controller=True)) for manifest in applies)
    server = next(child for child in children if child.kind == "Deployment")
    found = live_deployment(server, target(model).key.fingerprint, **changes)
    return replace(converted(model), children=children, deployment=found)


def deployment_of(observation: Observation) -> ObservedDeployment:
    assert observation.deployment is not None
    return observation.deployment


def test_a_converted_model_gets_deployment_service_and_network_policy() -> None:
    made = planned(trtmodel(), converted(trtmodel()))
    assert [manifest.kind for manifest in made.writes.applies] == ["Deployment", "Service", "NetworkPolicy"]
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


def test_a_change_of_replicas_alone_starts_no_job_and_never_lowers_ready() -> None:
    observation = rolled_out(trtmodel())
    model = trtmodel(serving={"replicas": 3})
    made = planned(model, observation)
    assert made.writes.creates == ()
    assert {manifest.kind for manifest in made.writes.applies} == {"Deployment", "PodDisruptionBudget"}
    assert conditions(made)["Ready"] == ("True", "Serving")
    scaled = replace(deployment_of(observation), replicas=3, current_replicas=3, updated_replicas=3)
    assert conditions(planned(model, replace(observation, deployment=scaled)))["Ready"] == ("True", "Serving")


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
    assert made.status.conversion.converted_share == "0.9846"  # 450 of 457


def test_while_a_gate_fails_the_old_revision_serves_on() -> None:
    observation = rolled_out(trtmodel())
    strict = trtmodel(conversion={"maxBatchSize": 8}, verification={"maxRelativeError": "0.01"})
    made = planned(strict, replace(observation, records=gated(strict).records))
    assert made.writes.applies == ()
    assert conditions(made)["Available"] == ("True", "ReplicasAvailable")
    assert conditions(made)["Ready"] == ("False", "AccuracyBelowThreshold")


def test_a_server_without_a_gpu_to_run_on_is_insufficient_gpu() -> None:
    model = trtmodel()
    waiting = pod(
        "",
        component=names.SERVER,
        fingerprint=target(model).key.fingerprint,
        unschedulable="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    )
    observation = rolled_out(model, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    made = planned(model, replace(observation, pods=(waiting,)))
    assert conditions(made)["Reconciling"] == ("True", "InsufficientGPU")


def test_a_server_that_refuses_the_engine_stalls_with_its_own_words() -> None:
    model = trtmodel()
    words = {"version": 1, "code": 24, "reason": "EngineDeviceMismatch", "message": "built on NVIDIA A10, here is T4"}
    refused = pod(
        "",
        ended(json.dumps(words), 24, "server"),
        component=names.SERVER,
        fingerprint=target(model).key.fingerprint,
    )
    observation = rolled_out(model, available_replicas=0, progressing_reason="ReplicaSetUpdated")
    made = planned(model, replace(observation, pods=(refused,)))
    assert conditions(made)["Stalled"] == ("True", "EngineDeviceMismatch")


def test_a_rollout_past_its_deadline_stalls() -> None:
    model = trtmodel()
    observation = rolled_out(model, available_replicas=0, progressing_reason="ProgressDeadlineExceeded")
    assert conditions(planned(model, observation))["Stalled"] == ("True", "RolloutFailed")


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


def test_the_same_news_is_told_once() -> None:
    model = trtmodel()
    made = planned(model, converted(model))
    assert [event.reason for event in made.events] == ["RolloutProgressing"]
    assert made.status is not None
    seen = trtmodel(status=made.status.model_dump(by_alias=True))
    assert planned(seen, converted(model)).events == ()
