"""Texts as the Open Inference Protocol has them: of each its length, four bytes little-endian, and its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH = struct.Struct("<I")


def read(data: bytes, shape: Sequence[int]) -> NDArray[np.object_]:
    """As many texts as the shape has elements.

    Raises:
        ValueError: there are more or fewer, or one is longer than what there is of it.
    """
    found = list(_read(data))
    expected = int(np.prod(shape, dtype=np.int64))
    if len(found) != expected:
        raise ValueError(f"expected {expected} string elements, got {len(found)}")
    return np.array([*found, None], np.object_)[:-1].reshape(shape)


def _read(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        begin = at + LENGTH.size
        if begin > len(data):
            raise ValueError(f"a string's length is four bytes, and {len(data) - at} are left")
        (length,) = LENGTH.unpack_from(data, at)
        at = begin + length
        if at > len(data):
            raise ValueError(f"expected a string of {length} bytes, but {len(data) - begin} are left")
        yield data[begin:at]


def written(texts: NDArray[Any]) -> bytes:
    """The bytes of all texts, the last dimension's one after the other."""
    return b"".join(LENGTH.pack(len(text)) + text for text in texts.reshape(-1).tolist())
