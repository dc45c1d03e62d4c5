"""An artifact in the store, and the manifest whose presence says that it is complete.

    <store>/<namespace>/<fingerprint>/<product>/manifest.json
    <store>/<namespace>/<fingerprint>/<product>/builds/<build>/model/...      a SavedModel with one signature

The names of the fields are those of the contract with the operator, and so in camel case.
"""

# ruff: noqa: N815

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Optional

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from tftrt_runtime.contract.errors import ArtifactCorrupt
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.contract.validation import fault
from tftrt_runtime.storage import files
from tftrt_runtime.storage.digest import FileDigest, of_file

MANIFEST = "manifest.json"
BUILDS = "builds"
MODEL = "model"  # the SavedModel's folder in a build
REPORT = "report.html"
NAME = r"^[A-Za-z0-9][-A-Za-z0-9_.]*$"  # of a build and of a product, which are folders
CPU = "cpu"  # the product of an artifact that needs no GPU
HASHED_AT_ONCE = 8  # files


DEFAULT_FOLDER = "/mnt/artifact"


def artifact_folder() -> Path:
    """Where a server finds its artifact: TFTRT_ARTIFACT, or the place at which a pod has it."""
    return Path(os.environ.get("TFTRT_ARTIFACT", DEFAULT_FOLDER))


class Frozen(BaseModel):
    """What all parts share: immutable and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(Frozen):
    """An input or output of the signature; -1 is an open dimension.

    The first one is the batch's, but of a model that is asked without batches: that one has the whole shape of a call.
    """

    name: str
    dtype: str  # as Triton names it on the wire: FP32, INT64, BYTES, ...
    shape: tuple[int, ...]
    # What the model itself calls it, where it cannot be served under that name. Where it can, nothing is written.
    source: Optional[str] = None

    @model_serializer(mode="wrap")
    def _no_longer_than_it_must_be(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        made: dict[str, Any] = handler(self)
        return {key: value for key, value in made.items() if key != "source" or value is not None}

    def sizes(self, batched: bool) -> tuple[int, ...]:
        """The dimensions of a sample: all, or all but the batch's."""
        return self.shape[1:] if batched else self.shape


class Device(Frozen):
    """What the artifact was built on."""

    name: str
    computeCapability: str
    memoryBytes: Optional[int]
    driver: str


class Versions(Frozen):
    """What built it."""

    tensorflow: str
    tensorrt: str
    runtime: str


class Part(Frozen):
    """An input that says how the values of another one lie, and so takes not any number.

    `Rows`: where the rows of the input `of` begin and end. `Places`: where sparse values lie in a tensor of the sizes
    `within`. `Sizes`: these sizes.
    """

    kind: Literal["Rows", "Places", "Sizes"]
    of: str = ""
    within: tuple[int, ...] = ()


class Sample(Frozen):
    """How to make an input that the unconverted model has answered: each input's sizes, all but the batch's.

    All of them where it is not `batched`. `parts` are inputs that stand for a ragged or a sparse one, by name.
    """

    shapes: dict[str, tuple[int, ...]] = {}
    batched: bool = True
    parts: dict[str, Part] = {}
    # In artifacts that were published without shapes: the size of every dimension that the signature leaves open.
    openDimension: Optional[int] = None
    # Of a text that must be of some form, such as a picture's file: a few that the model takes, in base64, one item's
    # after the other's. Nothing is written where there are none.
    texts: dict[str, tuple[str, ...]] = {}

    @model_serializer(mode="wrap")
    def _no_longer_than_it_must_be(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        made: dict[str, Any] = handler(self)
        return {key: value for key, value in made.items() if key != "texts" or value}


# Why there is nothing to compare: the model answers the same input differently each time. One that answers nothing at
# all is not converted.
NotCompared = Literal["AnswersDiffer"]
WHY_NOT_COMPARED: dict[NotCompared, str] = {
    "AnswersDiffer": "the model answers the same input differently each time",
}
MADE_UP = "made-up input"


class Verification(Frozen):
    """How the converted model's answers compare with the unconverted one's; decimals as text, null where not known.

    `samples` counts a sample once for each batch size that it was asked in. Shares are of all that was compared; with
    several outputs each figure is that of the worst. Floats that are made up end at 1.
    """

    samples: int
    # The share of classes that are the same: rows of floats with the same largest one, whole numbers, texts, truths.
    top1Agreement: Optional[str]
    # The largest difference relative to its output's largest value; none where an output has no finite value at all.
    maxRelativeError: Optional[str]
    uri: Optional[str] = None  # of the data; None where it was made up
    # The output that the spec calls one of classes: `top1Agreement` is of it alone.
    top1Output: Optional[str] = None
    # As `maxRelativeError`, relative to the largest value of its channel, which the last dimension counts.
    maxChannelError: Optional[str] = None
    # As `maxRelativeError`, of made-up input up to 255; none where values are gone there.
    largerInputError: Optional[str] = None
    # The share of values that are not finite there, and are so in the unconverted model.
    largerInputGone: Optional[str] = None
    # Of whole numbers, texts and truths, but for numbers that were rounded from floats.
    equalElements: Optional[str] = None
    # The share of values that are not finite in either model, alike in both.
    notFinite: Optional[str] = None
    # The share of values that are NaN: of them nobody can say that they are right.
    notANumber: Optional[str] = None
    notCompared: Optional[NotCompared] = None

    @property
    def on(self) -> str:
        """What was compared on."""
        return self.uri or MADE_UP

    @model_serializer(mode="wrap")
    def _without_what_is_not_known(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What came later is left out where there is none: a termination message has few bytes."""
        always = {"samples", "top1Agreement", "maxRelativeError", "uri"}
        return {name: value for name, value in written(self).items() if value is not None or name in always}


class Batching(Frozen):
    """Whether a server puts requests together to one call of the model, and why; the message has no line breaks.

    It must not where an item's answer depends on the others of its batch, and cannot where the model takes no batches.
    """

    mode: Literal["Dynamic", "Disabled"]
    reason: Literal["ItemsIndependent", "ItemsInteract", "NotChecked", "NoBatches"]
    message: str


def stricter(*found: Optional[Batching]) -> Optional[Batching]:
    """What holds where these were found of one model, on different data: that requests stay apart, if any says so."""
    known = [each for each in found if each is not None]
    return next((each for each in known if each.mode == "Disabled"), known[-1] if known else None)


class Memory(Frozen):
    """The GPU memory of one server, measured in a fresh process that ran the largest batch as a server does.

    `peakBytes` is the most that TensorFlow's pool held, `weightsBytes` what it holds when nothing runs, and
    `overheadBytes` what the process takes outside of the pool.
    """

    weightsBytes: int
    peakBytes: int
    overheadBytes: int


class Benchmark(Frozen):
    """What a client can have at the largest batch, and beside it what the device does; decimals as text, rounded down.

    Native is the unconverted model as TensorFlow runs it by default (in TF32 where the GPU has it); FP32 the same
    without TF32, None where that is no other. All three are called alike: input and answers on the host. Speed-ups are
    of items a second with `inFlight` calls at a time, as many as a server has under way where there was time for so
    many. Medians are of one call at a time.

    Without `input` it is of an artifact that was published before, and all of it of one call at a time whose input is
    on the device already, where there is one.
    """

    batchSize: int
    convertedP50Microseconds: int
    nativeP50Microseconds: int
    fp32P50Microseconds: Optional[int]
    speedup: str  # converted over native
    fp32Speedup: Optional[str]
    input: Optional[Literal["Host"]] = None
    inFlight: Optional[int] = None
    convertedItemsPerSecond: Optional[str] = None
    nativeItemsPerSecond: Optional[str] = None
    # One call at a time with its input on the device already, as no client over the network has it. None without a GPU.
    speedupOnDevice: Optional[str] = None

    @property
    def how(self) -> str:
        """What the speed-up is of."""
        calls = "one call" if self.inFlight in (None, 1) else f"{self.inFlight} calls"
        return f"batch size {self.batchSize}, {calls} at a time, input and answers on the host"

    @model_serializer(mode="wrap")
    def _without_what_is_not_known(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What came later is left out where there is none, so that what was written before stays as it is."""
        always = {"fp32P50Microseconds", "fp32Speedup"}
        return {name: value for name, value in written(self).items() if value is not None or name in always}


class Blocker(Frozen):
    """An operation that TensorRT does not take, and why not, in TF-TRT's own words."""

    operation: str
    reason: str


class Segment(Frozen):
    """A connected part of the graph that was left to TensorFlow; no blocker where it was merely too small."""

    operations: int
    first: str  # the name of one of its nodes
    blockers: tuple[Blocker, ...]


class Conversion(Frozen):
    """What `convert` found out, for `publish` to put into the summary."""

    device: Device
    versions: Versions
    engines: int
    convertedOps: int
    totalOps: int
    batchSizes: tuple[int, ...]
    # Whether the first dimension of every tensor is the batch's. If not, a request is a call of the model as it is, and
    # `batchSizes` is the number of items that each one has: that of a fixed batch, else 1.
    batched: bool = True
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    leftOut: tuple[str, ...] = ()  # outputs of the model that are not of an item, and are not served
    sample: Optional[Sample]
    # What the engines were built for: the profile strategy, and the sizes of dimensions that the signature leaves open.
    dynamicShapes: Optional[str] = None
    inputShapes: dict[str, ShapeRange] = {}
    startedAt: str
    verification: Optional[Verification] = None
    memory: Optional[Memory] = None
    benchmark: Optional[Benchmark] = None
    segments: tuple[Segment, ...] = ()
    batching: Optional[Batching] = None


class Summary(Frozen):
    """What the operator learns of a conversion."""

    version: Literal[1] = 1
    result: Literal["Published", "Reused"]
    fingerprint: str
    build: str
    product: Annotated[str, Field(pattern=NAME)]
    artifact: str
    sourceDigest: str
    device: Device
    versions: Versions
    engines: int
    convertedOps: int
    totalOps: int
    batchSizes: tuple[int, ...]
    batched: bool = True
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    leftOut: tuple[str, ...] = ()
    artifactBytes: int
    startedAt: str
    finishedAt: str
    verification: Optional[Verification] = None
    memory: Optional[Memory] = None
    benchmark: Optional[Benchmark] = None
    # None where the largest batch is one item, and in artifacts that were published before it was looked at.
    batching: Optional[Batching] = None
    reportUri: Optional[str] = None  # of report.html


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError("must be a relative path without '..'")
    return path


class File(FileDigest):
    """A file of a build, its path relative to the build's folder."""

    path: Annotated[str, AfterValidator(_inside)]


class Manifest(Frozen):
    """`manifest.json`."""

    version: Literal[1] = 1
    build: Annotated[str, Field(pattern=NAME)]
    sourceDigest: str
    calibrationDigest: Optional[str] = None
    summary: Summary
    sample: Optional[Sample]
    dynamicShapes: Optional[str] = None
    inputShapes: dict[str, ShapeRange] = {}
    segments: tuple[Segment, ...] = ()  # what was left to TensorFlow
    files: tuple[File, ...]


def read_manifest(path: Path) -> Optional[Manifest]:
    """The manifest at this path, or None where there is none.

    Raises:
        ArtifactCorrupt: what lies there is no manifest of this version, or a link.
        OSError: it cannot be read.
    """
    try:
        text = files.read(path)
    except FileNotFoundError:
        return None
    return parse_manifest(text, str(path))


def parse_manifest(text: bytes, place: str) -> Manifest:
    """The manifest in a text that lies at `place`.

    Raises:
        ArtifactCorrupt: it is no manifest of this version.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactCorrupt(
            f"{place} is no manifest that this version reads ({fault(error)}). Delete its folder to convert again."
        ) from error


def expect_identity(manifest: Manifest, fingerprint: str, product: str, place: str) -> Manifest:
    """The manifest, held to be of the artifact that it lies with: what it says of itself is not what makes it so.

    Raises:
        ArtifactCorrupt: it is of another one.
    """
    summary = manifest.summary
    if (summary.fingerprint, summary.product) != (fingerprint, product):
        raise ArtifactCorrupt(
            f"{place} is of the artifact {summary.fingerprint!r} for {summary.product!r}, and lies where that of "
            f"{fingerprint!r} for {product!r} belongs. Delete its folder to convert again."
        )
    return manifest


def build_folder(manifest: Manifest, folder: Path) -> Path:
    """Where the files are that a manifest in this folder lists."""
    return folder / BUILDS / manifest.build


def check_files(manifest: Manifest, folder: Path) -> Path:
    """The build's folder, once its files have been found to be what the manifest says, and its model to have no others.

    Raises:
        ArtifactCorrupt: one is missing, differs, is a link or is not listed; its name is told, and both hashes.
    """
    build = build_folder(manifest, folder)
    _expect_nothing_else(manifest, build, folder)

    def expect(file: FileDigest) -> None:
        try:
            found = of_file(build / file.path, file.path)
        except OSError as error:
            raise ArtifactCorrupt(
                f"{build / file.path}, which the manifest lists, cannot be read: {error.strerror}."
            ) from error
        if (found.size, found.sha256) != (file.size, file.sha256):
            raise ArtifactCorrupt(
                f"{build / file.path} has {found.size} bytes of SHA-256 {found.sha256[:12]}..., where its manifest "
                f"says {file.size} bytes of {file.sha256[:12]}... Delete the folder {folder} to convert again."
            )

    with ThreadPoolExecutor(HASHED_AT_ONCE) as threads:  # a processor hashes half a GB/s, and a server waits for it
        for _ in threads.map(expect, manifest.files):
            pass
    return build


def _expect_nothing_else(manifest: Manifest, build: Path, folder: Path) -> None:
    """Hold that there is nothing for TensorFlow to find that the manifest does not list, by a link or otherwise."""
    listed = {build / file.path for file in manifest.files}
    for place, folders, names in os.walk(build / MODEL):
        links = {Path(place, name) for name in folders if Path(place, name).is_symlink()}
        if others := sorted(({Path(place, name) for name in names} - listed) | links):
            raise ArtifactCorrupt(
                f"{others[0]} is not in the manifest of its build: what nobody vouches for is not loaded. Delete it, "
                f"or the folder {folder} to convert again."
            )
