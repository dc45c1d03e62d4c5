"""Where converted models are kept."""

from enum import StrEnum

from pydantic import Field

from .schema import ApiModel, rules
from .storage import SecretName, StoreUri, secret_name, secret_rules


class DeletionPolicy(StrEnum):
    """What becomes of the artifacts when the TRTModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Artifacts(ApiModel):
    """The store of converted models."""

    model_config = ApiModel.model_config | {"json_schema_extra": rules(*secret_rules("uri"))}

    uri: StoreUri | None = Field(
        default=None,
        description="The store: pvc://claim/path, s3://, gs:// or az://. Default: the operator's configuration.",
    )
    secret_name: SecretName = secret_name("the store")
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="Whether artifacts that no other TRTModel uses are deleted with the TRTModel.",
    )
