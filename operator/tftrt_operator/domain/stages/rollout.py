"""The rollout stage: from a record to a Deployment that answers."""

from dataclasses import replace

from ...api.network import NetworkPolicyMode
from ...api.serving import RolloutStrategy
from ...api.trtmodel import RETRY_ANNOTATION, TRTModel
from ..drift import drift
from ..failure import FailureReport, latest_failure
from ..manifest import MANIFEST_HASH_ANNOTATION, Manifest
from ..manifests import names, placement
from ..manifests.conversion_job import USERS_MISTAKES
from ..manifests.deployment import deployment
from ..manifests.horizontal_pod_autoscaler import horizontal_pod_autoscaler
from ..manifests.network_policy import network_policy
from ..manifests.pod_disruption_budget import pod_disruption_budget
from ..manifests.service import service
from ..memory import MeasuredPool, MemoryGrant, MemoryShortage, memory_grant
from ..observation import (
    JobState,
    Observation,
    ObservedChild,
    ObservedDeployment,
    ObservedPod,
    ObservedRecord,
    Reference,
    Termination,
)
from ..record import EngineRecord
from ..runtime import Network
from ..step import Patch, Step, Writes
from ..target import Target
from ..verdict import Verdict, ready, reconciling, stalled
from ..words import quote
from .conversion import job_reference, record_reference

_HASH = f"metadata.annotations.{MANIFEST_HASH_ANNOTATION}"
ARTIFACT_IS_GONE = ("ArtifactNotFound", "ArtifactCorrupt")
"""What a server says that only another conversion can mend: the record tells of what is no more."""


def roll_out(model: TRTModel, target: Target, observed: ObservedRecord, observation: Observation) -> Step:
    """Return what brings the converted model to answer."""
    record = observed.record
    grant = grant_of(model, target, record)
    if isinstance(grant, MemoryShortage):
        return Step(stalled("GPUMemoryTooSmall", grant.message), keep_serving(model, target.network, observation))
    manifests = _children(model, target, record, grant, observation)
    pods = _pods_of(manifests[0], observation)
    if (lost := _lost_artifact(model, observed, observation)) is not None:
        # Another run publishes it anew. What tells of the lost one would be taken for it.
        told = (record_reference(model, observed), *_finished_jobs(model, target, observation))
        # First it is written that this retry is heeded: one is one run, whatever becomes of what is applied later.
        return Step(
            reconciling("ConversionPending", f"{lost.reason}, and {RETRY_ANNOTATION} is new: it is made again"),
            keep_serving(model, target.network, observation) + _heed_retry(model, observation) + Writes(deletes=told),
        )
    report = latest_failure(pod for pod in pods if not pod.ready)
    drifts = [(manifest, found) for manifest in manifests if (found := _drift(manifest, observation)) is not None]
    deletes = _superfluous(model, manifests, observation)
    writes = _closed_first(model, [manifest for manifest, _ in drifts], observation) + Writes(deletes=deletes)
    pending = any(_lowers_ready(manifest, found) for manifest, found in drifts)
    return Step(_progress(model, target, record, observation, pods, report, pending=pending), writes)


def _lost_artifact(model: TRTModel, observed: ObservedRecord, observation: Observation) -> FailureReport | None:
    """Return what the servers that are down say, if it is that their artifact is no more, and the user has asked anew.

    What they said before the record was made is of an artifact before this one.
    """
    live, asked = observation.deployment, model.metadata.annotations.get(RETRY_ANNOTATION, "")
    if live is None or asked in ("", live.retry) or live.fingerprint != observed.record.key.fingerprint:
        return None
    down = [pod for pod in _of_template(template_of(live), observation) if not pod.ready]
    since = [replace(pod, terminations=_ended_after(pod, observed.created_at)) for pod in down]
    report = latest_failure(since)
    return report if report is not None and report.reason in ARTIFACT_IS_GONE else None


def _heed_retry(model: TRTModel, observation: Observation) -> Writes:
    live = observation.child("Deployment")
    if live is None:
        return Writes()
    annotations = {RETRY_ANNOTATION: model.metadata.annotations[RETRY_ANNOTATION]}
    return Writes(patches=(Patch(_reference(model, live), {"metadata": {"annotations": annotations}}),))


def _ended_after(pod: ObservedPod, time: str) -> tuple[Termination, ...]:
    return tuple(end for end in pod.terminations if end.finished_at > time)


def _finished_jobs(model: TRTModel, target: Target, observation: Observation) -> tuple[Reference, ...]:
    return tuple(
        job_reference(model, job)
        for job in observation.jobs
        if job.component == names.CONVERSION and job.engine == target.key.engine and job.state is not JobState.LIVE
    )


def keep_serving(model: TRTModel, network: Network, observation: Observation) -> Writes:
    """Return all that an old revision gets while there is no engine for the new one: its replicas, and who reaches it.

    Whoever closes a server must not wait for an engine.
    """
    live = observation.deployment
    if live is None:
        return Writes()
    return _keep_replicas(model, live, observation) + _keep_network(model, live, network, observation)


def _keep_replicas(model: TRTModel, live: ObservedDeployment, observation: Observation) -> Writes:
    """An autoscaler that is not asked for any more goes at once: it would set its own number, and pods come and go."""
    replicas = model.spec.serving.replicas
    if model.spec.serving.autoscaling:
        return Writes()
    autoscaler = observation.child("HorizontalPodAutoscaler")
    deletes = () if autoscaler is None or autoscaler.deleting else (_reference(model, autoscaler),)
    if live.replicas == replicas:
        return Writes(deletes=deletes)
    return Writes(patches=(Patch(_reference(model, live.child), {"spec": {"replicas": replicas}}),), deletes=deletes)


def _keep_network(model: TRTModel, live: ObservedDeployment, network: Network, observation: Observation) -> Writes:
    policy = observation.child("NetworkPolicy", model.metadata.name)
    if model.spec.serving.network_policy.mode is NetworkPolicyMode.UNMANAGED:
        gone = () if policy is None or policy.deleting else (_reference(model, policy),)
        return Writes(deletes=gone)
    serving = (one.record for one in observation.records if one.record.key.fingerprint == live.fingerprint)
    record = next(serving, None)
    if record is None:
        return Writes()  # nobody can say whether it pulls its artifact
    wanted = network_policy(model, record, network)
    return Writes(prerequisites=() if _drift(wanted, observation) is None else (wanted,))


def _closed_first(model: TRTModel, wanted: list[Manifest], observation: Observation) -> Writes:
    """Return the writes of these objects, the NetworkPolicy before what it closes: where it is refused, nothing stands.

    While it is being deleted no server is begun, which would outlive it. One that is there is not held up.
    """
    policies = tuple(manifest for manifest in wanted if manifest.kind == "NetworkPolicy")
    others = tuple(manifest for manifest in wanted if manifest.kind != "NetworkPolicy")
    live = observation.child("NetworkPolicy", model.metadata.name)
    if (
        observation.deployment is None
        and live is not None
        and live.deleting
        and model.spec.serving.network_policy.mode is NetworkPolicyMode.MANAGED
    ):
        return Writes()  # its last event brings us back
    return Writes(prerequisites=policies, applies=others)


def grant_of(model: TRTModel, target: Target, record: EngineRecord) -> MemoryGrant | MemoryShortage | None:
    """Return the share of device memory, or None where the engine was made without a device."""
    device_memory = record.summary.device.memory_bytes
    if device_memory is None:
        return None
    memory = record.summary.memory
    measured = MeasuredPool(memory.peak_bytes, memory.overhead_bytes) if memory else None
    return memory_grant(model.spec.gpu, target.inputs.max_workspace_size, device_memory, measured)


def _children(
    model: TRTModel, target: Target, record: EngineRecord, grant: MemoryGrant | None, observation: Observation
) -> list[Manifest]:
    """Return all that the model needs to serve, the Deployment first."""
    serving = model.spec.serving
    children = [
        deployment(model, target.runtime, record, grant, _replicas(model, observation.deployment)),
        service(model),
    ]
    if serving.network_policy.mode is NetworkPolicyMode.MANAGED:
        children.append(network_policy(model, record, target.network))
    if serving.autoscaling is not None:
        children.append(horizontal_pod_autoscaler(model, serving.autoscaling))
    most = serving.autoscaling.max_replicas if serving.autoscaling else serving.replicas
    if most > 1:
        children.append(pod_disruption_budget(model))
    return children


def _replicas(model: TRTModel, live: ObservedDeployment | None) -> int | None:
    """Return the number to apply, or None where it belongs to an autoscaler.

    With an autoscaler the live value is applied until another manager owns the field: to drop a field from an apply
    while nobody else owns it would reset it to 1. An autoscaler is disabled at 0, whoever set it, and would stay there.
    """
    serving = model.spec.serving
    if serving.autoscaling is None:
        return serving.replicas
    least, most = serving.autoscaling.min_replicas, serving.autoscaling.max_replicas
    if live is None:
        return min(max(serving.replicas, least), most)
    others = [manager for manager in live.replicas_managers if manager != names.OPERATOR]
    return None if others and live.replicas > 0 else max(live.replicas, least)


def _drift(manifest: Manifest, observation: Observation) -> frozenset[str] | None:
    """Return the fields for which the manifest has to be applied, all of them ("") where there is no object yet."""
    live = observation.child(manifest.kind, manifest.name)
    if live is None:
        return frozenset({""})
    if live.deleting:
        return None  # its last event brings us back
    return drift(manifest, live.body, observation.concessions.get((manifest.kind, manifest.name))) or None


def _lowers_ready(manifest: Manifest, drifted: frozenset[str]) -> bool:
    """Return whether something that answers requests is not yet as the spec says. Replicas are counted apart."""
    if manifest.kind not in ("Deployment", "Service", "NetworkPolicy"):
        return False
    # Of what is not in the spec only the hash may tell of it: of a field that was dropped.
    return any(_is_of_spec(path) for path in drifted) or drifted <= {"", _HASH}


def _is_of_spec(path: str) -> bool:
    return path.startswith("spec") and path != "spec.replicas"


def _superfluous(model: TRTModel, manifests: list[Manifest], observation: Observation) -> tuple[Reference, ...]:
    wanted = {manifest.kind for manifest in manifests}
    return tuple(
        _reference(model, child)
        for child in observation.children
        if child.name == model.metadata.name and child.kind not in wanted and not child.deleting
    )


def _reference(model: TRTModel, child: ObservedChild) -> Reference:
    return Reference(child.kind, model.metadata.namespace, child.name, child.uid)


def _pods_of(server: Manifest, observation: Observation) -> list[ObservedPod]:
    """Return the pods of the wanted template that stay: what one of an earlier template died of may be mended."""
    return _of_template(server.body["spec"]["template"]["metadata"]["annotations"][names.TEMPLATE], observation)


def _of_template(template: str, observation: Observation) -> list[ObservedPod]:
    return [pod for pod in servers(observation) if pod.template == template and not pod.deleting]


def template_of(live: ObservedDeployment) -> str:
    """Return the digest of the pod template that a live Deployment has, "" where it tells none."""
    metadata = live.child.body["spec"]["template"].get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(names.TEMPLATE, ""))


def servers(observation: Observation) -> list[ObservedPod]:
    """Return the inference pods that are there, of any template; those that still end hold their device, too."""
    return [pod for pod in observation.pods if pod.component == names.SERVER and pod.controller[0] == "ReplicaSet"]


def _progress(
    model: TRTModel,
    target: Target,
    record: EngineRecord,
    observation: Observation,
    pods: list[ObservedPod],
    report: FailureReport | None,
    *,
    pending: bool,
) -> Verdict:
    live = observation.deployment
    if live is None or live.fingerprint != record.key.fingerprint or pending:
        return reconciling("RolloutProgressing", "rolling out the converted model")
    autoscaling = model.spec.serving.autoscaling
    wanted = max(live.replicas, autoscaling.min_replicas) if autoscaling else model.spec.serving.replicas
    answering = answering_replicas(live, observation)
    if wanted == 0:
        return _to_none(live, servers(observation))
    obstacle = _obstacle(live, pods) or (f"{report.reason}: {report.message}" if report else "")
    counted = "" if answering is None else f"{min(answering, wanted)} of {wanted} replicas answer"
    if answering is not None:
        if answering >= wanted:
            return ready("Serving", counted)
        if answering and model.spec.serving.autoscaling:
            # Its number changes with the load: the model is as it was asked to be while any of them answers.
            missing = next((quote(pod.unschedulable) for pod in pods if pod.unschedulable), "") or obstacle
            return ready("Serving", counted + (f"; {missing}" if missing else ""))
    if report is not None and report.code in USERS_MISTAKES:
        return stalled(report.reason, report.message)
    if _is_observed(live) and live.progressing_reason == "ProgressDeadlineExceeded":
        return stalled("RolloutFailed", obstacle or quote(live.progressing_message))
    unschedulable = next((pod.unschedulable for pod in pods if pod.unschedulable), "")
    if unschedulable:
        short_of_gpu = model.spec.gpu.resource_name in unschedulable
        return reconciling(
            "InsufficientGPU" if short_of_gpu else "Unschedulable",
            (f"{counted}; " if answering else "")
            + quote(unschedulable)
            + _way_out(model, target, record, short_of_gpu),
        )
    if answering == 0:
        return reconciling("Unavailable", obstacle or "no replica answers at the moment")
    if answering is not None:
        return reconciling("ReplicasUnavailable", counted + (f"; {obstacle}" if obstacle else ""))
    return reconciling("RolloutProgressing", _how_far(live) + (f"; {obstacle}" if obstacle else ""))


def _how_far(live: ObservedDeployment) -> str:
    """Say how far a rollout has come; while nothing answers, that is the news whatever its controller has begun."""
    if not live.available_replicas:
        return f"rolling out the converted model: none of {live.replicas} replicas answers yet"
    return f"{live.updated_replicas} of {live.replicas} replicas updated, {live.available_replicas} available"


def _to_none(live: ObservedDeployment, left: list[ObservedPod]) -> Verdict:
    """A model with no replicas is there once nothing holds a claim or a device for it any more."""
    ending = [pod for pod in left if pod.phase not in ("Succeeded", "Failed")]
    if live.replicas or ending or live.current_replicas or not _is_observed(live):
        count = max(len(ending), live.current_replicas)
        return reconciling("RolloutProgressing", f"to no replicas: {count} pods are there, or still end")
    return ready("ScaledToZero", "the model is rolled out, with no replicas")


def _way_out(model: TRTModel, target: Target, record: EngineRecord, short_of_gpu: bool) -> str:
    """Return what the scheduler does not say: the labels that are asked for, and what needs no further GPU."""
    ways = [placement.explained(model.spec, target.runtime, record.summary.product)]
    if short_of_gpu and model.spec.rollout.strategy is RolloutStrategy.SURGE:
        ways.append("free a GPU, or set rollout.strategy: InPlace, which needs none beside those that serve")
    return "".join(f"; {way}" for way in ways)


def _is_observed(live: ObservedDeployment) -> bool:
    """Return whether what its controller says of the Deployment is about what it is now."""
    return live.observed_generation >= live.generation


def current_replicas(live: ObservedDeployment) -> int:
    """Return how many replicas there are: what its controller counts, or is just about to make."""
    return live.current_replicas if _is_observed(live) else live.replicas


def is_rolled_out(record: EngineRecord, observation: Observation) -> bool:
    """Return whether the Deployment is of this engine already: its gates were passed once."""
    return observation.deployment is not None and observation.deployment.fingerprint == record.key.fingerprint


def answering_replicas(live: ObservedDeployment, observation: Observation) -> int | None:
    """Return how many replicas of the current pod template answer, or None while it is being rolled out.

    The Deployment controller keeps NewReplicaSetAvailable while a finished revision is scaled, and it counts no pod
    that is being deleted. Where it has not seen the last change yet, that may have been one of replicas alone: then all
    pods are of one template, and those that are ready answer.
    """
    if live.progressing_reason != "NewReplicaSetAvailable" or live.current_replicas != live.updated_replicas:
        return None
    if _is_observed(live):
        return live.available_replicas
    template = template_of(live)
    here = servers(observation)
    return sum(pod.ready for pod in here) if here and all(pod.template == template for pod in here) else None


def _obstacle(live: ObservedDeployment, pods: list[ObservedPod]) -> str:
    if _is_observed(live) and live.replica_failure:
        return f"pods cannot be created: {quote(live.replica_failure)}"
    return next((f"pod {pod.name} waits: {quote(pod.waiting)}" for pod in pods if pod.waiting), "")
