"""What holds of the tensors of a batch: the first dimension of each is the batch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NotOfTheBatch(Exception):  # noqa: N818 - it is said of an answer
    """An answer's first dimension is not the batch's, so that it is nobody's."""


Arrays = dict[str, Any]  # by tensor name, each [batch, ...]


def batch_size(arrays: Arrays) -> int:
    """The number of items, which is the first dimension of every tensor."""
    return int(next(iter(arrays.values())).shape[0])


def expect_batch(answers: Mapping[str, Any], size: int) -> None:
    """Hold that the answers are of so many items.

    Raises:
        NotOfTheBatch: an answer's first dimension is not the batch's.
    """
    for name, array in answers.items():
        if array.ndim == 0 or array.shape[0] != size:
            raise NotOfTheBatch(f"output {name!r} has shape {list(array.shape)} for a batch of {size}")
