"""From what exists to what the user reads: the status and its conditions."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Literal

from ..api.status import (
    ConditionType,
    ConversionStatus,
    Device,
    Latency,
    MeasuredMemory,
    ServingStatus,
    TRTModelStatus,
    Versions,
)
from ..api.trtmodel import TRTModel
from .conditions import Claim, conditions, standing
from .gates import judge, unjudged
from .how_to_ask import batching, tensors
from .manifests import names
from .manifests.service import service_url
from .observation import JobState, Observation, ObservedDeployment
from .record import EngineRecord, Summary
from .sentences import compared_on, engines, left_out, measured
from .speed import clients_speedup, devices_speedup, is_a_clients
from .stages.conversion import engine_jobs, has_started
from .stages.rollout import answering_replicas, current_replicas, is_rolled_out, servers
from .target import Target
from .verdict import Verdict
from .why_convert import why_convert
from .words import printable, quote


def status_of(
    model: TRTModel,
    target: Target | None,
    record: EngineRecord | None,
    observation: Observation,
    verdict: Verdict,
    now: str,
) -> TRTModelStatus:
    """Return the whole status. `now` is an RFC 3339 time; it is used only where a condition changes."""
    live, answering = observation.deployment, _answering(observation)
    claims = [
        *standing(verdict, _meanwhile(answering, target)),
        _converted(record, verdict),
        *_verified(model, record, observation),
        _available(live, answering, observation),
        *_scaling_active(model, observation),
    ]
    return TRTModelStatus(
        observed_generation=model.metadata.generation,
        conditions=conditions(claims, model.status, model.metadata.generation, now),
        fingerprint=answering.fingerprint if answering else None,
        conversion=_conversion(target, record, observation),
        serving=_serving(model, answering, record, observation),
        replicas=current_replicas(live) if live else 0,
        selector=",".join(f"{key}={value}" for key, value in sorted(names.server_selector(model).items())),
    )


def deleting_status(model: TRTModel, verdict: Verdict, now: str) -> TRTModelStatus:
    """Return the status of a model that is being deleted: what is waited for, and nothing that was true before."""
    said = conditions(standing(verdict), model.status, model.metadata.generation, now)
    return model.status.model_copy(
        update={"observed_generation": model.metadata.generation, "conditions": said, "serving": None}
    )


@dataclass(frozen=True, slots=True)
class _Answering:
    """What requests reach."""

    fingerprint: str
    memory_fraction: str | None


def _answering(observation: Observation) -> _Answering | None:
    """Return what answers, or None where nothing does.

    A Deployment tells of its pods once it is rolled out; until then the pods themselves do. While pods of several
    revisions answer, the oldest is named: the new revision has yet to take over, and may never.
    """
    live = observation.deployment
    if live is None:
        return None
    if (replicas := answering_replicas(live, observation)) is not None:
        return _Answering(live.fingerprint, live.memory_fraction) if replicas else None
    ready = [pod for pod in servers(observation) if pod.ready]
    oldest = min(ready, key=lambda pod: (pod.created_at, pod.name), default=None)
    return _Answering(oldest.fingerprint, oldest.memory_fraction) if oldest else None


def _meanwhile(answering: _Answering | None, target: Target | None) -> str:
    """What else is true while the engine that is asked for is not there yet."""
    if answering is None or (target is not None and answering.fingerprint == target.key.fingerprint):
        return ""
    return f" (engine {answering.fingerprint[:8]} serves on)"


def _converted(record: EngineRecord | None, verdict: Verdict) -> Claim:
    if record is None:
        return Claim(ConditionType.CONVERTED, "False", verdict.reason, verdict.message)
    return Claim(ConditionType.CONVERTED, "True", "Converted", f"{engines(record.summary)}{left_out(record.summary)}")


def _verified(model: TRTModel, record: EngineRecord | None, observation: Observation) -> Iterable[Claim]:
    """Only of an engine that exists can anything be said."""
    if record is None:
        return
    gates = model.spec.verification
    failed = judge(gates, record.summary, is_rolled_out=is_rolled_out(record, observation))
    if failed is not None:
        yield Claim(ConditionType.VERIFIED, "False", failed.reason, failed.message)
        return
    if unknown := unjudged(gates, record.summary):
        told = f"{measured(record.summary)}; it is rolled out since before, and {unknown}"
        yield Claim(ConditionType.VERIFIED, "Unknown", "SpeedupUnknown", told)
        return
    asked = any(gate is not None for gate in (gates.min_top1_agreement, gates.max_relative_error, gates.min_speedup))
    yield Claim(ConditionType.VERIFIED, "True", "GatesPassed" if asked else "NoGates", measured(record.summary))


def _available(live: ObservedDeployment | None, answering: _Answering | None, observation: Observation) -> Claim:
    if live is None:
        return Claim(ConditionType.AVAILABLE, "False", "NotDeployed", "there is no Deployment yet")
    if answering is None:
        return Claim(ConditionType.AVAILABLE, "False", "NoReplicaAvailable", "no replica answers")
    message = f"engine {answering.fingerprint[:8]} answers{_changed_by_webhooks(observation)}"
    return Claim(ConditionType.AVAILABLE, "True", "ReplicasAvailable", message)


def _changed_by_webhooks(observation: Observation) -> str:
    """Say what is not as it was applied: whoever looks for why a server behaves as it does has to know."""
    changed = [
        f"{kind} {path}"
        for (kind, _), conceded in sorted(observation.concessions.items())
        for path, _ in sorted(conceded.deviations)
    ]
    return f"; changed by a mutating webhook: {', '.join(changed)}" if changed else ""


def _scaling_active(model: TRTModel, observation: Observation) -> Iterable[Claim]:
    """What the autoscaler says of itself, where one is asked for."""
    autoscaler = observation.child("HorizontalPodAutoscaler")
    told = autoscaler.scaling_active if autoscaler is not None else None
    if model.spec.serving.autoscaling is None or told is None:
        return
    way_out = ""
    if told.reason == "AmbiguousSelector":
        way_out = (
            "; another HorizontalPodAutoscaler scales the same pods: serving.autoscaling and one of your own on the"
            " TRTModel exclude each other: keep one or the other"
        )
    status: Literal["True", "False"] = "True" if told.status == "True" else "False"
    yield Claim(ConditionType.SCALING_ACTIVE, status, told.reason, quote(told.message) + way_out)


def _conversion(
    target: Target | None, record: EngineRecord | None, observation: Observation
) -> ConversionStatus | None:
    if record is not None:
        summary = record.summary
        compared = summary.verification
        memory = summary.device.memory_bytes
        return ConversionStatus(
            job_name=record.job_name,
            attempt=record.attempt,
            reason=None if record.reason is None else printable(record.reason),
            started_at=summary.started_at,
            finished_at=summary.finished_at,
            device=Device(
                name=summary.device.name,
                compute_capability=summary.device.compute_capability,
                memory=None if memory is None else str(memory),
                driver=summary.device.driver,
            ),
            versions=Versions(**summary.versions.model_dump()),
            engines=summary.engines,
            converted_ops=summary.converted_ops,
            total_ops=summary.total_ops,
            converted_share=_share(summary),
            source_digest=summary.source_digest,
            top1_agreement=compared.top1_agreement if compared else None,
            max_relative_error=compared.max_relative_error if compared else None,
            max_channel_error=compared.max_channel_error if compared else None,
            larger_input_error=compared.larger_input_error if compared else None,
            larger_input_gone=compared.larger_input_gone if compared else None,
            equal_elements=compared.equal_elements if compared else None,
            compared_on=compared_on(compared) if compared else None,
            speedup=clients_speedup(summary),
            speedup_on_device=devices_speedup(summary),
            latency=_latency(summary),
            memory=_measured_memory(summary),
            artifact=summary.artifact,
            report_uri=summary.report_uri,
        )
    if target is None:
        return None
    jobs = engine_jobs(target, observation)
    if not jobs:
        return ConversionStatus(reason=printable(why_convert(target, observation)))
    job = jobs[-1]
    return ConversionStatus(
        job_name=job.name,
        attempt=job.failed_attempts + 1,
        started_at=job.started_at if job.state is not JobState.LIVE or has_started(job, observation) else None,
        finished_at=job.finished_at,
        reason=printable(why_convert(target, observation)),
    )


def _share(summary: Summary) -> str:
    """Return the share of operations that run in TensorRT, rounded down: 1.0000 is all of them."""
    share = Decimal(summary.converted_ops) / max(summary.total_ops, 1)
    return str(share.quantize(Decimal("0.0001"), ROUND_FLOOR))


def _latency(summary: Summary) -> Latency | None:
    if summary.benchmark is None or not is_a_clients(summary):
        return None
    return Latency(
        native_microseconds=summary.benchmark.native_p50_microseconds,
        converted_microseconds=summary.benchmark.converted_p50_microseconds,
    )


def _measured_memory(summary: Summary) -> MeasuredMemory | None:
    if summary.memory is None:
        return None
    return MeasuredMemory(
        weights=str(summary.memory.weights_bytes),
        peak=str(summary.memory.peak_bytes),
        overhead=str(summary.memory.overhead_bytes),
    )


def _serving(
    model: TRTModel, answering: _Answering | None, record: EngineRecord | None, observation: Observation
) -> ServingStatus | None:
    live = observation.deployment
    if live is None:
        return None
    fingerprint = answering.fingerprint if answering else None
    memory_fraction = answering.memory_fraction if answering else None
    # The record that is rolled out where it is of the engine that answers; else any of that engine.
    known = [record] if record is not None else []
    known += [observed.record for observed in observation.records]
    summary = next((each.summary for each in known if each.key.fingerprint == fingerprint), None)
    device_memory = summary.device.memory_bytes if summary else None
    limit = None
    if memory_fraction is not None and device_memory is not None:
        limit = str(int(float(memory_fraction) * device_memory))
    return ServingStatus(
        fingerprint=fingerprint,
        memory_fraction=memory_fraction,
        memory_limit=limit,
        replicas=live.replicas,
        ready_replicas=live.ready_replicas,
        url=service_url(model),
        batching=batching(summary) if summary else None,
        inputs=tensors(summary.inputs, summary.batched) if summary else None,
        outputs=tensors(summary.outputs, summary.batched) if summary else None,
    )
