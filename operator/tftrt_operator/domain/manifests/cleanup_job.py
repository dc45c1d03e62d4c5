"""The Job that deletes a deleted model's artifacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...api.kubernetes import ResourceRequirements
from ...api.trtmodel import TRTModel
from ..manifest import Manifest, digest
from ..record import EngineKey
from ..runtime import Runtime
from . import names, placement, pods, resources

TTL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Store:
    """A store of artifacts, and the Secret to write there with ("" for none)."""

    uri: str
    secret_name: str = ""


def cleanup_job_name(model: TRTModel, store: Store, fingerprints: Sequence[str]) -> str:
    """Return the Job's name: another one for each TRTModel that ever was, and for all that it is to delete."""
    what = [model.metadata.uid, store.uri, store.secret_name, sorted(fingerprints)]
    return f"{model.metadata.name}-cleanup-{digest(what, 8)}"


def cleanup_job(model: TRTModel, runtime: Runtime, store: Store, fingerprints: Sequence[str]) -> Manifest:
    """Return the Job that deletes the artifacts of these fingerprints from one store.

    It has no owner: an object that is being deleted takes its children with it.
    """
    reach = pods.access("artifacts", store.uri, store.secret_name, read_only=False)
    task: dict[str, Any] = {
        "version": 1,
        "model": {"namespace": model.metadata.namespace, "name": model.metadata.name},
        "artifacts": {"uri": store.uri},
        "fingerprints": sorted(fingerprints),
    }
    labels = names.common_labels(model, names.CLEANUP)
    settings = model.spec.conversion.pods  # who may publish may delete: a cloud knows both by one identity
    engines = (EngineKey(fingerprint, store.uri).engine for fingerprint in sorted(fingerprints))
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pods.OWN_USER_AND_GROUP,
        "containers": [
            {
                "name": "delete",
                "image": runtime.image,
                "imagePullPolicy": "IfNotPresent",
                "args": ["delete"],
                "env": [pods.HOME, *pods.proxy(runtime)],
                "resources": resources.requirements(ResourceRequirements(), resources.CLEANUP),
                "securityContext": pods.CONTAINER_SECURITY_CONTEXT,
                "volumeMounts": [
                    pods.TASK_MOUNT,
                    pods.TEMPORARY_MOUNT,
                    *reach.mounts,
                ],
            }
        ],
        "volumes": [pods.TASK_VOLUME, pods.TEMPORARY_VOLUME, *reach.volumes],
    }
    return Manifest(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": cleanup_job_name(model, store, fingerprints),
                "namespace": model.metadata.namespace,
                "labels": labels,
                "annotations": {names.DELETES: ",".join(engines)},
            },
            "spec": {
                "backoffLimit": 3,
                "activeDeadlineSeconds": 540,
                "ttlSecondsAfterFinished": TTL_SECONDS,
                "template": {
                    "metadata": {
                        "labels": pods.WITHOUT_SIDECAR_LABELS | settings.labels | labels,
                        "annotations": pods.WITHOUT_SIDECAR_ANNOTATIONS
                        | settings.annotations
                        | {names.SPEC_ANNOTATION: pods.task(task)},
                    },
                    "spec": placement.where_it_runs({**pod, **placement.asked(settings)}, gpu=False),
                },
            },
        }
    )
