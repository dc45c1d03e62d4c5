"""`report.json`: everything that a conversion found out, typed; the page is made of it."""

# ruff: noqa: N815 - the names are those of JSON

from pathlib import Path
from typing import Literal, Optional

from pydantic import ValidationError

from tftrt_runtime.benchmark.rows import Row
from tftrt_runtime.contract.artifact import Conversion, Frozen
from tftrt_runtime.contract.errors import UsageError
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.contract.validation import fault

FILE = "report.json"
TENSORBOARD = "tensorboard"  # a folder with event files of the graph in `before` and `after`


class Comparison(Frozen):
    """One output at one batch size, converted against unconverted: decimals as text, null where nothing was compared.

    Whole numbers have the share of those that are equal; where they are rounded quantities, also of those within one
    step, and an error. `channel` is where the last dimension has the error of `maxChannelError`.
    """

    output: str
    batchSize: int
    samples: int
    maxRelativeError: Optional[str]
    top1Agreement: Optional[str]
    inputUpTo: Optional[int] = None  # where made-up floats end; None without any, and in older reports
    maxChannelError: Optional[str] = None
    channel: Optional[int] = None
    equalElements: Optional[str] = None
    withinOneStep: Optional[str] = None
    notFinite: Optional[str] = None  # the share that is so in both models
    gone: Optional[str] = None  # the share that is so in the converted model alone, of input up to 255


class Node(Frozen):
    """A node of a graph; `inputs` are the positions of the nodes whose tensors it takes."""

    name: str
    op: str
    inputs: tuple[int, ...]


class Graph(Frozen):
    """A signature's graph: how many operations it has, and those of them that are drawn (constants are not)."""

    operations: int
    nodes: tuple[Node, ...]


class Layer(Frozen):
    """A layer of an engine, which may be several operations in one, and the type of the tensors that it reads."""

    name: str
    kind: str  # TensorRT's word for the implementation: CaskConvolution, Reformat, ...
    precision: str


class EngineLayers(Frozen):
    """What TensorRT made of one engine of the graph for these input shapes."""

    engine: str
    shapes: str
    layers: tuple[Layer, ...]


class Rewritten(Frozen):
    """What one kind of rewrite came to before TF-TRT saw the graph: in how many places it was done, and why it is.

    `questions` were answered by the graph before and behind it alike. It is dropped where they were not, and kept where
    nothing could be compared.
    """

    name: str
    reason: str
    places: int
    questions: int
    dropped: Optional[str] = None  # how the answers differed
    notCompared: Optional[str] = None  # why


class Findings(Frozen):
    """What the conversion found out, of which the summary is a part; `remarks` are what a person should know of it."""

    conversion: Conversion
    comparisons: tuple[Comparison, ...]
    rows: tuple[Row, ...]
    before: Graph
    after: Graph
    layers: tuple[EngineLayers, ...] = ()
    rewrites: tuple[Rewritten, ...] = ()
    remarks: tuple[str, ...] = ()


class Report(Frozen):
    """What was asked for, and what was found."""

    version: Literal[1] = 1
    spec: JobSpec
    sourceDigest: str
    findings: Findings


def read(path: Path) -> Report:
    """The report in this file.

    Raises:
        UsageError: there is none, or it is not of this version.
    """
    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"The report {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise UsageError(f"{path} is no report that this version reads ({fault(error)}).") from error
