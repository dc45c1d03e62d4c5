"""Why a model is converted, or converted again: a list of named checks, each of which tells one change.

They compare what the engine that serves was made of with what the spec asks for now.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .fingerprint import EngineInputs, ServedAs, told
from .observation import Observation
from .target import Target

TOLD_CHANNELS = 4
"""Of more channels than these, a sentence has only how many they are."""


def why_convert(target: Target, observation: Observation) -> str:
    """Return why there has to be a conversion, against the engine that serves now."""
    serving = observation.deployment.fingerprint if observation.deployment else None
    for record in observation.records:
        if record.record.key.fingerprint == serving and (found := changes(record.record.inputs, target.inputs)):
            return "; ".join(map(str, found))
    for record in observation.records:
        if record.record.key.engine == target.key.engine:
            again = f"the engine is verified again, on {target.key.verified_on}"
            return str(Change("VerificationDataChanged", again))
    return str(Change("FirstConversion", "no engine for this spec exists yet"))


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


def values_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """Bound inputs are constants of the converted graph."""
    if old.source_values == new.source_values:
        return None
    return Change("ValuesChanged", f"the bound inputs are {list(new.source_values)}, were {list(old.source_values)}")


def served_inputs_changed(old: EngineInputs, new: EngineInputs) -> Change | None:
    """What makes the model's own values of those in a request is a part of the converted graph."""
    if old.served_inputs == new.served_inputs:
        return None
    now, before = _served(new.served_inputs), _served(old.served_inputs)
    return Change("ServedTypesChanged", f"requests have {now} (type, scale, offset), had {before}")


def _served(inputs: Iterable[ServedAs]) -> str:
    """Return how inputs are served, without the numbers of each of many channels."""
    return ", ".join(" ".join(map(_short, served)) for served in inputs) or "the model's own types"


def _short(part: Sequence[str]) -> str:
    if isinstance(part, str):
        return part
    return "/".join(part) if len(part) <= TOLD_CHANNELS else f"{len(part)} numbers"


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
    values_changed,
    served_inputs_changed,
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
