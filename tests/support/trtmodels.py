"""TRTModels for tests, and what the operator says of them."""

from typing import Any

from .api import Api, Json


def trtmodel(name: str = "resnet50", **spec: Any) -> Json:
    return {
        "apiVersion": "tftrt.dev/v1alpha1",
        "kind": "TRTModel",
        "metadata": {"name": name},
        "spec": {
            "source": {"uri": "pvc://models/resnet50"},
            "runtime": "cpu",
            "artifacts": {"uri": "pvc://models/tftrt"},
        }
        | spec,
    }


def conditions(api: Api, name: str = "resnet50") -> dict[str, tuple[str, str]]:
    status = api.get("TRTModel", name).get("status", {})
    return {item["type"]: (item["status"], item["reason"]) for item in status.get("conditions", [])}


def message(api: Api, kind: str, name: str = "resnet50") -> str:
    found = api.get("TRTModel", name)["status"]["conditions"]
    return str(next(item["message"] for item in found if item["type"] == kind))


def job_names(api: Api, owner: str | None = None) -> list[str]:
    """The Jobs that nobody has deleted, of all or of the TRTModel with this uid."""
    return sorted(
        job["metadata"]["name"]
        for job in api.list("Job")
        if "deletionTimestamp" not in job["metadata"]
        and (owner is None or owner in [reference["uid"] for reference in job["metadata"].get("ownerReferences", [])])
    )
