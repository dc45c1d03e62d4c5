"""The gate between conversion and rollout: what the converted model must show before it serves."""

from typing import Annotated

from pydantic import Field

from .schema import ApiModel, rules
from .storage import SecretName, SourceUri, secret_name, secret_rules

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
_SPEEDUP = rules(
    (
        "self.matches('^[0-9]*[.]?[0-9]+$') && double(self) > 0.0",
        "must be a decimal above 0, in quotes, for example '1.5'",
    )
)


class Verification(ApiModel):
    """What the operator asks of the comparison with the unconverted model. A gate that is not set asks nothing."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            *secret_rules("dataUri"),
            (
                "!has(self.secretName) || self.secretName == '' || has(self.dataUri)",
                "secretName is for dataUri: set that too, or drop it",
            ),
        )
    }

    data_uri: SourceUri | None = Field(
        default=None,
        description="Samples to compare on: .npz, .npy or TFRecord, as docs/data.md describes."
        " Default: seeded input made up after the model's own signature, its floats up to 1 and up to 255.",
    )
    secret_name: SecretName = secret_name("the data")
    min_top1_agreement: Annotated[str, Field(max_length=16, json_schema_extra=_FRACTION)] | None = Field(
        default=None,
        description="The least share of classes, in quotes such as '0.99', that are the same as before: the largest of"
        " floats whose rows are shares of 1, whole numbers, texts and truths.",
    )
    top1_output: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None,
        description="The output of classes, where the model does not show which it is, or has others beside it."
        " Builds nothing: the engine is measured again.",
    )
    max_relative_error: Annotated[str, Field(max_length=16, json_schema_extra=_ERROR)] | None = Field(
        default=None,
        description="The largest difference allowed, in quotes such as '0.01', relative to an output's largest value;"
        " without minTop1Agreement also the share of whole numbers, texts and truths that may differ.",
    )
    min_speedup: Annotated[str, Field(max_length=16, json_schema_extra=_SPEEDUP)] | None = Field(
        default=None,
        description="How many times as fast as the unconverted model, in quotes such as '1.5', at the largest batch, as"
        " a client can have it: status.conversion.speedup.",
    )
