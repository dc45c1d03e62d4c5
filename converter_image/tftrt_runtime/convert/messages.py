"""What a conversion and its child processes say to each other."""

from typing import Optional

from tftrt_runtime.contract.artifact import Sample, Segment, Tensor
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.processes.message import Message
from tftrt_runtime.report.data import Rewritten
from tftrt_runtime.verification.messages import ReferenceAnswer, ReferenceRequest


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
    `samples`, of which there is one otherwise. `frozen`: the source has no variables, and tables beside its graph. Not
    `batched`: it is called with a sample as it is. INT8 without `calibration` is by the ranges that the graph has of
    its own.
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
    batched: bool = True
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
    """How much of the graph lies in engines, what was left to TensorFlow, and what was rewritten before.

    `remarks` are what a person should know of it.
    """

    engines: int
    converted_ops: int
    total_ops: int
    segments: tuple[Segment, ...]
    rewrites: tuple[Rewritten, ...]
    remarks: tuple[str, ...] = ()
