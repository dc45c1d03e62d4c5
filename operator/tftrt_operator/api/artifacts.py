"""Where converted models are kept."""

from enum import StrEnum

from pydantic import Field

from .schema import ApiModel
from .source import StorageUri


class DeletionPolicy(StrEnum):
    """What becomes of the artifacts when the TRTModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Artifacts(ApiModel):
    """The store of converted models."""

    uri: StorageUri | None = Field(
        default=None,
        description="The store: pvc://claim/path. Default: the one in the operator's configuration.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.RETAIN,
        description="Whether artifacts that no other TRTModel uses are deleted with the TRTModel.",
    )
