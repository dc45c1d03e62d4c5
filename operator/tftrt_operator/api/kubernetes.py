"""The few Kubernetes types that the spec contains."""

from typing import Annotated, Any, Literal

from pydantic import Field

from .quantity import Quantity
from .schema import ApiModel


class ResourceRequirements(ApiModel):
    """Requests and limits of a container, by resource name."""

    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=16, description="The least it gets.")
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=16, description="The most it may use.")


class Toleration(ApiModel):
    """A taint that a pod accepts."""

    key: str | None = Field(default=None, max_length=317, description="The taint's key; absent means every key.")
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="Default: Equal.")
    value: str | None = Field(default=None, max_length=63, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Absent means every effect."
    )
    toleration_seconds: int | None = Field(default=None, description="How long NoExecute is tolerated, in seconds.")


LabelValue = Annotated[str, Field(max_length=63)]
LabelMap = Annotated[dict[str, LabelValue], Field(max_length=32)]
AnnotationMap = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)]
AnyObject = dict[str, Any]
