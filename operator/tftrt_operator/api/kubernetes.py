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


class LocalObjectReference(ApiModel):
    """An object of the same namespace, by its name."""

    name: str = Field(
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        description="Its name.",
    )


# What the API server would refuse in the objects that are made of a spec, it refuses in the spec.
def _key_pattern(letters: str) -> str:
    """Return the pattern of a key that has these letters in its prefix."""
    part = f"[{letters}0-9]([-{letters}0-9]*[{letters}0-9])?"
    return f"^({part}([.]{part})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"


LABEL_KEY_PATTERN = _key_pattern("a-z")
LABEL_VALUE_PATTERN = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
_ANNOTATION_KEY_PATTERN = _key_pattern("A-Za-z")
KEY_SENTENCE = (
    "must be a name such as team, or example.com/team: at most 63 letters, digits, '-', '_' and '.', with a letter or"
    " digit at both ends"
)
VALUE_SENTENCE = "must be letters, digits, '-', '_' and '.', with a letter or digit at both ends"


def label_key_rule(key: str) -> tuple[str, str]:
    """Return the rule of an expression that is a label's key."""
    return f"{key}.matches('{LABEL_KEY_PATTERN}') && {key}.indexOf('/') <= 253", KEY_SENTENCE


LABEL_RULES = (
    (f"self.all(key, {label_key_rule('key')[0]})", f"a key {KEY_SENTENCE}"),
    (f"self.all(key, self[key].matches('{LABEL_VALUE_PATTERN}'))", f"a value {VALUE_SENTENCE}"),
)
ANNOTATION_RULES = (
    (
        f"self.all(key, key.matches('{_ANNOTATION_KEY_PATTERN}') && key.indexOf('/') <= 253)",
        f"a key {KEY_SENTENCE}",
    ),
)

LabelValue = Annotated[str, Field(max_length=63)]
LabelMap = Annotated[dict[str, LabelValue], Field(max_length=32, json_schema_extra=rules(*LABEL_RULES))]
AnnotationMap = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)]
AnyObject = dict[str, Any]
