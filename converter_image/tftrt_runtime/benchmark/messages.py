"""What `run` and its child process say to each other."""

from typing import Optional

from tftrt_runtime.benchmark.rows import Place, Row, Way
from tftrt_runtime.contract.artifact import Frozen, Memory, Sample, Tensor


class Model(Frozen):
    """A SavedModel to time."""

    way: Way
    folder: str
    signature: str


class TimingRequest(Frozen):
    """Time these models in one process, with so many calls at a time as `in_flight` has, one number after the other.

    With `memory` calls at a time are spread over `streams`, as many as the GPU's memory is enough for, each with a pool
    of its own, as in a server. Without, TensorFlow has one stream, and one pool that grows.

    Each measurement takes `each_seconds`, and what a client can have `served_seconds` at least. When all have taken
    `limit_seconds`, no more calls are tried at a time.
    """

    models: tuple[Model, ...]
    tf32: bool
    inputs: tuple[Tensor, ...]
    sample: Sample
    batch_sizes: tuple[int, ...]
    places: tuple[Place, ...]
    in_flight: tuple[int, ...]
    streams: int = 1
    memory: Optional[Memory] = None
    each_seconds: float
    served_seconds: float = 0.0
    limit_seconds: float


class TimingAnswer(Frozen):
    """What was measured."""

    rows: tuple[Row, ...]
