"""How a model is called: with batches of items, or a request at a time, and whether what it answers is of items.

Requests can be put together only where the first dimension of every input and output is the batch's. A signature that
says otherwise has a batch of a fixed size, none at all, a scalar, a table beside the batch, or the parts of a ragged or
sparse tensor; such a model is called with a request as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.model.composites import Composite
from tftrt_runtime.model.shapes import told

MOST_ITEMS = 4096  # the largest batch that a spec may ask for


@dataclass(frozen=True)
class Calls:
    """How the model is called.

    Without batches (`why_no_batches` says so) `batch_sizes` is the number of items of each call, and `input_shapes`
    have all dimensions. `inputs` are the signature's, but of one item where no batch may have more. `left_out` are
    outputs that are not of an item.
    """

    inputs: tuple[Tensor, ...]
    why_no_batches: str | None
    batch_sizes: tuple[int, ...]
    input_shapes: dict[str, ShapeRange]
    sample: Sample | None
    left_out: tuple[str, ...] = ()

    @property
    def batched(self) -> bool:
        """Whether it takes batches."""
        return self.why_no_batches is None


BATCHES = Calls((), None, (), {}, None)


def why_no_batches(inputs: Sequence[Tensor], composites: Sequence[Composite]) -> str | None:
    """Why the inputs are no batch's; None where each may have one in front."""
    for composite in composites:
        return f"{composite}, whose first dimensions differ"
    for tensor in inputs:
        if not tensor.shape:
            return f"input {tensor.name!r} is a scalar; bound in spec.source.values it is no input any more"
        if tensor.shape[0] != -1:
            return f"the first dimension of input {tensor.name!r}, {told(tensor.shape)}, has a fixed size"
    return None


def fixed_batch(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    """How many items a call has: the size that inputs and outputs have in front, 1 where that is not one."""
    sizes = {tensor.shape[0] if len(tensor.shape) > 1 else -1 for tensor in inputs}
    answered = {tensor.shape[0] for tensor in outputs if tensor.shape} - {-1}
    size = next(iter(sizes))
    return size if len(sizes) == 1 and answered <= sizes and 1 <= size <= MOST_ITEMS else 1


def of_one_item(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs for a batch of one item."""
    return tuple(tensor.model_copy(update={"shape": (1, *tensor.shape[1:])}) for tensor in inputs)


def of_another_number(answers: Mapping[str, Any], items: int) -> dict[str, str]:
    """The outputs that have not one answer for each of so many items, and what is said of them."""
    asked = "an item" if items == 1 else f"{items} items"
    return {
        name: f"output {name!r} has the shape {list(answer.shape)} for {asked}"
        for name, answer in answers.items()
        if answer.ndim == 0 or len(answer) != items
    }


def of_no_item(outputs: Sequence[Tensor], unranked: set[str]) -> dict[str, str]:
    """The outputs whose shapes in the signature are not those of items, and what is said of them."""
    return {
        tensor.name: f"output {tensor.name!r} has the shape {told(tensor.shape)}"
        for tensor in outputs
        if tensor.name not in unranked and (not tensor.shape or tensor.shape[0] != -1)
    }
