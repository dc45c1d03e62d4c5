"""What a client has to know of what is served: tensors as they travel, and whether a request is a call of its own."""

from collections.abc import Iterable
from typing import Literal

from ..api.status import MOST_NAME, MOST_TENSORS, Batching, ServedTensor
from .record import Summary, Tensor


def batching(summary: Summary) -> Batching:
    """Return whether the server puts requests together, and why."""
    found = summary.batching
    if max(summary.batch_sizes) == 1:
        return _batching("Disabled", "LargestBatchIsOne", "the largest batch that is served is one item")
    if found is not None and found.mode == "Disabled":
        return Batching(**found.model_dump())
    if any(tensor.dtype == "BYTES" for tensor in summary.inputs or ()):
        return _batching(
            "Disabled", "TextInput", "a text that the model does not take must fail no request but its own"
        )
    if found is not None:
        return Batching(**found.model_dump())
    return _batching(
        "Dynamic",
        "NotChecked",
        "this engine is from before it was looked at whether an item's answer depends on the others of its batch: a new"
        " source.revision has it seen",
    )


def _batching(mode: Literal["Dynamic", "Disabled"], reason: str, message: str) -> Batching:
    return Batching(mode=mode, reason=reason, message=message)


def tensors(found: Iterable[Tensor] | None) -> tuple[ServedTensor, ...] | None:
    """Return the tensors of a request or an answer; None where they are not known, or too many for a status."""
    known = None if found is None else tuple(found)
    if known is None or len(known) > MOST_TENSORS or any(len(tensor.name) > MOST_NAME for tensor in known):
        return None
    return tuple(_on_the_wire(tensor) for tensor in known)


def _on_the_wire(tensor: Tensor) -> ServedTensor:
    """Return the tensor as Triton has it, which has no shape of the batch alone: a vector is a column."""
    shape = tensor.shape if len(tensor.shape) != 1 else (*tensor.shape, 1)
    source = tensor.source if tensor.source is not None and len(tensor.source) <= MOST_NAME else None
    return ServedTensor(name=tensor.name, datatype=tensor.dtype, shape=shape, source=source)
