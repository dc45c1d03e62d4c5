"""How the converted model is served and rolled out."""

from enum import StrEnum

from pydantic import Field

from .kubernetes import AnyObject, LabelMap, ResourceRequirements, Toleration
from .network import ServerNetworkPolicy
from .pods import OBJECT_NAME, PodAnnotations, PodLabels, service_account_name
from .schema import ANY_OBJECT, ApiModel, list_type, rules


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
        default_factory=ResourceRequirements,
        description="CPU and memory of the server; what /dev/shm needs is added to its memory."
        " Default: 250m to 8 cores; 1Gi and twice the artifact to 4Gi and four times the artifact.",
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
    service_account_name: str = service_account_name("the inference pods")
    max_queue_delay_microseconds: int = Field(
        default=2000,
        ge=0,
        le=10_000_000,
        description="How long Triton's dynamic batcher waits for more requests, in microseconds; for nobody where"
        " status.serving.batching is Disabled.",
    )
    pod_labels: PodLabels = Field(default_factory=dict, description="More labels for inference pods.")
    pod_annotations: PodAnnotations = Field(default_factory=dict, description="More annotations for inference pods.")
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
