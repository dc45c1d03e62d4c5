"""What a client has to know of what is served: tensors as they travel, and whether a request is a call of its own."""

from collections.abc import Iterable
from typing import Literal

from ..api.status import MOST_NAME, MOST_TENSORS, Batching, ServedTensor
from .record import Summary, Tensor


def batching(summary: Summary) -> Batching:
    """Return whether the server puts requests together, and why."""
    found = summary.batching
    if not summary.batched and found is not None:
        return Batching(**found.model_dump())
    if max(summary.batch_sizes) == 1:
        return _batching("Disabled", "LargestBatchIsOne", "the largest batch that is served is one item")
    if found is not None and found.mode == "Disabled":
        return Batching(**found.model_dump())
    if summary.signature.texts if summary.signature else any(one.dtype == "BYTES" for one in summary.inputs or ()):
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


def tensors(found: Iterable[Tensor] | None, batched: bool) -> tuple[ServedTensor, ...] | None:
    """Return the tensors of a request or an answer; None where they are not known, or too many for a status."""
    known = None if found is None else tuple(found)
    if known is None or len(known) > MOST_TENSORS or any(len(tensor.name) > MOST_NAME for tensor in known):
        return None
    return tuple(_on_the_wire(tensor, batched) for tensor in known)


def _on_the_wire(tensor: Tensor, batched: bool) -> ServedTensor:
    """Return the tensor as Triton has it, for which no shape is none: of a batch a vector is a column.

    Without batches a scalar is a vector of one.
    """
    is_bare = len(tensor.shape) == (1 if batched else 0)
    shape = (*tensor.shape, 1) if is_bare else tensor.shape
    source = tensor.source if tensor.source is not None and len(tensor.source) <= MOST_NAME else None
    return ServedTensor(name=tensor.name, datatype=tensor.dtype, shape=shape, source=source)
