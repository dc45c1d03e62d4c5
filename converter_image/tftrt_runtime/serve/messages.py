"""What `step` and the process that runs the model tell each other in files."""

from typing import Optional

from pydantic import BaseModel, ConfigDict

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.spec import ShapeRange


class Served(BaseModel):
    """The model to serve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    saved_model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    # Whether tensors have the batch in front.
    batched: bool
    batch_sizes: tuple[int, ...]
    sample: Optional[Sample]
    # What the engines were built for.
    dynamic_shapes: Optional[str]
    input_shapes: dict[str, ShapeRange]
    # Whether items that nobody asked for may stand beside those of a request.
    may_fill: bool
    memory_fraction: Optional[str]
    # What a pool must hold, where that was measured.
    peak_bytes: Optional[int]
    # What the engines were built on and with.
    product: str
    tensorrt: str


class Failed(BaseModel):
    """Why the model could not be made ready, by the name of a type in `errors`."""

    reason: str
    message: str
