"""The conversion Job: lookup and fetch the model, convert it on a GPU, publish the artifact."""

from collections.abc import Callable
from typing import Any

from ...api.conversion import Calibration
from ...api.kubernetes import ResourceRequirements
from ...api.quantity import quantity_bytes
from ...api.served_inputs import ServedInput
from ...api.trtmodel import RETRY_ANNOTATION, TRTModel
from ..fingerprint import normalized_uri
from ..manifest import Manifest, digest
from ..record import EngineKey
from ..remembered import identity_of, remembered
from ..runtime import Accelerator, Runtime
from ..told_uri import told_uri
from . import names, placement, pods, resources

NOT_TO_BE_MOVED = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Autoscalers of nodes move pods to save a node; an engine that is half built would be built again elsewhere."""
CONTAINERS = ("lookup", "fetch", "convert", "publish")
USERS_MISTAKES = (2, *range(10, 30))
"""Exit codes of faults that only the user can mend: the Job fails at once. DESIGN: exit codes 2 and 10-29."""


def conversion_job(model: TRTModel, runtime: Runtime, key: EngineKey) -> Manifest:
    """Return the Job that makes the engine. Jobs cannot be changed, so the name tells all that may differ."""
    spec = model.spec
    job: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": names.child_metadata(
            model,
            names.CONVERSION,
            name=conversion_job_name(model, runtime, key),
        ),
        "spec": {
            "backoffLimit": spec.conversion.retries,
            "template": _as_run(_pod_template(model, runtime, key), model, runtime, key),
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": list(USERS_MISTAKES)}},
                    # No Ignore on DisruptionTarget: it would retry evictions for ever.
                ]
            },
        },
    }
    job["metadata"]["labels"] |= _engine_labels(key)
    if spec.conversion.queue:
        job["metadata"]["labels"][names.QUEUE] = spec.conversion.queue
        job["spec"]["suspend"] = True
    return Manifest(job)


@remembered(lambda model, runtime, key: (identity_of(model), id(runtime), key))
def conversion_job_name(model: TRTModel, runtime: Runtime, key: EngineKey) -> str:
    """Return `<name>-<fingerprint8>-<run4>`: a failed run never blocks a corrected one, which has another name."""
    run = digest(
        [
            _pod_template(model, runtime, key),
            model.spec.conversion.retries,
            model.metadata.annotations.get(RETRY_ANNOTATION, ""),
            model.spec.conversion.queue,
        ],
        4,
    )
    return f"{model.metadata.name}-{key.fingerprint[:8]}-{run}"


def _as_run(template: dict[str, Any], model: TRTModel, runtime: Runtime, key: EngineKey) -> dict[str, Any]:
    """Return the template with what every run has, whatever its spec says.

    Beside the digest in the Job's name: a failed run of an earlier operator is not run again because of it.
    """
    metadata, pod = template["metadata"], template["spec"]

    def container(asked: dict[str, Any]) -> dict[str, Any]:
        extended = pods.gpu_limit(model.spec, runtime) if asked["name"] == "convert" else {}
        needs = resources.requirements(model.spec.conversion.resources, resources.CONVERSION, extended)
        if asked["name"] == "convert":
            mounts = [mount for mount in asked["volumeMounts"] if mount not in (pods.TASK_MOUNT, pods.TEMPORARY_MOUNT)]
            own = (pods.TOLD_TASK_MOUNT, pods.MODELS_TEMPORARY_MOUNT)
            return {**asked, "resources": needs, "volumeMounts": [*own, *mounts]}
        return {**asked, "resources": needs, "env": [*asked["env"], *pods.proxy(runtime)]}

    told = _told_task(model, runtime, key)
    written = pods.access("artifacts", key.store, "", read_only=False).volumes

    def volume(asked: dict[str, Any]) -> dict[str, Any]:
        return asked if "persistentVolumeClaim" not in asked or asked in written else pods.only_read(asked)

    return {
        "metadata": {
            "labels": {**pods.WITHOUT_SIDECAR_LABELS, **metadata["labels"]},
            "annotations": {
                **NOT_TO_BE_MOVED,
                **pods.WITHOUT_SIDECAR_ANNOTATIONS,
                **metadata["annotations"],
                names.TOLD_SPEC_ANNOTATION: told,
            },
        },
        "spec": {
            **placement.where_it_runs(pod, placement.known_gpus(runtime), gpu=runtime.accelerator is Accelerator.GPU),
            "initContainers": [container(asked) for asked in pod["initContainers"]],
            "containers": [container(asked) for asked in pod["containers"]],
            "volumes": [
                *(volume(asked) for asked in pod["volumes"]),
                pods.TOLD_TASK_VOLUME,
                pods.MODELS_TEMPORARY_VOLUME,
            ],
        },
    }


def _pod_template(model: TRTModel, runtime: Runtime, key: EngineKey) -> dict[str, Any]:
    """Return what the spec asks for in a run, by which the Job is named."""
    spec = model.spec
    workspace = {"name": "workspace", "mountPath": "/workspace"}
    # Only what a step needs is within its reach: the store is not writable before publish, the source not after fetch.
    store_secret = spec.artifacts.secret_name
    reach = {
        "lookup": pods.access("artifacts", key.store, store_secret, read_only=True),
        "fetch": _inputs(model),
        "convert": pods.Access(),
        "publish": pods.access("artifacts", key.store, store_secret, read_only=False),
    }

    def container(step: str) -> dict[str, Any]:
        asked: dict[str, Any] = {}
        if step == "convert":
            asked = _asked_resources(spec.conversion.resources, pods.gpu_limit(spec, runtime))
        return {
            "name": step,
            "image": runtime.image,
            "imagePullPolicy": "IfNotPresent",
            "args": [step],
            "env": [
                pods.HOME,
                {
                    "name": "TFTRT_BUILD",
                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}},
                },
            ],
            "resources": asked,
            "securityContext": pods.CONTAINER_SECURITY_CONTEXT,
            "volumeMounts": [pods.TASK_MOUNT, workspace, pods.TEMPORARY_MOUNT, *reach[step].mounts],
        }

    *before, last = CONTAINERS
    labels = names.common_labels(model, names.CONVERSION)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        # Counted from the pod's start on a node, so that waiting for a GPU is not counted.
        "activeDeadlineSeconds": spec.conversion.deadline_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pods.OWN_USER_AND_GROUP,
        "initContainers": [container(step) for step in before],
        "containers": [container(last)],
        "volumes": [
            pods.TASK_VOLUME,
            {"name": "workspace", "emptyDir": {}},
            pods.TEMPORARY_VOLUME,
            *sum(reach.values(), pods.Access()).volumes,
        ],
    }
    return {
        "metadata": {
            "labels": {**spec.conversion.pods.labels, **labels, **_engine_labels(key)},
            "annotations": {
                **spec.conversion.pods.annotations,
                names.SPEC_ANNOTATION: pods.task(_task(model, runtime, key)),
            },
        },
        "spec": {**pod, **placement.asked(spec.conversion.pods, placement.pinned(spec, runtime))},
    }


def _asked_resources(asked: ResourceRequirements, extended: dict[str, str]) -> dict[str, Any]:
    """Return the resources that the spec itself names, each part only where there is any."""
    parts = {"requests": dict(asked.requests), "limits": {**asked.limits, **extended}}
    return {part: amounts for part, amounts in parts.items() if amounts}


def _engine_labels(key: EngineKey) -> dict[str, str]:
    return {names.ENGINE: key.engine, names.EVIDENCE: key.evidence, names.FINGERPRINT: key.fingerprint}


def _inputs(model: TRTModel) -> pods.Access:
    """Return the way to all that is fetched."""
    source, calibration = model.spec.source, model.spec.conversion.calibration
    verification = model.spec.verification
    reach = pods.access("source", source.uri, source.secret_name, read_only=True)
    if calibration is not None:
        reach += pods.access("calibration", calibration.uri, calibration.secret_name, read_only=True)
    if verification.data_uri is not None:
        reach += pods.access("verification", verification.data_uri, verification.secret_name, read_only=True)
    return reach


def _task(
    model: TRTModel, runtime: Runtime, key: EngineKey, address: Callable[[str], str] = normalized_uri
) -> dict[str, Any]:
    """Return the task; `address` makes of a URI of the spec the one that stands there."""
    spec, data = model.spec, model.spec.verification.data_uri
    inputs, outputs = spec.source.tensors()
    return {
        "version": 1,
        "model": {"namespace": model.metadata.namespace, "name": model.metadata.name},
        "fingerprint": key.fingerprint,
        "source": {
            "uri": address(spec.source.uri),
            "digest": spec.source.digest or None,
            "format": spec.source.format.value,
            "signature": spec.source.signature,
            "inputs": list(inputs),
            "outputs": list(outputs),
            # Said only where it is so: other Jobs keep their names.
            **({"values": dict(spec.source.values)} if spec.source.values else {}),
        },
        "conversion": {
            "precision": spec.conversion.precision.value,
            "maxWorkspaceSizeBytes": quantity_bytes(spec.conversion.max_workspace_size),
            "batchSizes": list(spec.conversion.built_batch_sizes()),
            "minimumSegmentSize": spec.conversion.minimum_segment_size,
            "dynamicShapes": spec.conversion.dynamic_shapes and spec.conversion.dynamic_shapes.value,
            "inputShapes": {name: shape.model_dump() for name, shape in spec.conversion.input_shapes.items()},
            "calibration": _calibration(spec.conversion.calibration, address),
            **_served_inputs(spec.conversion.inputs),
        },
        "verification": {"uri": None if data is None else address(data), **_classes(spec.verification.top1_output)},
        "runtime": pods.runtime_task(runtime),
        "artifacts": {"uri": key.store},
    }


def _told_task(model: TRTModel, runtime: Runtime, key: EngineKey) -> str:
    """Return the task as the container is told of it that runs the model."""
    task = _task(model, runtime, key, lambda uri: told_uri(normalized_uri(uri)))
    if runtime.max_compute_capability is not None:
        task["runtime"] = {**task["runtime"], "maxComputeCapability": str(runtime.max_compute_capability)}
    return pods.task(task)


def _classes(output: str | None) -> dict[str, str]:
    """Return the output of classes; no key where none is named, for the task is a part of the Job's name."""
    return {} if output is None else {"top1Output": output}


def _served_inputs(inputs: dict[str, ServedInput]) -> dict[str, Any]:
    """Return the inputs of other types; no key where there are none, for the task is a part of the Job's name."""
    made = {}
    for name, served in sorted(inputs.items()):
        scale, offset = served.factors()
        made[name] = {"dtype": served.dtype.value, "scale": list(scale), "offset": list(offset)}
    return {"inputs": made} if made else {}


def _calibration(calibration: Calibration | None, address: Callable[[str], str]) -> dict[str, Any] | None:
    if calibration is None:
        return None
    return {
        "uri": address(calibration.uri),
        "samples": calibration.samples,
        "batchSize": calibration.batch_size,
    }
