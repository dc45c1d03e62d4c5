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
    """One output at one batch size, converted against unconverted; top-1 for classes alone."""

    output: str
    batchSize: int
    samples: int
    maxRelativeError: str
    top1Agreement: Optional[str]


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


class Findings(Frozen):
    """What the conversion found out, of which the summary is a part; `remarks` are what a person should know of it."""

    conversion: Conversion
    comparisons: tuple[Comparison, ...]
    rows: tuple[Row, ...]
    before: Graph
    after: Graph
    layers: tuple[EngineLayers, ...] = ()
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
