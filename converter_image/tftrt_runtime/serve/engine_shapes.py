"""Which shapes the engines take, so that a request with another one learns it in a sentence.

Engines of a batch size each and those of a range take every batch up to the largest. Under the strategy `Optimal` they
take the shapes that they were built for and no others: a smaller batch is filled up, or refused where the answer would
depend on what it is filled with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tftrt_runtime.contract.artifact import Sample
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.serve.batching import Arrays, batch_size


@dataclass(frozen=True)
class EngineShapes:
    """The profile strategy, None for an engine a batch size; and the sizes of each input that has open dimensions."""

    strategy: str | None
    batch_sizes: Sequence[int]
    input_shapes: Mapping[str, ShapeRange]
    may_fill: bool = True

    def refusal(self, inputs: Arrays) -> str | None:
        """Why the engines do not take a request of these inputs; None where they do."""
        found = {name: tuple(inputs[name].shape[1:]) for name in self.input_shapes}
        if self.strategy == "Optimal":
            built = self._exact()
            if found in built:
                return self._size_refusal(batch_size(inputs))
            return f"the engines take exactly the sizes {' or '.join(map(_told, built))}, not {_told(found)}"
        for name, shape in self.input_shapes.items():
            if not all(low <= size <= high for low, size, high in zip(shape.min, found[name], shape.max)):
                limits = f"from {list(shape.min)} to {list(shape.max)}" if shape.min != shape.max else list(shape.min)
                return f"the engines take {name!r} with the sizes {limits}, not {list(found[name])}"
        return None

    def _size_refusal(self, size: int) -> str | None:
        if self.may_fill or size in self.batch_sizes:
            return None
        return (
            f"the engines take exactly {' or '.join(map(str, self.batch_sizes))} items, not {size}, and as the answers "
            "of this model depend on all items of a batch, none can be added"
        )

    def filled(self, inputs: Arrays) -> Arrays:
        """The batch as the engines take it: filled up with copies of its last item where the size must be exact."""
        size = batch_size(inputs)
        if self.strategy != "Optimal" or size in self.batch_sizes:
            return inputs
        missing = min(built for built in self.batch_sizes if built > size) - size
        # An item that the model has seen in this batch anyway: zeros may be none that it takes.
        return {name: np.concatenate([array, np.repeat(array[-1:], missing, 0)]) for name, array in inputs.items()}

    def samples(self, usual: Sample) -> list[Sample]:
        """The samples of all sizes that the engines were built for, each once, the usual one first."""
        if not self.input_shapes:
            return [usual]
        made = [usual, *(usual.model_copy(update={"shapes": {**usual.shapes, **sizes}}) for sizes in self._exact())]
        return [sample for index, sample in enumerate(made) if sample not in made[:index]]

    def _exact(self) -> list[dict[str, Any]]:
        return [
            {name: getattr(shape, which) for name, shape in self.input_shapes.items()}
            for which in ("min", "opt", "max")
        ]


def _told(sizes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name!r} {list(lengths)}" for name, lengths in sizes.items())
