"""What a spec may say of the pods that are made for it, be it for the conversion or the server."""

from typing import Annotated, Any

from pydantic import Field

from .kubernetes import ANNOTATION_RULES, LABEL_RULES, AnnotationMap, LabelMap
from .schema import rules

OBJECT_NAME: dict[str, Any] = {"pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"}
"""What most objects may be called (a DNS subdomain), or nothing. What was admitted before is read all the same."""
_POD_LABEL_RULES = rules(
    *LABEL_RULES,
    (
        "self.all(key, !key.contains('kubernetes.io/') && !key.contains('k8s.io/') && !key.startsWith('tftrt.dev/')"
        " && !(key in ['pod-template-hash', 'controller-uid', 'job-name']))",
        "must not set labels of kubernetes.io, k8s.io (Kueue's, too) or tftrt.dev, nor pod-template-hash,"
        " controller-uid or job-name: controllers know their pods by them",
    ),
)
_POD_ANNOTATION_RULES = rules(
    *ANNOTATION_RULES,
    ("self.all(key, !key.startsWith('tftrt.dev/'))", "must not set tftrt.dev/*: containers read their task from there"),
)

PodLabels = Annotated[LabelMap, Field(json_schema_extra=_POD_LABEL_RULES)]
PodAnnotations = Annotated[AnnotationMap, Field(json_schema_extra=_POD_ANNOTATION_RULES)]


def service_account_name(whose: str) -> Any:
    """Return the field for a ServiceAccount."""
    return Field(
        default="",
        max_length=253,
        json_schema_extra=OBJECT_NAME,
        description=f"ServiceAccount of {whose}, for an identity that a cloud gives by it. No token of it is mounted."
        " Whoever sets it needs leave to use it (docs/security.md).",
    )
