"""The inference Deployment: Triton with the converted model, its share of GPU memory set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...api.serving import RolloutStrategy
from ...api.storage import scheme_of
from ...api.trtmodel import RETRY_ANNOTATION, TRTModel
from ..manifest import Manifest, digest, with_hash
from ..memory import MemoryGrant
from ..record import EngineRecord, Summary, Tensor
from ..remembered import identity_of, remembered
from ..runtime import Accelerator, Runtime
from . import names, placement, pods, resources

ARTIFACT = "/mnt/artifact"
HTTP_PORT, GRPC_PORT, METRICS_PORT = 8000, 8001, 8002
TERMINATION_GRACE_SECONDS = 185
"""More than all that the server's numbers allow: tftrt_runtime/serve/limits.py, which a test compares.

`tftrt drain` takes 20 s and the longest call, 120 s; then tritonserver has its `--exit-timeout-secs` of 30.
"""
PROBE_PERIOD_SECONDS = 5
SHARED_BATCHES = 6
"""How many of the largest batches fit into shared memory.

Two are worked on, and one is assembled before Triton's backend has let go of the one before. Clients who ask for
batches of all sizes leave holes between them: with 24 of them its region grew to 4.2 (2.51.0), and where it cannot grow
a request fails.
"""

_BYTES = {"BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2, "UINT32": 4, "INT32": 4}
_BYTES |= {"FP32": 4, "UINT64": 8, "INT64": 8, "FP64": 8}
_STRING_BYTES = 1024  # a guess for a text of open length; the server says so when it is too small
_OPEN_DIMENSION = 256  # likewise for a dimension that the signature leaves open
_MOST_SHARED_MEMORY = 2**60  # no node has as much, and a quantity ends at 2**63


@remembered(
    lambda model, runtime, record, grant, replicas: (identity_of(model), id(runtime), id(record), grant, replicas)
)
def deployment(
    model: TRTModel, runtime: Runtime, record: EngineRecord, grant: MemoryGrant | None, replicas: int | None
) -> Manifest:
    """Return the Deployment. `replicas` None leaves the number to its other owner (an autoscaler)."""
    spec = model.spec
    surge = spec.rollout.strategy is RolloutStrategy.SURGE
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.child_metadata(model, names.SERVER, annotations={names.FINGERPRINT: record.key.fingerprint}),
        "spec": {
            "selector": {"matchLabels": names.server_selector(model)},
            # Always RollingUpdate: a defaulted RollingUpdate cannot be switched to Recreate by apply.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1 if surge else 0, "maxUnavailable": 0 if surge else 1},
            },
            "progressDeadlineSeconds": spec.rollout.progress_deadline_seconds,
            "revisionHistoryLimit": 3,
            "template": _with_digest(_pod_template(model, runtime, record, grant)),
        },
    }
    hashed = with_hash(body).body
    metadata, whole = hashed["metadata"], hashed["spec"]
    # Outside the hash: a change of these alone is seen in the live object, and is no new revision.
    if (retry := model.metadata.annotations.get(RETRY_ANNOTATION)) is not None:
        metadata = {**metadata, "annotations": {**metadata["annotations"], RETRY_ANNOTATION: retry}}
    if replicas is not None:
        whole = {**whole, "replicas": replicas}
    return Manifest({**hashed, "metadata": metadata, "spec": whole})


def _with_digest(template: dict[str, Any]) -> dict[str, Any]:
    """Return the pod template with its own digest, by which its pods are told from those of the one before."""
    metadata = template["metadata"]
    annotations = {**metadata["annotations"], names.TEMPLATE: digest(template, 16)}
    return {**template, "metadata": {**metadata, "annotations": annotations}}


def _pod_template(model: TRTModel, runtime: Runtime, record: EngineRecord, grant: MemoryGrant | None) -> dict[str, Any]:
    spec = model.spec
    gpu = runtime.accelerator is Accelerator.GPU
    shared_memory = shared_memory_bytes(record)
    reach = _artifact(model, runtime, record)
    environment = [pods.HOME]
    mounts: list[dict[str, Any]] = [
        pods.TASK_MOUNT,
        reach.mount,
        pods.TEMPORARY_MOUNT if reach.pull is None else pods.MODELS_TEMPORARY_MOUNT,
        {"name": "shared-memory", "mountPath": "/dev/shm"},
    ]
    volumes: list[dict[str, Any]] = [
        pods.TASK_VOLUME,
        *reach.volumes,
        pods.TEMPORARY_VOLUME,
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": str(shared_memory)}},
    ]
    if gpu:
        # Kernels that the driver compiles at first use survive a restart of the container.
        environment.append({"name": "CUDA_CACHE_PATH", "value": "/var/cache/cuda"})
        mounts.append({"name": "cuda-cache", "mountPath": "/var/cache/cuda"})
        volumes.append({"name": "cuda-cache", "emptyDir": {}})
    if reach.pull is not None:
        volumes.append(pods.MODELS_TEMPORARY_VOLUME)

    ready = {"httpGet": {"path": "/v2/health/ready", "port": "http"}, "periodSeconds": PROBE_PERIOD_SECONDS}
    container: dict[str, Any] = {
        "name": "server",
        "image": runtime.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve"],
        "env": environment,
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "resources": _resources(model, record, pods.gpu_limit(spec, runtime)),
        "securityContext": pods.CONTAINER_SECURITY_CONTEXT,
        "volumeMounts": mounts,
        # Triton is ready when every prebuilt shape has run once. A rollout may take as long as its deadline says.
        "startupProbe": ready
        | {"failureThreshold": math.ceil(spec.rollout.progress_deadline_seconds / PROBE_PERIOD_SECONDS)},
        "readinessProbe": ready | {"failureThreshold": 2},
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": "http"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        # Turns readiness and has clients go elsewhere, before SIGTERM; a call in flight is waited for.
        "lifecycle": {"preStop": {"exec": {"command": ["tftrt", "drain"]}}},
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        # A claim is only read here: its files keep their owners. What a Secret holds is the group's to read.
        "securityContext": pods.OWN_USER if reach.pull is None else pods.OWN_USER_AND_GROUP,
        "containers": [container],
        "volumes": volumes,
    }
    if reach.pull is not None:
        pod["initContainers"] = [reach.pull]
    pod |= placement.asked(spec.serving.pods, placement.pinned(spec, runtime))
    return {
        "metadata": {
            "labels": {
                **spec.serving.pods.labels,
                **names.common_labels(model, names.SERVER),
                names.FINGERPRINT: record.key.fingerprint,
            },
            "annotations": {
                **spec.serving.pods.annotations,
                names.SPEC_ANNOTATION: pods.task(_task(model, runtime, record, grant)),
            },
        },
        "spec": placement.where_it_runs(pod, placement.built_for(spec, runtime, record.summary.product), gpu=gpu),
    }


@dataclass(frozen=True, slots=True)
class _Artifact:
    """How the artifact comes to /mnt/artifact: the claim's folder itself, or a copy that `tftrt pull` makes."""

    mount: dict[str, Any]
    volumes: tuple[dict[str, Any], ...]
    pull: dict[str, Any] | None


def _artifact(model: TRTModel, runtime: Runtime, record: EngineRecord) -> _Artifact:
    uri = record.summary.artifact
    reach = pods.access("artifacts", uri, model.spec.artifacts.secret_name, read_only=True)
    if scheme_of(uri) == "pvc":
        (volume,) = reach.volumes
        mount = {"name": volume["name"], "mountPath": ARTIFACT, "subPath": pods.path_in_claim(uri), "readOnly": True}
        return _Artifact(mount, reach.volumes, None)
    copy = {"name": "artifact", "mountPath": ARTIFACT}
    pull = {
        "name": "pull",
        "image": runtime.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["pull"],
        "env": [pods.HOME, *pods.proxy(runtime)],
        # As the server's own: the pod counts as the larger of both, and this one ends before that one starts.
        "resources": _resources(model, record, {}),
        "securityContext": pods.CONTAINER_SECURITY_CONTEXT,
        "volumeMounts": [pods.TASK_MOUNT, copy, pods.TEMPORARY_MOUNT, *reach.mounts],
    }
    return _Artifact({**copy, "readOnly": True}, ({"name": "artifact", "emptyDir": {}}, *reach.volumes), pull)


def _task(model: TRTModel, runtime: Runtime, record: EngineRecord, grant: MemoryGrant | None) -> dict[str, Any]:
    found = record.summary.batching
    # Said only where it is so: other servers' templates stay as they are.
    batching = {"batching": "Disabled"} if found is not None and found.mode == "Disabled" else {}
    return {
        "version": 1,
        "model": {"namespace": model.metadata.namespace, "name": model.metadata.name},
        "fingerprint": record.key.fingerprint,
        "runtime": pods.runtime_task(runtime),
        "artifact": {"uri": record.summary.artifact},
        "memoryFraction": None if grant is None else str(grant.fraction),
        "maxQueueDelayMicroseconds": model.spec.serving.max_queue_delay_microseconds,
        **batching,
    }


def _resources(model: TRTModel, record: EngineRecord, extended: Mapping[str, str]) -> dict[str, Any]:
    """Return the resources of a server's container; what lies in /dev/shm is counted against its memory."""
    shared_memory = shared_memory_bytes(record)
    asked = resources.with_more_memory(model.spec.serving.resources, shared_memory)
    return resources.requirements(asked, resources.serving(record.summary.artifact_bytes, shared_memory), extended)


def shared_memory_bytes(record: EngineRecord) -> int:
    """Return the size of /dev/shm in bytes: the tensors of the batches in flight, at least Triton's usual 64 MiB.

    `maxBatchSize x (input + output bytes of one sample) x SHARED_BATCHES`, in whole MiB; of a model that takes no
    batches, the bytes of a call instead. A signature of any shapes makes a quantity that Kubernetes reads.
    """
    summary = record.summary
    calls = max(summary.batch_sizes) if summary.batched else 1
    needed = calls * _told_bytes(summary) * SHARED_BATCHES
    return min(max(64, -(-needed // 2**20)) * 2**20, _MOST_SHARED_MEMORY)


def _told_bytes(summary: Summary) -> int:
    """Return the bytes of an item's inputs and outputs, or of a call's, as far as they are told."""
    if summary.signature is not None:
        return summary.signature.sample_bytes
    tensors = (*(summary.inputs or ()), *(summary.outputs or ()))
    return sum(_bytes(tensor, summary.batched) for tensor in tensors)


def _bytes(tensor: Tensor, batched: bool) -> int:
    sizes = tensor.shape[1:] if batched else tensor.shape
    return math.prod(_OPEN_DIMENSION if size < 0 else size for size in sizes) * _BYTES.get(tensor.dtype, _STRING_BYTES)
