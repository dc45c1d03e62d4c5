"""Inputs that are served in another type than the model takes, so that fewer bytes travel."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .schema import ApiModel, list_type, rules

MOST_CHANNELS = 64
"""The most entries of `scale` and `offset`: pictures of satellites have some twenty channels."""

_NUMBER = "self.matches('^-?[0-9]*[.]?[0-9]+(e-?[0-9]{1,2})?$') && double(self) >= -1e30 && double(self) <= 1e30"
_SCALE = rules(
    (
        f"{_NUMBER} && (double(self) >= 1e-30 || double(self) <= -1e-30)",
        "must be a decimal other than 0, in quotes, for example '0.00392156862745098'; its size from 1e-30 to 1e30",
    )
)
_OFFSET = rules((_NUMBER, "must be a decimal, in quotes, for example '-123.68'; its size at most 1e30"))

Scale = Annotated[str, Field(max_length=32, json_schema_extra=_SCALE)]
Offset = Annotated[str, Field(max_length=32, json_schema_extra=_OFFSET)]


class ServedType(StrEnum):
    """A type that travels; names as in the Open Inference Protocol."""

    UINT8 = "UINT8"
    FP16 = "FP16"


class ServedInput(ApiModel):
    """How requests have an input that the model takes as FP32: it gets `value * scale + offset`, in FP32."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.scale) || !has(self.offset) || self.scale.size() == 1 || self.offset.size() == 1"
                " || self.scale.size() == self.offset.size()",
                "scale and offset must have one entry, or both as many as the input has channels",
            ),
        )
    }

    dtype: ServedType = Field(
        description="The type of the values in a request: UINT8, a quarter of the bytes, or FP16, half of them."
    )
    scale: tuple[Scale, ...] = Field(
        default=("1",),
        min_length=1,
        max_length=MOST_CHANNELS,
        description="What each value is multiplied by, in quotes such as '0.00392156862745098', a 255th: one for all,"
        " or one for each place in the input's last dimension, its channels.",
        json_schema_extra=list_type("atomic"),
    )
    offset: tuple[Offset, ...] = Field(
        default=("0",),
        min_length=1,
        max_length=MOST_CHANNELS,
        description="What is added then, in quotes such as '-123.68': one for all, or one for each channel.",
        json_schema_extra=list_type("atomic"),
    )

    def factors(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return scale and offset, each number in the one spelling that it has here."""
        return tuple(map(_plain, self.scale)), tuple(map(_plain, self.offset))


def _plain(text: str) -> str:
    """Return a decimal without an exponent and without zeros that say nothing."""
    number = Decimal(text)
    return format(number.normalize(), "f") if number else "0"
