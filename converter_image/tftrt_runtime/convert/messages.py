"""What `step` and its child processes say to each other."""

from typing import Optional

from pydantic import BaseModel, ConfigDict

from tftrt_runtime.artifact import Sample, Tensor

REFERENCE = "reference-{}.npz"  # the unconverted model's answers, one file a batch size


class Message(BaseModel):
    """What all parts share."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DevicesRequest(Message):
    """Which GPUs does TensorFlow see?"""


class DevicesAnswer(Message):
    """These, by TensorFlow's names."""

    gpus: tuple[str, ...]


class ConvertRequest(Message):
    """Convert the SavedModel in `source` to one in `target`; leave the unconverted model's answers in `references`."""

    uri: str
    source: str
    signature: str
    tensorflow: str
    batchSizes: tuple[int, ...]  # noqa: N815
    target: str
    references: str


class ConvertAnswer(Message):
    """What came of it; `kept` tells why the graph was not frozen, where it was not."""

    tensorflow: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    total_ops: int
    kept: Optional[str]
    sample: Optional[Sample]


class CheckRequest(Message):
    """Load the SavedModel in `model` and compare its answers with those in `references`."""

    model: str
    signature: str
    references: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batchSizes: tuple[int, ...]  # noqa: N815
    sample: Optional[Sample]


class CheckAnswer(Message):
    """The largest relative error found; None where there was nothing to compare with."""

    relative_error: Optional[float]
