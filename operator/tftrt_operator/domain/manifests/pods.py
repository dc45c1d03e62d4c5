"""What the conversion's and the server's pods share: security, volumes, and how they are told their task."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...api.storage import claim_of, scheme_of
from ...api.trtmodel import TRTModelSpec
from ..manifest import digest
from ..runtime import Accelerator, Runtime
from .names import SPEC_ANNOTATION, TOLD_SPEC_ANNOTATION

USER = 65532
PVC_ROOT = "/mnt/pvc"
SECRETS_ROOT = "/mnt/secrets"
ARTIFACTS_SECRET_VOLUME = "secret-artifacts"
"""The volume with the store's Secret, as `access` names it for the role `artifacts`."""


def _task_volume(name: str, annotation: str) -> dict[str, Any]:
    field = {"fieldPath": f"metadata.annotations['{annotation}']"}
    return {"name": name, "downwardAPI": {"items": [{"path": "spec.json", "fieldRef": field}]}}


TASK_VOLUME = _task_volume("task", SPEC_ANNOTATION)
TASK_MOUNT: dict[str, Any] = {"name": "task", "mountPath": "/etc/tftrt", "readOnly": True}
TOLD_TASK_VOLUME = _task_volume("told-task", TOLD_SPEC_ANNOTATION)
TOLD_TASK_MOUNT: dict[str, Any] = {**TASK_MOUNT, "name": "told-task"}
TEMPORARY_VOLUME: dict[str, Any] = {"name": "tmp", "emptyDir": {}}
TEMPORARY_MOUNT: dict[str, Any] = {"name": "tmp", "mountPath": "/tmp"}
MODELS_TEMPORARY_VOLUME: dict[str, Any] = {"name": "model-tmp", "emptyDir": {}}
MODELS_TEMPORARY_MOUNT: dict[str, Any] = {"name": "model-tmp", "mountPath": "/tmp"}
"""Of a container that runs a model, beside one with a Secret: libraries of clients read settings from their home."""

OWN_USER: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
OWN_USER_AND_GROUP: dict[str, Any] = OWN_USER | {
    # The kubelet gives this group all files of every volume that it does not attach read-only.
    "fsGroup": USER,
    # A store may hold terabytes: look at its top folder, not at each file, to see whether it is ours.
    "fsGroupChangePolicy": "OnRootMismatch",
}
CONTAINER_SECURITY_CONTEXT: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
HOME = {"name": "HOME", "value": "/tmp"}
WITHOUT_SIDECAR_LABELS = {"sidecar.istio.io/inject": "false"}
WITHOUT_SIDECAR_ANNOTATIONS = {"linkerd.io/inject": "disabled"}
"""On pods that end: a mesh's sidecar would run on, and starts only after what is fetched first."""


def task(spec: Mapping[str, Any]) -> str:
    """Return a container's task as the text of its `spec.json`, the same text for the same task."""
    return json.dumps(spec, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Access:
    """What a container needs to reach URIs: mounts, and the pod's volumes behind them."""

    mounts: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()

    def __add__(self, other: "Access") -> "Access":
        """Return both, each mount and volume once."""
        return Access(_once(self.mounts + other.mounts, "mountPath"), _once(self.volumes + other.volumes, "name"))


def access(role: str, uri: str, secret_name: str, *, read_only: bool) -> Access:
    """Return the way to a URI: the claim itself, or the Secret (if any) at the place that the role's credentials have.

    `role` is what the URI is to the container: source, calibration, verification or artifacts.
    """
    if scheme_of(uri) == "pvc":
        claim = claim_of(uri)
        return Access((claim_mount(claim, read_only=read_only),), (claim_volume(claim),))
    if not secret_name:
        return Access()
    mount = {"name": f"secret-{role}", "mountPath": f"{SECRETS_ROOT}/{role}", "readOnly": True}
    return Access((mount,), ({"name": f"secret-{role}", "secret": {"secretName": secret_name, "defaultMode": 0o440}},))


def _once(items: tuple[dict[str, Any], ...], key: str) -> tuple[dict[str, Any], ...]:
    return tuple({item[key]: item for item in items}.values())


def path_in_claim(uri: str) -> str:
    """Return the path of a `pvc://claim/path` URI, without slashes at its ends."""
    _, _, path = uri.removeprefix("pvc://").partition("/")
    return path.strip("/")


def claim_volume(claim: str) -> dict[str, Any]:
    """Return the volume of a claim. Who may only read it says so in the mount."""
    return {"name": _claim_volume_name(claim), "persistentVolumeClaim": {"claimName": claim}}


def only_read(volume: dict[str, Any]) -> dict[str, Any]:
    """Return the volume of a claim such that it is attached read-only, and that its files keep their owners."""
    return {**volume, "persistentVolumeClaim": {**volume["persistentVolumeClaim"], "readOnly": True}}


def proxy(runtime: Runtime) -> list[dict[str, str]]:
    """Return the variables that name the installation's forward proxy, for containers that reach out."""
    return [{"name": name, "value": value} for name, value in runtime.proxy.variables]


def claim_mount(claim: str, *, read_only: bool) -> dict[str, Any]:
    """Return the mount that makes `pvc://claim/path` readable at /mnt/pvc/claim/path."""
    return {"name": _claim_volume_name(claim), "mountPath": f"{PVC_ROOT}/{claim}", "readOnly": read_only}


def _claim_volume_name(claim: str) -> str:
    """Return the claim's volume: a claim's name may have dots and 253 characters, a volume's is a label of 63."""
    name = f"pvc-{claim}"
    return name if len(name) <= 63 and "." not in name else f"pvc-{digest([claim], 16)}"


def gpu_limit(spec: TRTModelSpec, runtime: Runtime) -> dict[str, str]:
    """Return the one device that a pod asks for, or nothing on a runtime without an accelerator."""
    return {spec.gpu.resource_name: "1"} if runtime.accelerator is Accelerator.GPU else {}


def runtime_task(runtime: Runtime) -> dict[str, str]:
    """Return the runtime as the containers are told of it."""
    return {
        "name": runtime.name,
        "accelerator": runtime.accelerator.value,
        "tensorflow": runtime.tensorflow,
        "tensorrt": runtime.tensorrt,
    }
