"""Where the TensorFlow model is, and which part of it to convert."""

from typing import Annotated

from pydantic import Field

from .schema import ApiModel, rules

# A claim's name is a DNS subdomain; a path's parts may be anything but "..": nothing reaches out of the claim.
_PVC_URI = r"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?$"
_PVC_RULES = rules(
    (
        f"self.matches('{_PVC_URI}')",
        "must be pvc://claim/path: a PersistentVolumeClaim in the TRTModel's namespace and a path in it",
    ),
    ("!self.split('/').exists(part, part == '..')", "must not contain '..': the path stays inside the claim"),
)

StorageUri = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=_PVC_RULES)]


class Source(ApiModel):
    """The model to convert."""

    uri: StorageUri = Field(description="The folder of the SavedModel: pvc://claim/path.")
    revision: str = Field(
        default="",
        max_length=253,
        description="Any text. A new one says that the files behind the URI have changed, so it is converted again.",
    )
    signature: str = Field(
        default="serving_default",
        min_length=1,
        max_length=253,
        description="The SavedModel's signature to convert and serve.",
    )
