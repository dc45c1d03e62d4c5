"""What a parent and the child processes that look at a device say to each other."""

from typing import Optional

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.processes.message import Message


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
