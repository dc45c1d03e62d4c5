"""TRTModel: a TensorFlow model that is converted with TensorRT and served."""

from pydantic import Field

from . import API_VERSION, KIND
from .artifacts import Artifacts
from .conversion import Conversion
from .gpu import GPU
from .schema import ApiModel
from .serving import Rollout, Serving
from .source import Source
from .status import TRTModelStatus
from .verification import Verification

RETRY_ANNOTATION = "tftrt.dev/retry"
"""A new value starts a failed conversion again, after a fix that is not in the spec (a Secret, an upload)."""


class OwnerReference(ApiModel):
    """Who an object goes with."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(ApiModel):
    """The part of a Kubernetes object's metadata that anything here reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)


SPEC_RULES = (
    (
        "!has(self.gpu) || !has(self.gpu.memory) || has(self.gpu.memoryFraction)"
        " || self.gpu.memoryPolicy == 'Measured'"
        " || !has(self.conversion) || !has(self.conversion.maxWorkspaceSize)"
        " || quantity(string(self.gpu.memory))"
        ".isGreaterThan(quantity(string(self.conversion.maxWorkspaceSize)))",
        "gpu.memory must be larger than conversion.maxWorkspaceSize, which is reserved out of it:"
        " raise gpu.memory or lower conversion.maxWorkspaceSize",
    ),
    *(
        (
            f"!has(self.gpu) || !has(self.gpu.resourceName) || !has(self.{part})"
            f" || !has(self.{part}.resources) || !has(self.{part}.resources.{amounts})"
            f" || !(self.gpu.resourceName in self.{part}.resources.{amounts})",
            f"{part}.resources.{amounts} must not name gpu.resourceName: each pod gets one of it",
        )
        for part in ("conversion", "serving")
        for amounts in ("requests", "limits")
    ),
)
"""Rules on more than one part of a spec."""


class TRTModelSpec(ApiModel):
    """What the user asks for, in the one form that the domain knows: `conversion.pods` and `serving.pods` are whole."""

    source: Source
    runtime: str = Field(
        default="",
        max_length=63,
        pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
        description="A runtime of the operator's catalogue, such as triton or cpu, which converts and serves. Default:"
        " the catalogue's own.",
    )
    conversion: Conversion = Field(default_factory=Conversion, description="How the model is converted.")
    verification: Verification = Field(
        default_factory=Verification, description="What the converted model must show before it serves."
    )
    gpu: GPU = Field(default_factory=GPU, description="Which GPU, and how much of its memory.")
    serving: Serving = Field(default_factory=Serving, description="How the converted model is served.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision replaces the old one.")
    artifacts: Artifacts = Field(default_factory=Artifacts, description="Where converted models are kept.")


class TRTModel(ApiModel):
    """A TensorFlow model that is converted with TensorRT and served."""

    metadata: ObjectMeta
    spec: TRTModelSpec
    status: TRTModelStatus = Field(default_factory=TRTModelStatus)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    def owner_reference(self, *, controller: bool) -> OwnerReference:
        """Return the reference that makes an object go with this TRTModel."""
        return OwnerReference(
            api_version=API_VERSION,
            kind=KIND,
            name=self.metadata.name,
            uid=self.metadata.uid,
            controller=controller,
            block_owner_deletion=controller,
        )
