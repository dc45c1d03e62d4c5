"""What `run` and its child process say to each other."""

from tftrt_runtime.artifact import Frozen, Sample, Tensor
from tftrt_runtime.benchmark.rows import Place, Row, Way


class Model(Frozen):
    """A SavedModel to time."""

    way: Way
    folder: str
    signature: str


class TimingRequest(Frozen):
    """Time these models in one process, for `seconds` in all."""

    models: tuple[Model, ...]
    tf32: bool
    inputs: tuple[Tensor, ...]
    sample: Sample
    batch_sizes: tuple[int, ...]
    places: tuple[Place, ...]
    seconds: float


class TimingAnswer(Frozen):
    """What was measured."""

    rows: tuple[Row, ...]
