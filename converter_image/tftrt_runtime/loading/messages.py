"""What is said to the child processes that make a SavedModel of what there is."""

from typing import Optional

from tftrt_runtime.contract.spec import ServedInput, Value
from tftrt_runtime.processes.message import Message


class ImportRequest(Message):
    """Make a SavedModel in `target` of the frozen graph in `source`; tensors with `values` are not inputs of it."""

    uri: str
    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: dict[str, Value]
    signature: str
    target: str


class SessionRequest(Message):
    """Make a SavedModel in `target`, with this one signature, of one in `source` that cannot be taken as it is.

    `on_gpu`: of several graphs take the one that was made for a GPU, where one was.
    """

    uri: str
    source: str
    signature: str
    target: str
    on_gpu: bool


class ImportAnswer(Message):
    """It is there; `names` has what the model itself calls its tensors, by the names that they are served under."""

    names: dict[str, str]


class BindRequest(Message):
    """Make a SavedModel in `target` of that in `source`, whose inputs with `values` are constants.

    Inputs of any rank have these `shapes`, None for an open dimension, and others the types in which they are `served`.
    """

    uri: str
    source: str
    signature: str
    values: dict[str, Value]
    shapes: dict[str, tuple[Optional[int], ...]]
    served: dict[str, ServedInput]
    target: str


class BindAnswer(Message):
    """It is there."""


class FreezeRequest(Message):
    """Make constants of the variables of the SavedModel in `source`, and write the result to `target`."""

    uri: str
    source: str
    signature: str
    target: str


class FreezeAnswer(Message):
    """It is there."""
