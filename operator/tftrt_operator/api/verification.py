"""The gate between conversion and rollout: what the converted model must show before it serves."""

from typing import Annotated

from pydantic import Field

from .schema import ApiModel, rules

_FRACTION = rules(
    (
        "self.matches('^[0-9]*[.]?[0-9]+$') && double(self) >= 0.0 && double(self) <= 1.0",
        "must be a decimal from 0 to 1, in quotes, for example '0.99'",
    )
)
_ERROR = rules(
    (
        "self.matches('^[0-9]*[.]?[0-9]+(e-?[0-9]+)?$') && double(self) >= 0.0",
        "must be a decimal of at least 0, in quotes, for example '0.01'",
    )
)


class Verification(ApiModel):
    """What the operator asks of the comparison with the unconverted model. A gate that is not set asks nothing."""

    min_top1_agreement: Annotated[str, Field(max_length=16, json_schema_extra=_FRACTION)] | None = Field(
        default=None,
        description="The least share of samples, in quotes such as '0.99', with the same largest class as before.",
    )
    max_relative_error: Annotated[str, Field(max_length=16, json_schema_extra=_ERROR)] | None = Field(
        default=None,
        description="The largest difference allowed, in quotes such as '0.01', relative to an output's largest value.",
    )
