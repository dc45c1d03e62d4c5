"""The few Kubernetes types that the spec contains."""

from typing import Annotated, Any, Literal

from pydantic import Field

from .quantity import Quantity
from .schema import ApiModel, rules

_PARTS = ("requests", "limits")


def _of_every_resource(condition: str) -> str:
    """Return a rule on each entry of requests and limits; `{part}` in it is the map, and `name` the resource."""
    return " && ".join(
        f"(!has(self.{part}) || self.{part}.all(name, {condition.format(part=part)}))" for part in _PARTS
    )


class ResourceRequirements(ApiModel):
    """Requests and limits of a container, by resource name."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits)"
                " || !quantity(string(self.requests[name])).isGreaterThan(quantity(string(self.limits[name]))))",
                "no request may be above its limit",
            ),
            (
                _of_every_resource("!quantity(string(self.{part}[name])).isLessThan(quantity('0'))"),
                "must not be negative",
            ),
            (
                _of_every_resource("!name.startsWith('nvidia.com/')"),
                "must not name a GPU: each pod gets one, and spec.gpu.resourceName says of which kind",
            ),
        )
    }

    requests: dict[str, Quantity] = Field(default_factory=dict, max_length=16, description="The least it gets.")
    limits: dict[str, Quantity] = Field(default_factory=dict, max_length=16, description="The most it may use.")


class Toleration(ApiModel):
    """A taint that a pod accepts."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "operator Exists takes no value",
            ),
            (
                "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
                "without a key, which means every taint, the operator must be Exists",
            ),
            (
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds is for the effect NoExecute alone",
            ),
        )
    }

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
