"""Names, labels and owners of everything that belongs to a TRTModel."""

from collections.abc import Mapping
from typing import Any

from ...api.trtmodel import OwnerReference, TRTModel

MANAGED_BY = "app.kubernetes.io/managed-by"
OPERATOR = "tftrt-operator"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
ENGINE = "tftrt.dev/engine"
EVIDENCE = "tftrt.dev/evidence"
"""The engine with the data that it is verified on: what one Job is for, and one record about."""
FINGERPRINT = "tftrt.dev/fingerprint"
SPEC_ANNOTATION = "tftrt.dev/spec"
TOLD_SPEC_ANNOTATION = "tftrt.dev/told-spec"
"""The same task without the queries of its URIs: for the container that runs the model."""
TEMPLATE = "tftrt.dev/template"
"""On an inference pod: a digest of the pod template that it is of. One engine may have served in several."""
DELETES = "tftrt.dev/deletes"
"""On a cleanup Job: the engines whose artifacts it deletes, with commas between them."""

QUEUE = "kueue.x-k8s.io/queue-name"
"""Kueue's label for the LocalQueue that a Job waits in."""

CONVERSION = "conversion"
SERVER = "server"
CLEANUP = "cleanup"
RECORD = "record"
JOBS = "jobs"

MANAGED_SELECTOR = f"{MANAGED_BY}={OPERATOR}"
"""Selects all that the operator made; the informers list and watch by it."""


def common_labels(model: TRTModel, component: str) -> dict[str, str]:
    """Return the labels of every object of a model, after Kubernetes' recommended labels."""
    return {
        "app.kubernetes.io/name": "trtmodel",
        INSTANCE: model.metadata.name,
        COMPONENT: component,
        MANAGED_BY: OPERATOR,
    }


def server_selector(model: TRTModel) -> dict[str, str]:
    """Return the labels that select a model's inference pods. A Deployment's selector never changes: nor may this."""
    return {INSTANCE: model.metadata.name, COMPONENT: SERVER, MANAGED_BY: OPERATOR}


def jobs_policy_name(model: TRTModel) -> str:
    """Return the name of the NetworkPolicy of a model's Jobs. With its dot it is never the name of another model's."""
    return f"{model.metadata.name}.jobs"


def owner(reference: OwnerReference) -> dict[str, Any]:
    """Return an owner reference as it is written in metadata."""
    return reference.model_dump(by_alias=True)


def child_metadata(
    model: TRTModel, component: str, *, name: str | None = None, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the metadata of an object that goes with the model, named after the model unless said otherwise."""
    metadata: dict[str, Any] = {
        "name": name or model.metadata.name,
        "namespace": model.metadata.namespace,
        "labels": common_labels(model, component),
        "ownerReferences": [owner(model.owner_reference(controller=True))],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return metadata
