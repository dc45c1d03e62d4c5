"""Whether what lies in a file of data fits the inputs of a model, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit

TOLD_NAMES = 10
UNNAMED = ""  # the array of an .npy


def chosen_for(found: Mapping[str, Any], inputs: Sequence[Tensor], where: str) -> dict[str, Any]:
    """What was found for each input, by the input's name.

    Raises:
        CalibrationDataUnfit: there is nothing for one.
    """
    if len(inputs) == len(found) == 1:
        return {inputs[0].name: next(iter(found.values()))}
    missing = [tensor.name for tensor in inputs if tensor.name not in found]
    if missing:
        told = "a single unnamed array" if list(found) == [UNNAMED] else some(map(repr, sorted(found))) or "nothing"
        raise CalibrationDataUnfit(
            f"{where} has nothing for the input {missing[0]!r}: it has {told}. Name each array or feature as the "
            "model's input is."
        )
    return {tensor.name: found[tensor.name] for tensor in inputs}


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape of the same rank is one of those wanted, where -1 is any length."""
    return all(open_or_length in {-1, length} for length, open_or_length in zip(shape, wanted))


def expect_finite(array: NDArray[Any], tensor: Tensor, where: str) -> NDArray[Any]:
    """The array, held to have no number that is not finite.

    Raises:
        CalibrationDataUnfit: it has one.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CalibrationDataUnfit(f"{where}: a sample for the input {tensor.name!r} has a value that is not finite.")
    return array


def some(names: Iterable[str]) -> str:
    """The first of the names, and that there are more."""
    told = list(islice(names, TOLD_NAMES + 1))
    return ", ".join([*told[:TOLD_NAMES], *(["..."] if len(told) > TOLD_NAMES else [])])


def shape_told(shape: Sequence[int]) -> str:
    """The shape in words."""
    return f"[{', '.join('any' if length < 0 else str(length) for length in shape)}]"
