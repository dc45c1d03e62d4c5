"""The spec that the operator hands to a container, parsed once into frozen types.

Every key without a default is always there and nothing else is: an operator and an image that do not belong together
say so at once.
"""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Optional, TypeVar, Union, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tftrt_runtime.contract.errors import UsageError
from tftrt_runtime.contract.told_uri import told_uri

DEFAULT_PATH = Path("/etc/tftrt/spec.json")

Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
# A label of a DNS name: these become folders of the store and the name of a Triton model.
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Uri = Annotated[str, Field(min_length=1)]
# A node's name alone means its first output, as it does in TensorFlow's own GraphDefs.
TensorName = Annotated[
    str,
    Field(pattern=r"^[^:]+(:[0-9]+)?$"),
    AfterValidator(lambda name: name if ":" in name else f"{name}:0"),
]
Size = Annotated[int, Field(ge=1)]
Value = Union[bool, int, float, str]


def _ascending(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if list(sizes) != sorted(set(sizes)):
        raise ValueError("batch sizes must be ascending and distinct")
    return sizes


BatchSizes = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1), AfterValidator(_ascending)]


class Frozen(BaseModel):
    """What all parts of a spec share: immutable, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelName(Frozen):
    """Which TRTModel this is for."""

    namespace: Label
    name: Label


class Source(Frozen):
    """Where the unconverted model lies, and what of it to convert."""

    uri: Uri
    format: Literal["SavedModel", "FrozenGraph"] = "SavedModel"
    # Of a SavedModel; a frozen graph gets this one.
    signature: Annotated[str, Field(min_length=1)]
    # Of a frozen graph: names of tensors, such as `input:0`, or of nodes.
    inputs: tuple[TensorName, ...] = ()
    outputs: tuple[TensorName, ...] = ()
    # `sha256:` and 64 hex digits; other bytes are an error.
    digest: Annotated[Optional[str], Field(pattern=r"^sha256:[0-9a-f]{64}$")] = None
    # Of inputs that have one value for all requests, by the input's name; of a frozen graph by the tensor's.
    values: dict[str, Value] = {}

    @model_validator(mode="after")
    def _tensors_belong_to_a_frozen_graph(self) -> "Source":
        if self.format == "FrozenGraph" and not (self.inputs and self.outputs):
            raise ValueError("a FrozenGraph needs inputs and outputs: the names of tensors, such as input:0")
        if self.format == "SavedModel" and (self.inputs or self.outputs):
            raise ValueError("inputs and outputs are for a FrozenGraph: a SavedModel has a signature")
        return self


class ShapeRange(Frozen):
    """The sizes of an input's dimensions, all but the batch's: the least, the usual and the most that is asked for."""

    min: tuple[Size, ...]
    opt: tuple[Size, ...]
    max: tuple[Size, ...]

    @model_validator(mode="after")
    def _ascends(self) -> "ShapeRange":
        if not len(self.min) == len(self.opt) == len(self.max):
            raise ValueError("min, opt and max must have the same number of dimensions")
        if not all(low <= usual <= high for low, usual, high in zip(self.min, self.opt, self.max)):
            raise ValueError("min <= opt <= max must hold in every dimension")
        return self


class Calibration(Frozen):
    """The data that INT8's ranges are measured on."""

    uri: Uri
    samples: Size
    batchSize: Size  # noqa: N815

    @model_validator(mode="after")
    def _fills_a_batch(self) -> "Calibration":
        if self.batchSize > self.samples:
            raise ValueError("batchSize must not be larger than samples: no batch would be full")
        return self


def _number(text: str) -> str:
    if not _NUMBER.fullmatch(text) or abs(float(text)) > MOST:
        raise ValueError(f'must be a decimal in a string, such as "-123.68"; its size at most {MOST:g}')
    return text


def _factor(text: str) -> str:
    if abs(float(_number(text))) < 1 / MOST:
        raise ValueError(f"must be other than 0; its size from {1 / MOST:g} to {MOST:g}")
    return text


ServedType = Literal["UINT8", "FP16"]  # as the Open Inference Protocol names them
SERVED_TYPES: tuple[ServedType, ...] = get_args(ServedType)
_NUMBER = re.compile(r"-?[0-9]*[.]?[0-9]+(e-?[0-9]{1,2})?")
MOST = 1e30  # of a scale or an offset: a float32 holds it, and its inverse


class ServedInput(Frozen):
    """The type that requests have an input in, of which `value * scale + offset` is what the model takes: FP32.

    Both are one number for all values, or one for each place in the last dimension.
    """

    dtype: ServedType
    scale: Annotated[tuple[Annotated[str, AfterValidator(_factor)], ...], Field(min_length=1)] = ("1",)
    offset: Annotated[tuple[Annotated[str, AfterValidator(_number)], ...], Field(min_length=1)] = ("0",)

    @model_validator(mode="after")
    def _are_of_the_same_channels(self) -> "ServedInput":
        if len({len(self.scale), len(self.offset)} - {1}) > 1:
            raise ValueError("scale and offset must have one entry, or both as many as the input has channels")
        return self


class Conversion(Frozen):
    """How to convert it."""

    precision: Literal["FP32", "FP16", "INT8"]
    maxWorkspaceSizeBytes: Annotated[int, Field(ge=0)]  # noqa: N815 - the spec's own names
    batchSizes: BatchSizes  # noqa: N815
    # Fewer operations in a row than this stay with TensorFlow: an engine costs more than it saves there.
    minimumSegmentSize: Annotated[int, Field(ge=1)] = 3  # noqa: N815
    # The profile strategy of engines that take a range of shapes; None is an engine for each shape.
    dynamicShapes: Optional[Literal["Range", "Optimal", "Range+Optimal"]] = None  # noqa: N815
    # Of inputs whose inner dimensions the signature leaves open.
    inputShapes: dict[str, ShapeRange] = {}  # noqa: N815
    # Of inputs that are served in another type than the model takes, by the name that they are served under.
    inputs: dict[str, ServedInput] = {}
    # For INT8; without, the graph has ranges of its own, from training with quantization.
    calibration: Optional[Calibration] = None

    @model_validator(mode="after")
    def _belong_together(self) -> "Conversion":
        if self.precision != "INT8" and self.calibration is not None:
            raise ValueError("calibration is for INT8: set precision to INT8 or drop it")
        if self.dynamicShapes is None and any(shape.min != shape.max for shape in self.inputShapes.values()):
            raise ValueError("inputShapes with a range need dynamicShapes")
        return self


class VerificationData(Frozen):
    """What the converted model is held against the unconverted one on: None is made-up input.

    `top1Output` is the output of classes, where the user names one.
    """

    uri: Optional[Uri] = None
    top1Output: Annotated[Optional[str], Field(min_length=1)] = None  # noqa: N815


class Runtime(Frozen):
    """The entry of the operator's runtime catalogue that this container runs as."""

    name: Annotated[str, Field(min_length=1)]
    accelerator: Literal["GPU", "None"]
    tensorflow: str
    tensorrt: str
    # The newest GPU that this TensorRT knows, where the catalogue says so: `9.0`.
    maxComputeCapability: Annotated[Optional[str], Field(pattern=r"^[0-9]+[.][0-9]+$")] = None  # noqa: N815


class Artifacts(Frozen):
    """The store."""

    uri: Uri


class JobSpec(Frozen):
    """The spec of a conversion Job: the same text for all of its containers."""

    version: Literal[1]
    model: ModelName
    fingerprint: Fingerprint
    source: Source
    conversion: Conversion
    verification: VerificationData = VerificationData()
    runtime: Runtime
    artifacts: Artifacts

    def told(self) -> "JobSpec":
        """The same for all who fetch nothing, and write of what they do: without the queries of its URIs."""
        source = self.source.model_copy(update={"uri": told_uri(self.source.uri)})
        calibration, data = self.conversion.calibration, self.verification.uri
        if calibration is not None:
            calibration = calibration.model_copy(update={"uri": told_uri(calibration.uri)})
        return self.model_copy(
            update={
                "source": source,
                "conversion": self.conversion.model_copy(update={"calibration": calibration}),
                "verification": self.verification.model_copy(update={"uri": None if data is None else told_uri(data)}),
            }
        )


class DeleteSpec(Frozen):
    """The spec of a Job that deletes a model's artifacts."""

    version: Literal[1]
    model: ModelName
    artifacts: Artifacts
    fingerprints: tuple[Fingerprint, ...]


class ServerSpec(Frozen):
    """The spec of a server."""

    version: Literal[1]
    model: ModelName
    fingerprint: Fingerprint
    runtime: Runtime
    artifact: Artifacts  # the one folder of the store, for `tftrt pull`
    memoryFraction: Optional[str]  # noqa: N815
    maxQueueDelayMicroseconds: Annotated[int, Field(ge=0)]  # noqa: N815
    # Disabled where it was seen on this model's own verification data that an item's answer depends on the others of
    # its batch: the artifact's manifest knows only of the data that the artifact was made with.
    batching: Literal["Dynamic", "Disabled"] = "Dynamic"

    @field_validator("memoryFraction")
    @classmethod
    def _is_a_fraction(cls, value: Optional[str]) -> Optional[str]:
        try:
            valid = value is None or 0 < Decimal(value) <= 1
        except ArithmeticError:
            valid = False
        if not valid:
            raise ValueError('must be a decimal in a string, above 0 and at most 1, such as "0.6666"')
        return value

    @model_validator(mode="after")
    def _fraction_belongs_to_a_gpu(self) -> "ServerSpec":
        if (self.memoryFraction is None) != (self.runtime.accelerator == "None"):
            raise ValueError(
                "memoryFraction must be given where runtime.accelerator is GPU, and be null where it is None"
            )
        return self


Spec = TypeVar("Spec", bound=Frozen)


def read(path: Path, kind: type[Spec]) -> Spec:
    """The spec at this path.

    Raises:
        UsageError: there is none, or it is not what the contract says; every wrong key is named.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"The spec {path} cannot be read: {error.strerror}.") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise UsageError(f"The spec {path} is not one that this image understands: {wrong}.") from error
