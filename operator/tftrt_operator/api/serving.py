"""How the converted model is served and rolled out."""

from enum import StrEnum

from pydantic import Field

from .kubernetes import AnyObject, ResourceRequirements
from .network import ServerNetworkPolicy
from .pods import Pods
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
        description="Metrics as in autoscaling/v2. Default: CPU, of which each server is to use 80 % of what"
        " serving.resources asks for, or of 1 core where it names none (docs/autoscaling.md).",
        json_schema_extra=list_type("atomic") | {"items": ANY_OBJECT},
    )


class Serving(ApiModel):
    """The inference Deployment."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.autoscaling) || !has(oldSelf.autoscaling) || self.replicas == oldSelf.replicas",
                "with autoscaling the HorizontalPodAutoscaler sets the number: change autoscaling.minReplicas and"
                " maxReplicas, or drop autoscaling",
            )
        )
    }

    replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Inference pods. With autoscaling set, only the first number of them: it cannot be changed then.",
    )
    autoscaling: Autoscaling | None = Field(default=None, description="Scale on metrics instead of by replicas.")
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements,
        description="CPU and memory of the server; what /dev/shm needs is added to its memory."
        " Default: 250m to 8 cores; 1Gi and twice the artifact to 4Gi and four times the artifact.",
    )
    pods: Pods = Field(
        default_factory=Pods,
        description="What only the inference pods have: maps are merged over spec.pods, everything else replaces what"
        " is there.",
    )
    max_queue_delay_microseconds: int = Field(
        default=2000,
        ge=0,
        le=10_000_000,
        description="How long Triton's dynamic batcher waits for more requests, in microseconds; for nobody where"
        " status.serving.batching is Disabled.",
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
