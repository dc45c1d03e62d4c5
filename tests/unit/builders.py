"""Small, valid values for tests: each names only what its test is about."""

from dataclasses import replace
from typing import Any

from tftrt_operator.api.trtmodel import OwnerReference, TRTModel
from tftrt_operator.api.written import parse_trtmodel
from tftrt_operator.domain.manifests import names
from tftrt_operator.domain.manifests.network_policy import jobs_network_policy
from tftrt_operator.domain.observation import (
    JobState,
    ObservedChild,
    ObservedDeployment,
    ObservedJob,
    ObservedPod,
    ObservedRecord,
    Termination,
)
from tftrt_operator.domain.record import EngineRecord, Summary
from tftrt_operator.domain.runtime import Accelerator, Catalogue, ComputeCapability, Runtime
from tftrt_operator.domain.target import Target, read_uris, target_of

TRITON = Runtime(
    "triton",
    "registry.example/converter:1",
    "2.14.1",
    "8.5.3.1",
    Accelerator.GPU,
    max_compute_capability=ComputeCapability(9, 0),
)
CPU = Runtime("cpu", "registry.example/converter:1-cpu", "2.14.1", "", Accelerator.NONE)
CATALOGUE = Catalogue(runtimes=(TRITON, CPU), default_runtime="triton", store="pvc://models/tftrt")


def trtmodel(
    name: str = "resnet50",
    *,
    uid: str = "uid-resnet50",
    metadata: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    **spec: Any,
) -> TRTModel:
    body: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "default", "uid": uid, "generation": 1, "resourceVersion": "7"}
        | (metadata or {}),
        "spec": {"source": {"uri": "pvc://models/resnet50"}} | spec,
    }
    if status is not None:
        body["status"] = status
    return parse_trtmodel(body)


def target(model: TRTModel) -> Target:
    found = target_of(model, CATALOGUE)
    assert isinstance(found, Target), found
    return found


def summary(model: TRTModel, **changes: Any) -> Summary:
    wanted = target(model)
    gpu = wanted.runtime.accelerator is Accelerator.GPU
    product = "NVIDIA-A10" if gpu else "cpu"
    data: dict[str, Any] = {
        "result": "Published",
        "fingerprint": wanted.key.fingerprint,
        "build": "job-uid",
        "product": product,
        "artifact": f"{wanted.key.store}/default/{wanted.key.fingerprint}/{product}",
        "sourceDigest": "sha256:" + "0" * 64,
        "device": {"name": "NVIDIA A10" if gpu else "cpu", "memoryBytes": 12_000_000_000 if gpu else None},
        "versions": {"tensorflow": "2.14.1", "tensorrt": wanted.runtime.tensorrt, "runtime": wanted.runtime.name},
        "engines": 1 if gpu else 0,
        "convertedOps": 450 if gpu else 0,
        "totalOps": 457,
        "batchSizes": list(wanted.inputs.batch_sizes),
        "inputs": [{"name": "input_1", "dtype": "FP32", "shape": [-1, 224, 224, 3]}],
        "outputs": [{"name": "predictions", "dtype": "FP32", "shape": [-1, 1000]}],
        "artifactBytes": 102_400_000,
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:03:00Z",
    }
    return Summary.model_validate(data | changes)


def engine_record(model: TRTModel, **changes: Any) -> EngineRecord:
    wanted = target(model)
    return EngineRecord(wanted.key, wanted.inputs, summary(model, **changes))


def observed_record(model: TRTModel, *owners: OwnerReference) -> ObservedRecord:
    record = engine_record(model)
    return ObservedRecord(
        name=record.key.record_name,
        resource_version="11",
        owners=owners or (model.owner_reference(controller=False),),
        record=record,
    )


def job(model: TRTModel, name: str, state: JobState = JobState.LIVE, **changes: Any) -> ObservedJob:
    wanted = target(model)
    found = ObservedJob(
        name=name,
        uid=f"uid-{name}",
        resource_version="9",
        engine=wanted.key.engine,
        evidence=wanted.key.evidence,
        fingerprint=wanted.key.fingerprint,
        component=names.CONVERSION,
        owners=(model.owner_reference(controller=True),),
        state=state,
        created_at="2026-01-01T00:00:00Z",
    )
    return replace(found, **changes)


def pod(job_name: str, *ends: Termination, **changes: Any) -> ObservedPod:
    found = ObservedPod(
        name=f"{job_name}-abcde",
        created_at="2026-01-01T00:00:00Z",
        controller=("Job", f"uid-{job_name}"),
        instance="resnet50",
        component=names.CONVERSION,
        fingerprint="",
        phase="Running",
        started=True,
        terminations=ends,
    )
    return replace(found, **changes)


def ended(message: str, code: int = 0, container: str = "publish", reason: str = "") -> Termination:
    return Termination(container, code, reason, message, "2026-01-01T00:03:00Z")


def live(manifest_body: Any, owner: OwnerReference, **changes: Any) -> ObservedChild:
    found = ObservedChild(
        kind=manifest_body["kind"],
        name=manifest_body["metadata"]["name"],
        uid="uid-" + manifest_body["kind"],
        resource_version="12",
        owners=(owner,),
        body=manifest_body,
    )
    return replace(found, **changes)


def live_jobs_policy(model: TRTModel) -> ObservedChild:
    wanted = target(model)
    policy = jobs_network_policy(model, (*read_uris(model), wanted.key.store), wanted.network)
    return live(policy.body, model.owner_reference(controller=True))


def live_deployment(child: ObservedChild, fingerprint: str, **changes: Any) -> ObservedDeployment:
    replicas = child.body["spec"].get("replicas", 1)
    found = ObservedDeployment(
        child=child,
        fingerprint=fingerprint,
        memory_fraction=None,
        generation=1,
        observed_generation=1,
        replicas=replicas,
        current_replicas=replicas,
        updated_replicas=replicas,
        ready_replicas=replicas,
        available_replicas=replicas,
        progressing_reason="NewReplicaSetAvailable",
    )
    return replace(found, **changes)
