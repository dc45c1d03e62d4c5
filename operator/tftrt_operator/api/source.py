"""Where the TensorFlow model is, and which part of it to convert."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, WithJsonSchema

from .schema import ANY_SCALAR, ApiModel, list_type, rules
from .storage import SecretName, SourceUri, secret_name, secret_rules


class SourceFormat(StrEnum):
    """How TensorFlow saved the model."""

    SAVED_MODEL = "SavedModel"
    FROZEN_GRAPH = "FrozenGraph"


DEFAULT_SIGNATURE = "serving_default"
TensorName = Annotated[str, Field(max_length=512, pattern=r"^[A-Za-z0-9.][A-Za-z0-9_.>/\\-]*(:[0-9]+)?$")]

# What an input is bound to. A number is what the API server makes of it: it keeps 1.0 as 1.
Value = Annotated[
    StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=1024)], WithJsonSchema(ANY_SCALAR)
]

MOST_NAME = 512


def _short_names(values: dict[str, Value]) -> dict[str, Value]:
    """Return the values; the API server bounds no keys."""
    if any(not 0 < len(name) <= MOST_NAME for name in values):
        raise ValueError(f"the name of an input has from 1 to {MOST_NAME} characters")
    return values


class Source(ApiModel):
    """The model to convert."""

    model_config = ApiModel.model_config | {
        "json_schema_extra": rules(
            *secret_rules("uri"),
            (
                "self.format != 'FrozenGraph' || (has(self.inputs) && has(self.outputs))",
                "a FrozenGraph needs inputs and outputs: names of tensors such as input:0",
            ),
            (
                "self.format == 'FrozenGraph' || (!has(self.inputs) && !has(self.outputs))",
                "inputs and outputs are for a FrozenGraph: a SavedModel has a signature",
            ),
            (
                f"self.format != 'FrozenGraph' || self.signature == '{DEFAULT_SIGNATURE}'",
                "signature is for a SavedModel: a FrozenGraph has inputs and outputs",
            ),
        )
    }

    uri: SourceUri = Field(
        description="A folder, or an archive of it: pvc://claim/path, s3://, gs://, az:// or https://."
        " Of a FrozenGraph also the file itself."
    )
    revision: str = Field(
        default="",
        max_length=253,
        description="Any text. A new one says that the files behind the URI have changed, so it is converted again.",
    )
    digest: str = Field(
        default="",
        pattern=r"^(sha256:[0-9a-f]{64})?$",
        max_length=71,
        description="The digest that the source must have, as status.conversion.sourceDigest tells it.",
    )
    format: SourceFormat = Field(
        default=SourceFormat.SAVED_MODEL, description="SavedModel, or FrozenGraph: a GraphDef in a .pb file."
    )
    signature: str = Field(
        default=DEFAULT_SIGNATURE,
        min_length=1,
        max_length=253,
        description="The SavedModel's signature to convert and serve.",
    )
    inputs: tuple[TensorName, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Tensors that a FrozenGraph takes, such as input:0. A node's name alone means its first output.",
        json_schema_extra=list_type("set"),
    )
    outputs: tuple[TensorName, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Tensors that a FrozenGraph answers with, such as softmax:0 or softmax.",
        json_schema_extra=list_type("set"),
    )
    values: Annotated[dict[str, Value], AfterValidator(_short_names)] = Field(
        default_factory=dict,
        max_length=16,
        description="Inputs that have one value for all requests, which then do not have them: true or false, a number"
        " or a text by the input's name, such as phase_train: false. A model with a scalar among its inputs is served"
        " in batches only where that is bound here.",
    )
    secret_name: SecretName = secret_name("the source")

    def tensors(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the inputs and the outputs of a FrozenGraph, each with the number of its node's output."""
        return tuple(map(_whole, self.inputs or ())), tuple(map(_whole, self.outputs or ()))


def _whole(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"
