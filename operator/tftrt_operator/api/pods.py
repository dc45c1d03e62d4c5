"""What a spec may say of the pods that are made for it: once for all of them, and apart for conversion or serving."""

from typing import Annotated, Any

from pydantic import Field

from .kubernetes import (
    ANNOTATION_RULES,
    LABEL_RULES,
    AnnotationMap,
    AnyObject,
    LabelMap,
    LabelValue,
    LocalObjectReference,
    Toleration,
)
from .schema import ANY_OBJECT, ApiModel, list_type, rules

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

_NODE_SELECTOR_RULES = rules(
    *LABEL_RULES,
    (
        "!('kubernetes.io/arch' in self) || self['kubernetes.io/arch'] == 'amd64'",
        "must not ask for another kubernetes.io/arch than amd64: the runtimes' images are for no other",
    ),
)

PodLabels = Annotated[LabelMap, Field(json_schema_extra=_POD_LABEL_RULES)]
PodAnnotations = Annotated[AnnotationMap, Field(json_schema_extra=_POD_ANNOTATION_RULES)]
NodeSelector = Annotated[dict[str, LabelValue], Field(max_length=32, json_schema_extra=_NODE_SELECTOR_RULES)]
Tolerations = Annotated[tuple[Toleration, ...], Field(max_length=32, json_schema_extra=list_type("atomic"))]
Affinity = Annotated[AnyObject, Field(json_schema_extra=ANY_OBJECT)]
ObjectName = Annotated[str, Field(max_length=253, json_schema_extra=OBJECT_NAME)]
ImagePullSecrets = Annotated[
    tuple[LocalObjectReference, ...], Field(max_length=16, json_schema_extra=list_type("atomic"))
]


class Pods(ApiModel):
    """Where pods may run, as whom, and what they are labelled with. What is None is not said."""

    node_selector: NodeSelector = Field(default_factory=dict, description="Labels of the nodes that they may run on.")
    tolerations: Tolerations | None = Field(
        default=None, description="Taints that they accept, beside nvidia.com/gpu, which those with a GPU always do."
    )
    affinity: Affinity | None = Field(default=None, description="Affinity, as in a Pod.")
    runtime_class_name: ObjectName | None = Field(
        default=None, description="RuntimeClass, such as nvidia where it is not the nodes' own."
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass.")
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount, for an identity that a cloud gives by it. No token of it is mounted. Whoever sets"
        " it needs leave to use it (docs/security.md).",
    )
    labels: PodLabels = Field(default_factory=dict, description="More labels.")
    annotations: PodAnnotations = Field(default_factory=dict, description="More annotations.")
    image_pull_secrets: ImagePullSecrets | None = Field(
        default=None, description="Secrets that the node pulls the runtime's image with."
    )

    def over(self, common: "Pods") -> "Pods":
        """Return these settings over those of all pods: maps are merged, everything else replaces what is there."""
        said = {name: value for name in Pods.model_fields if (value := getattr(self, name)) is not None}
        merged = {name: {**getattr(common, name), **value} if name in _MAPS else value for name, value in said.items()}
        return common.model_copy(update=merged)


_MAPS = ("node_selector", "labels", "annotations")
