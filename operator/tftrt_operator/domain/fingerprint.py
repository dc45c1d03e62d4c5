"""Which inputs make an engine, and why a model must be converted again.

The fingerprint names a conversion in the store, in records and in Jobs, so it can never change for the same inputs:
a golden test holds it. An input added later gets a default here, and is left out of the canonical form while it has it.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from ..api.conversion import Calibration
from ..api.gpu import GPU
from ..api.quantity import quantity_bytes
from ..api.trtmodel import TRTModelSpec
from .runtime import Accelerator, Runtime
from .told_uri import told_uri

CANONICAL_FORM_VERSION = 1
FINGERPRINT_DIGITS = 32  # a label value ends at 63 characters, so a whole SHA-256 in hex is none


InputShape = tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""An input's name, and the least, the usual and the most of each of its dimensions but the batch's."""


@dataclass(frozen=True, slots=True)
class EngineInputs:
    """Everything that changes the engines when it changes, and nothing else. Sizes are in bytes."""

    source_uri: str
    tensorflow: str
    tensorrt: str
    source_revision: str = ""
    signature: str = "serving_default"
    precision: str = "FP32"
    max_workspace_size: int = 2**30
    batch_sizes: tuple[int, ...] = (1,)
    gpu_product: str = ""
    gpu_resource_name: str = "nvidia.com/gpu"
    minimum_segment_size: int = 3
    source_digest: str = ""
    source_format: str = "SavedModel"
    graph_inputs: tuple[str, ...] = ()
    graph_outputs: tuple[str, ...] = ()
    dynamic_shapes: str = ""
    input_shapes: tuple[InputShape, ...] = ()
    calibration: tuple[str, int, int] | None = None  # URI, samples, batch size


def engine_inputs(spec: TRTModelSpec, runtime: Runtime) -> EngineInputs:
    """Return what a spec's engines are made of on a runtime. Which GPU it names counts only where there is one."""
    gpu = spec.gpu if runtime.accelerator is Accelerator.GPU else GPU()
    return EngineInputs(
        source_uri=normalized_uri(spec.source.uri),
        tensorflow=runtime.tensorflow,
        tensorrt=runtime.tensorrt,
        source_revision=spec.source.revision,
        signature=spec.source.signature,
        precision=spec.conversion.precision.value,
        max_workspace_size=quantity_bytes(spec.conversion.max_workspace_size),
        batch_sizes=spec.conversion.built_batch_sizes(),
        gpu_product=gpu.product,
        gpu_resource_name=gpu.resource_name,
        minimum_segment_size=spec.conversion.minimum_segment_size,
        source_digest=spec.source.digest,
        source_format=spec.source.format.value,
        graph_inputs=spec.source.inputs or (),
        graph_outputs=spec.source.outputs or (),
        dynamic_shapes=spec.conversion.dynamic_shapes.value if spec.conversion.dynamic_shapes else "",
        input_shapes=tuple(
            (name, shape.min, shape.opt, shape.max) for name, shape in sorted(spec.conversion.input_shapes.items())
        ),
        calibration=_calibration(spec.conversion.calibration),
    )


def _calibration(calibration: Calibration | None) -> tuple[str, int, int] | None:
    if calibration is None:
        return None
    return normalized_uri(calibration.uri), calibration.samples, calibration.batch_size


def normalized_uri(uri: str) -> str:
    """Return a storage URI without doubled or trailing slashes: two spellings of one folder are one source.

    What a web server makes of slashes is its own affair.
    """
    scheme, _, rest = uri.partition("://")
    if scheme in ("http", "https"):
        return uri
    return f"{scheme}://" + "/".join(part for part in rest.split("/") if part)


def canonical_form(inputs: EngineInputs) -> str:
    """Return the inputs as JSON, versioned, with sorted keys and with the defaults left out."""
    stated = {field.name: getattr(inputs, field.name) for field in fields(inputs)}
    changed = {field.name: stated[field.name] for field in fields(inputs) if stated[field.name] != field.default}
    return json.dumps({"version": CANONICAL_FORM_VERSION, **changed}, sort_keys=True, separators=(",", ":"))


def fingerprint(inputs: EngineInputs) -> str:
    """Return the 32 hex digits that name these inputs."""
    return hashlib.sha256(canonical_form(inputs).encode()).hexdigest()[:FINGERPRINT_DIGITS]


def told(inputs: EngineInputs) -> EngineInputs:
    """Return the inputs as they may be told: what a pre-signed address is signed with makes an engine, and is a key."""
    calibration = inputs.calibration and (told_uri(inputs.calibration[0]), *inputs.calibration[1:])
    return replace(inputs, source_uri=told_uri(inputs.source_uri), calibration=calibration)


@dataclass(frozen=True, slots=True)
class Change:
    """One reason why an engine does not fit any more."""

    reason: str
    message: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.reason}: {self.message}"


def source_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """The files come from elsewhere, or the user says that they changed."""
    if old.source_uri != new.source_uri:
        return Change("SourceChanged", f"the source moved from {old.source_uri} to {new.source_uri}")
    if old.source_revision != new.source_revision:
        return Change("RevisionChanged", f"the revision is {new.source_revision!r}, was {old.source_revision!r}")
    if old.source_digest != new.source_digest:
        pinned, before = new.source_digest or "not pinned", old.source_digest or "not pinned"
        return Change("DigestChanged", f"the digest is {pinned}, was {before}")
    return None


def signature_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """Another function of the SavedModel is to be converted."""
    if old.signature == new.signature:
        return None
    return Change("SignatureChanged", f"the signature is {new.signature}, was {old.signature}")


def graph_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """The files are read in another way, or other tensors of them are asked for."""
    if old.source_format != new.source_format:
        return Change("FormatChanged", f"the format is {new.source_format}, was {old.source_format}")
    if (old.graph_inputs, old.graph_outputs) == (new.graph_inputs, new.graph_outputs):
        return None
    return Change(
        "TensorsChanged",
        f"the graph goes from {list(new.graph_inputs)} to {list(new.graph_outputs)},"
        f" went from {list(old.graph_inputs)} to {list(old.graph_outputs)}",
    )


def precision_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """Kernels are chosen by precision when the engine is built."""
    if old.precision == new.precision:
        return None
    return Change("PrecisionChanged", f"the precision is {new.precision}, was {old.precision}")


def workspace_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """The workspace decides which kernels TensorRT may choose."""
    if old.max_workspace_size == new.max_workspace_size:
        return None
    return Change(
        "WorkspaceSizeChanged", f"maxWorkspaceSize is {new.max_workspace_size} bytes, was {old.max_workspace_size}"
    )


def segment_size_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """Which operations go into engines depends on it."""
    if old.minimum_segment_size == new.minimum_segment_size:
        return None
    return Change(
        "SegmentSizeChanged", f"minimumSegmentSize is {new.minimum_segment_size}, was {old.minimum_segment_size}"
    )


def batch_sizes_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """Each batch size has an engine of its own."""
    if old.batch_sizes == new.batch_sizes:
        return None
    return Change("BatchSizesChanged", f"the batch sizes are {list(new.batch_sizes)}, were {list(old.batch_sizes)}")


def shapes_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """An engine takes the shapes that it was built for."""
    if (old.dynamic_shapes, old.input_shapes) == (new.dynamic_shapes, new.input_shapes):
        return None
    return Change(
        "ShapesChanged",
        f"the shapes are {new.dynamic_shapes or 'fixed'} {list(new.input_shapes)},"
        f" were {old.dynamic_shapes or 'fixed'} {list(old.input_shapes)}",
    )


def calibration_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """The ranges of INT8 come from the data."""
    if old.calibration == new.calibration:
        return None
    return Change("CalibrationChanged", f"the calibration is {new.calibration}, was {old.calibration}")


def runtime_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """A saved engine needs the TensorRT that built it."""
    if (old.tensorflow, old.tensorrt) == (new.tensorflow, new.tensorrt):
        return None
    return Change(
        "RuntimeChanged",
        f"the runtime has TensorFlow {new.tensorflow} and TensorRT {new.tensorrt or 'none'},"
        f" was {old.tensorflow} and {old.tensorrt or 'none'}",
    )


def gpu_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """A saved engine needs the GPU model that built it."""
    if (old.gpu_product, old.gpu_resource_name) == (new.gpu_product, new.gpu_resource_name):
        return None
    return Change(
        "GPUChanged",
        f"the GPU is {new.gpu_product or 'any'} ({new.gpu_resource_name}),"
        f" was {old.gpu_product or 'any'} ({old.gpu_resource_name})",
    )


CHECKS: tuple[Callable[[EngineInputs, EngineInputs], Change | None], ...] = (
    source_changed,
    signature_changed,
    graph_changed,
    precision_changed,
    workspace_changed,
    segment_size_changed,
    batch_sizes_changed,
    shapes_changed,
    calibration_changed,
    runtime_changed,
    gpu_changed,
)


def changes(old: EngineInputs, new: EngineInputs) -> tuple[Change, ...]:
    """Return why the engine of `old` cannot be used for `new`: empty exactly when the fingerprints are equal."""
    before, now = told(old), told(new)
    return tuple(change for check in CHECKS if (change := check(before, now)) is not None)
