"""The rollout stage: from a record to a Deployment that answers."""

from ..api.serving import RolloutStrategy
from ..api.trtmodel import TRTModel
from .drift import has_drifted
from .failure import latest_failure
from .manifest import Manifest
from .manifests import names
from .manifests.conversion_job import USERS_MISTAKES
from .manifests.deployment import deployment
from .manifests.horizontal_pod_autoscaler import horizontal_pod_autoscaler
from .manifests.network_policy import network_policy
from .manifests.pod_disruption_budget import pod_disruption_budget
from .manifests.pods import PRODUCT_LABEL
from .manifests.service import service
from .memory import MeasuredPool, MemoryGrant, MemoryShortage, memory_grant
from .observation import Observation, ObservedChild, ObservedDeployment, ObservedPod, Reference
from .record import EngineRecord
from .step import Patch, Step, Writes
from .target import Target
from .verdict import Verdict, ready, reconciling, stalled


def roll_out(model: TRTModel, target: Target, record: EngineRecord, observation: Observation) -> Step:
    """Return what brings the converted model to answer."""
    grant = grant_of(model, target, record)
    if isinstance(grant, MemoryShortage):
        return Step(stalled("GPUMemoryTooSmall", grant.message), keep_serving(model, observation))
    manifests = _children(model, target, record, grant, observation)
    writes = Writes(
        applies=tuple(manifest for manifest in manifests if _must_apply(manifest, observation)),
        deletes=_superfluous(model, manifests, observation),
    )
    pods = _pods_of(manifests[0], observation)
    return Step(_progress(model, record, observation, pods, pending=_lowers_ready(writes.applies, observation)), writes)


def keep_serving(model: TRTModel, observation: Observation) -> Writes:
    """Return all that an old revision gets while there is no engine for the new one: its replicas.

    An autoscaler that is no longer asked for goes at once: it would set its own number again, and pods come and go.
    """
    live, replicas = observation.deployment, model.spec.serving.replicas
    if live is None or model.spec.serving.autoscaling:
        return Writes()
    autoscaler = observation.child("HorizontalPodAutoscaler")
    deletes = () if autoscaler is None or autoscaler.deleting else (_reference(model, autoscaler),)
    if live.replicas == replicas:
        return Writes(deletes=deletes)
    return Writes(patches=(Patch(_reference(model, live.child), {"spec": {"replicas": replicas}}),), deletes=deletes)


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
        network_policy(model, record),
    ]
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


def _must_apply(manifest: Manifest, observation: Observation) -> bool:
    live = observation.child(manifest.kind)
    if live is not None and live.deleting:
        return False  # its last event brings us back
    return live is None or has_drifted(manifest, live.body)


def _lowers_ready(applies: tuple[Manifest, ...], observation: Observation) -> bool:
    """Return whether something that answers requests is not yet as the spec says. Replicas alone are no such thing."""
    for manifest in applies:
        live = observation.child(manifest.kind)
        spec = {key: value for key, value in manifest.body["spec"].items() if key != "replicas"}
        if manifest.kind in ("Deployment", "Service", "NetworkPolicy") and (
            live is None or has_drifted(Manifest({**manifest.body, "spec": spec}), live.body)
        ):
            return True
    return False


def _superfluous(model: TRTModel, manifests: list[Manifest], observation: Observation) -> tuple[Reference, ...]:
    wanted = {manifest.kind for manifest in manifests}
    return tuple(
        _reference(model, child) for child in observation.children if child.kind not in wanted and not child.deleting
    )


def _reference(model: TRTModel, child: ObservedChild) -> Reference:
    return Reference(child.kind, model.metadata.namespace, child.name, child.uid)


def _pods_of(server: Manifest, observation: Observation) -> list[ObservedPod]:
    """Return the pods of the wanted template: what an earlier one of the same engine died of may be mended by now."""
    template = server.body["spec"]["template"]["metadata"]["annotations"][names.TEMPLATE]
    return [pod for pod in observation.pods if pod.component == names.SERVER and pod.template == template]


def _progress(
    model: TRTModel, record: EngineRecord, observation: Observation, pods: list[ObservedPod], *, pending: bool
) -> Verdict:
    live = observation.deployment
    if live is None or live.fingerprint != record.key.fingerprint or pending:
        return reconciling("RolloutProgressing", "rolling out the converted model")
    if is_rolled_out(live):
        if live.replicas == 0:
            return ready("ScaledToZero", "the model is rolled out, with no replicas")
        if live.available_replicas > 0:
            return ready("Serving", f"{live.available_replicas} of {live.replicas} replicas answer")
    report = latest_failure(pods)
    if report is not None and report.code in USERS_MISTAKES:
        return stalled(report.reason, report.message)
    obstacle = _obstacle(live, pods) or (f"{report.reason}: {report.message}" if report else "")
    if _is_observed(live) and live.progressing_reason == "ProgressDeadlineExceeded":
        return stalled("RolloutFailed", obstacle or live.progressing_message)
    unschedulable = next((pod.unschedulable for pod in pods if pod.unschedulable), "")
    if unschedulable:
        short_of_gpu = model.spec.gpu.resource_name in unschedulable
        return reconciling(
            "InsufficientGPU" if short_of_gpu else "Unschedulable", unschedulable + _way_out(model, short_of_gpu)
        )
    if is_rolled_out(live):
        return reconciling("Unavailable", obstacle or "no replica answers at the moment")
    if live.replicas == 0:
        return reconciling("RolloutProgressing", f"to no replicas: {live.current_replicas} are there")
    return reconciling(
        "RolloutProgressing",
        f"{live.updated_replicas} of {live.replicas} replicas updated, {live.available_replicas} available"
        + (f"; {obstacle}" if obstacle else ""),
    )


def _way_out(model: TRTModel, short_of_gpu: bool) -> str:
    """Return what the scheduler does not know: which of the spec's fields asks for what no node has."""
    ways = []
    if short_of_gpu and model.spec.rollout.strategy is RolloutStrategy.SURGE:
        ways.append("free a GPU, or set rollout.strategy: InPlace, which needs none beside those that serve")
    if model.spec.gpu.product:
        ways.append(f"spec.gpu.product asks for nodes with the label {PRODUCT_LABEL}={model.spec.gpu.product}")
    return "".join(f"; {way}" for way in ways)


def _is_observed(live: ObservedDeployment) -> bool:
    """Return whether what its controller says of the Deployment is about what it is now."""
    return live.observed_generation >= live.generation


def is_rolled_out(live: ObservedDeployment) -> bool:
    """Return whether the current pod template has been rolled out. A change of replicas alone does not undo that.

    The Deployment controller keeps NewReplicaSetAvailable while a finished revision is scaled.
    """
    return (
        _is_observed(live)
        and live.progressing_reason == "NewReplicaSetAvailable"
        and live.current_replicas == live.updated_replicas
    )


def _obstacle(live: ObservedDeployment, pods: list[ObservedPod]) -> str:
    if _is_observed(live) and live.replica_failure:
        return f"pods cannot be created: {live.replica_failure}"
    return next((f"pod {pod.name} waits: {pod.waiting}" for pod in pods if pod.waiting), "")
