"""What a parent and the child processes that ask models say to each other."""

from typing import Optional

from tftrt_runtime.contract.artifact import Batching, NotCompared, Sample, Tensor, Verification
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.processes.message import Message
from tftrt_runtime.report.data import Comparison, Graph

REFERENCE = "reference-{}.npz"  # the unconverted model's answers, one file a batch


class ComparisonData(Message):
    """The user's data to compare the two models on, from `uri`, in `folder`."""

    uri: str
    folder: str


class Origins(Message):
    """Of which outputs the whole numbers are rounded quantities, and which are moved here from an input."""

    rounded: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


class ReferenceRequest(Message):
    """Leave the answers of the SavedModel in `source` in `references`, its graph for TensorBoard in `events`.

    It is asked `data`, or made-up input where that is None; whether its items are independent is seen on the folder
    `calibration` before that. `dynamic_shapes` is the profile strategy of the engines that come of it, where there is
    one. `top1_output` is the output that the user calls one of classes. `larger_too`: made-up input is asked up to 255,
    too, as not of a model that was calibrated on what it meets. `engines`: engines are to be made of it.
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
    top1_output: Optional[str] = None
    larger_too: bool = True
    engines: bool = False


class ReferenceAnswer(Message):
    """The signature, and how it was asked; `kept` tells why its graph cannot be frozen, where it cannot.

    `samples` are those of all sizes in the order of `shapes.distinct`, `sample` among them. `compared` counts the
    batches whose answers were saved, and `not_compared` tells why there are none; `finite` are the outputs that were so
    for all samples. `tables`: it reads lookup tables, which stay beside a frozen graph. `batching` is None where the
    largest batch is one item.

    Of a model that is not `batched` the `batch_sizes` are the one number of items of each call, and `input_shapes` have
    all dimensions; else both are as they were asked for. `left_out` are outputs that are not of an item, and `unranked`
    inputs that may have any number of dimensions in the signature.
    """

    tensorflow: str
    batched: bool
    batch_sizes: tuple[int, ...]
    input_shapes: dict[str, ShapeRange]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    left_out: tuple[str, ...]
    unranked: tuple[str, ...]
    sample: Optional[Sample]
    samples: tuple[Sample, ...]
    compared: int
    not_compared: Optional[NotCompared] = None
    origins: Origins = Origins()
    finite: tuple[str, ...]
    kept: Optional[str]
    tables: bool
    batching: Optional[Batching]
    graph: Graph


class CheckRequest(Message):
    """Load the SavedModel in `model` and compare its answers with those in `references`.

    There are none where `not_compared` has a reason. `exact`: they must be the same up to the order of sums. `engines`:
    each of its engines must hold all batch sizes, or be the only one where `dynamic`. It is asked `samples` at all
    batch sizes, and must answer with numbers where the output is one of `finite`. Its graph goes to `events`. Outputs
    that are `left_out` are not compared. Not `batched`: it is called with a sample as it is.
    """

    model: str
    signature: str
    references: str
    compared: int
    not_compared: Optional[NotCompared] = None
    origins: Origins = Origins()
    top1_output: Optional[str] = None
    precision: str = "FP32"
    data: Optional[ComparisonData]
    events: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    left_out: tuple[str, ...] = ()
    batched: bool = True
    batch_sizes: tuple[int, ...]
    samples: tuple[Sample, ...]
    finite: tuple[str, ...] = ()
    exact: bool
    engines: bool
    dynamic: bool = False


class CheckAnswer(Message):
    """How the answers compare, each output at each batch size and, where it was made up, each size of input."""

    verification: Verification
    comparisons: tuple[Comparison, ...] = ()
    graph: Graph
