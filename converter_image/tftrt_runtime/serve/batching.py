"""Requests put together into one batch and their answers taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class NotOfTheBatch(Exception):  # noqa: N818 - it is said of an answer
    """An answer's first dimension is not the batch's, so that it is nobody's."""


Arrays = dict[str, Any]  # by tensor name, each [batch, ...]


def batch_size(arrays: Arrays) -> int:
    """The number of items, which is the first dimension of every tensor."""
    return int(next(iter(arrays.values())).shape[0])


def size_buckets(largest: int) -> list[float]:
    """The sizes of a batch up to which they are counted together: powers of two, and the largest."""
    powers = (2**power for power in range(largest.bit_length()))
    return [float(size) for size in (*(power for power in powers if power < largest), largest)]


def same_shapes(requests: Sequence[Arrays]) -> list[list[int]]:
    """The requests' indices, those together whose tensors agree in all dimensions but the batch's."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for index, arrays in enumerate(requests):
        groups.setdefault(tuple(array.shape[1:] for array in arrays.values()), []).append(index)
    return list(groups.values())


def joined(requests: Sequence[Arrays]) -> Arrays:
    """One batch of all of them; a single request is not copied."""
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([arrays[name] for arrays in requests]) for name in requests[0]}


def split(answers: Arrays, sizes: Sequence[int]) -> list[Arrays]:
    """Each request's part of the answers.

    Raises:
        NotOfTheBatch: an answer's first dimension is not the batch's.
    """
    for name, array in answers.items():
        if array.ndim == 0 or array.shape[0] != sum(sizes):
            raise NotOfTheBatch(f"output {name!r} has shape {list(array.shape)} for a batch of {sum(sizes)}")
    ends = np.cumsum(sizes)
    return [{name: array[end - size : end] for name, array in answers.items()} for size, end in zip(sizes, ends)]
