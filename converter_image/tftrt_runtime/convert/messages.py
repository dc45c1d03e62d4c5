"""What `step` and its child processes say to each other."""

from typing import Optional

from pydantic import BaseModel, ConfigDict

from tftrt_runtime.artifact import Batching, Sample, Segment, Tensor, Verification
from tftrt_runtime.report.data import Comparison, Graph
from tftrt_runtime.spec import ShapeRange

REFERENCE = "reference-{}.npz"  # the unconverted model's answers, one file a batch


class Message(BaseModel):
    """What all parts share."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DevicesRequest(Message):
    """Which GPU does TensorFlow see, and which TensorRT?"""


class DevicesAnswer(Message):
    """TensorFlow's version, the first GPU, where it sees any, and the loaded TensorRT, where there is one."""

    tensorflow: str
    gpus: tuple[str, ...]
    name: str = ""
    compute_capability: str = ""
    memory_bytes: int = 0
    driver: str = ""
    tensorrt: str = ""


class ImportRequest(Message):
    """Make a SavedModel in `target` of the frozen graph in `source`."""

    uri: str
    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    signature: str
    target: str


class ImportAnswer(Message):
    """It is there."""


class ComparisonData(Message):
    """The user's data to compare the two models on, from `uri`, in `folder`."""

    uri: str
    folder: str


class ReferenceRequest(Message):
    """Leave the answers of the SavedModel in `source` in `references`, its graph for TensorBoard in `events`.

    It is asked `data`, or made-up input where that is None; whether its items are independent is seen on the folder
    `calibration` before that. `dynamic_shapes` is the profile strategy of the engines that come of it, where there is
    one.
    """

    uri: str
    source: str
    signature: str
    tensorflow: str
    batch_sizes: tuple[int, ...]
    input_shapes: dict[str, ShapeRange]
    dynamic_shapes: Optional[str] = None
    references: str
    data: Optional[ComparisonData]
    calibration: Optional[ComparisonData] = None
    events: str


class ReferenceAnswer(Message):
    """The signature, and how it was asked; `kept` tells why its graph cannot be frozen, where it cannot.

    `samples` are those of all sizes in the order of `shapes.distinct`, `sample` among them. `compared` counts the
    batches whose answers were saved; `finite` are the outputs that were so for all samples. `tables`: it reads lookup
    tables, which stay beside a frozen graph. `batching` is None where the largest batch is one item.
    """

    tensorflow: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    sample: Optional[Sample]
    samples: tuple[Sample, ...]
    compared: int
    finite: tuple[str, ...]
    kept: Optional[str]
    tables: bool
    batching: Optional[Batching]
    graph: Graph


class FreezeRequest(Message):
    """Make constants of the variables of the SavedModel in `source`, and write the result to `target`."""

    uri: str
    source: str
    signature: str
    target: str


class FreezeAnswer(Message):
    """It is there."""


class CalibrationData(Message):
    """What was fetched to `folder`, and how much of it to read."""

    folder: str
    samples: int
    batch_size: int


class CalibrationRequest(Message):
    """See whether the data fits the signature of the SavedModel in `source`."""

    uri: str
    source: str
    signature: str
    input_shapes: dict[str, ShapeRange]
    data: CalibrationData


class CalibrationAnswer(Message):
    """It fits."""


class ConvertRequest(ReferenceRequest):
    """The same, and convert it to one in `target`."""

    target: str


class ConvertAnswer(ReferenceAnswer):
    """What came of it."""

    total_ops: int


class EnginesRequest(Message):
    """Convert the SavedModel in `source` with TensorRT to one in `target`.

    An engine for every batch size; with `dynamic_shapes`, a profile strategy, one for all batch sizes and all
    `samples`, of which there is one otherwise. `frozen`: the source has no variables, and tables beside its graph.
    """

    source: str
    signature: str
    target: str
    frozen: bool
    inputs: tuple[Tensor, ...]
    samples: tuple[Sample, ...]
    precision: str
    max_workspace_size_bytes: int
    minimum_segment_size: int
    batch_sizes: tuple[int, ...]
    dynamic_shapes: Optional[str]
    calibration: Optional[CalibrationData]

    @property
    def calibrated(self) -> Optional[str]:
        """For which shapes the engines that calibration builds are ones that were asked for; None where they are not.

        One for all shapes is, and that of the smallest batch size, for after a larger one no smaller one is built.
        """
        if self.calibration is None:
            return None
        if self.dynamic_shapes is not None:
            return "all profiles"
        size = self.calibration.batch_size
        return f"batches of {size}" if size == min(self.batch_sizes) else None


class EnginesAnswer(Message):
    """How much of the graph lies in engines, and what was left to TensorFlow."""

    engines: int
    converted_ops: int
    total_ops: int
    segments: tuple[Segment, ...]


class CheckRequest(Message):
    """Load the SavedModel in `model` and compare its answers with those in `references`.

    `exact`: they must be the same up to the order of sums. `engines`: each of its engines must hold all batch sizes, or
    be the only one where `dynamic`. It is asked `samples` at all batch sizes, and must answer with numbers where the
    output is one of `finite`. Its graph goes to `events`.
    """

    model: str
    signature: str
    references: str
    compared: int
    data: Optional[ComparisonData]
    events: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batch_sizes: tuple[int, ...]
    samples: tuple[Sample, ...]
    finite: tuple[str, ...] = ()
    exact: bool
    engines: bool
    dynamic: bool = False


class CheckAnswer(Message):
    """How the answers compare, each output at each batch size; None where there was nothing to compare with."""

    verification: Optional[Verification]
    comparisons: tuple[Comparison, ...] = ()
    graph: Graph


class MeasureRequest(Message):
    """Run the SavedModel in `model` as a server does, in a pool of `limit_mib`, or one that grows if that is None."""

    model: str
    inputs: tuple[Tensor, ...]
    batch_sizes: tuple[int, ...]
    sample: Sample
    limit_mib: Optional[int]


class MeasureAnswer(Message):
    """The bytes of GPU memory that the weights take, that all takes at its peak, and that the device had free at last.

    The last are read when the process holds all that a server does, right before it ends.
    """

    weights: int
    peak: int
    free: int
