"""Texts of numpy arrays with the NULs that they end in, which numpy cuts, by an array of their lengths beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit

BEHIND = "_byte_lengths"  # in the name of such an array behind the name of the input


def columns(there: Iterable[str], inputs: Sequence[Tensor]) -> dict[str, str]:
    """The arrays that have the lengths of texts, by the input that the texts are for; none is an input's own."""
    others = set(there) - {tensor.name for tensor in inputs}
    named = {tensor.name: f"{tensor.name}{BEHIND}" for tensor in inputs if tensor.dtype == "BYTES"}
    return {name: column for name, column in named.items() if column in others}


def restored(texts: NDArray[Any], lengths: NDArray[Any], most: int, tensor: Tensor, where: str) -> NDArray[Any]:
    """The texts with as many NULs at their ends as numpy has cut; each takes at most so many bytes in the file.

    Raises:
        CalibrationDataUnfit: these are no lengths of theirs.
    """
    column = f"{tensor.name}{BEHIND}"
    if lengths.dtype.kind not in "iu" or lengths.shape != texts.shape:
        raise CalibrationDataUnfit(
            f"{where}: {column!r} is {lengths.dtype} {list(lengths.shape)}, and the texts for the input "
            f"{tensor.name!r} are {list(texts.shape)}: give it their lengths in bytes, a whole number for each."
        )
    if (lengths < np.char.str_len(texts)).any() or (lengths > most).any():
        raise CalibrationDataUnfit(
            f"{where}: {column!r} has a length that is not that of its text for the input {tensor.name!r}: give it "
            "their lengths in bytes, with the NULs at their ends."
        )
    made = np.empty(texts.shape, np.object_)
    for place, text in np.ndenumerate(texts):
        made[place] = bytes(text).ljust(int(lengths[place]), b"\0")
    return made
