"""How the converted model is served and rolled out."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from .kubernetes import AnnotationMap, AnyObject, LabelMap, ResourceRequirements, Toleration
from .network import ServerNetworkPolicy
from .schema import ANY_OBJECT, ApiModel, list_type, rules

OBJECT_NAME: dict[str, Any] = {"pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"}
"""What most objects may be called (a DNS subdomain), or nothing. What was admitted before is read all the same."""
_RESERVED_LABELS = rules(
    (
        "self.all(key, !key.contains('kubernetes.io/') && !key.contains('k8s.io/') && !key.startsWith('tftrt.dev/')"
        " && !(key in ['pod-template-hash', 'controller-uid', 'job-name']))",
        "must not set labels of kubernetes.io, k8s.io (Kueue's, too) or tftrt.dev, nor pod-template-hash,"
        " controller-uid or job-name: controllers know their pods by them",
    )
)
_RESERVED_ANNOTATIONS = rules(
    ("self.all(key, !key.startsWith('tftrt.dev/'))", "must not set tftrt.dev/*: the server reads its task from there")
)


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler on the Deployment."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            ("self.minReplicas <= self.maxReplicas", "minReplicas must not be larger than maxReplicas")
        )
    }

    min_replicas: int = Field(default=1, ge=1, le=1000, description="The fewest pods.")
    max_replicas: int = Field(ge=1, le=1000, description="The most pods.")
    metrics: tuple[AnyObject, ...] = Field(
        default=(),
        max_length=16,
        description="Metrics as in autoscaling/v2. Default: the HorizontalPodAutoscaler's own, 80 % CPU.",
        json_schema_extra=list_type("atomic") | {"items": ANY_OBJECT},
    )


class Serving(ApiModel):
    """The inference Deployment."""

    runtime: str = Field(
        default="",
        max_length=63,
        pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
        description="A runtime of the operator's catalogue, such as triton or cpu. Default: the catalogue's own.",
    )
    replicas: int = Field(
        default=1, ge=0, le=1000, description="Inference pods. With autoscaling set, only the first number of them."
    )
    autoscaling: Autoscaling | None = Field(default=None, description="Scale on metrics instead of by replicas.")
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements, description="CPU and memory of the server."
    )
    node_selector: LabelMap = Field(default_factory=dict, description="Labels of nodes that may serve.")
    tolerations: tuple[Toleration, ...] = Field(
        default=(),
        max_length=32,
        description="Taints that conversion and serving accept.",
        json_schema_extra=list_type("atomic"),
    )
    affinity: AnyObject | None = Field(
        default=None, description="Affinity of the inference pods, as in a Pod.", json_schema_extra=ANY_OBJECT
    )
    priority_class_name: str = Field(
        default="", max_length=253, json_schema_extra=OBJECT_NAME, description="PriorityClass of the inference pods."
    )
    service_account_name: str = Field(
        default="",
        max_length=253,
        json_schema_extra=OBJECT_NAME,
        description="ServiceAccount of the inference pods. Its token is not mounted.",
    )
    max_queue_delay_microseconds: int = Field(
        default=2000,
        ge=0,
        le=10_000_000,
        description="How long Triton's dynamic batcher waits for more requests, in microseconds.",
    )
    pod_labels: LabelMap = Field(
        default_factory=dict, description="More labels for inference pods.", json_schema_extra=_RESERVED_LABELS
    )
    pod_annotations: AnnotationMap = Field(
        default_factory=dict,
        description="More annotations for inference pods.",
        json_schema_extra=_RESERVED_ANNOTATIONS,
    )
    network_policy: ServerNetworkPolicy = Field(
        default_factory=ServerNetworkPolicy, description="Who may reach the inference pods: docs/network.md."
    )


class RolloutStrategy(StrEnum):
    """How a new revision replaces the old one."""

    SURGE = "Surge"
    IN_PLACE = "InPlace"


class Rollout(ApiModel):
    """How a new revision replaces the old one."""

    strategy: RolloutStrategy = Field(
        default=RolloutStrategy.SURGE,
        description="Surge: one pod more, none fewer. InPlace: none more, one fewer, where there is no spare GPU.",
    )
    progress_deadline_seconds: int = Field(
        default=600, ge=30, le=86400, description="How long a rollout may take before it counts as failed, in seconds."
    )
