"""What `run` and its child process say to each other."""

from tftrt_runtime.artifact import Frozen, Sample, Tensor
from tftrt_runtime.benchmark.rows import Place, Row, Way


class Model(Frozen):
    """A SavedModel to time."""

    way: Way
    folder: str
    signature: str


class TimingRequest(Frozen):
    """Time these models in one process, with so many calls at a time as `in_flight` has, one number after the other.

    Calls at a time are spread over so many `streams`, each of which has an equal share of the GPU's memory.

    Each measurement takes `each_seconds`. When all have taken `limit_seconds`, no more calls are tried at a time.
    """

    models: tuple[Model, ...]
    tf32: bool
    inputs: tuple[Tensor, ...]
    sample: Sample
    batch_sizes: tuple[int, ...]
    places: tuple[Place, ...]
    in_flight: tuple[int, ...]
    streams: int = 1
    each_seconds: float
    limit_seconds: float


class TimingAnswer(Frozen):
    """What was measured."""

    rows: tuple[Row, ...]
