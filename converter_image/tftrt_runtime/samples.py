"""Seeded inputs: the same batch for the unconverted model, for the converted one and for the server's warm-up."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.artifact import Tensor
from tftrt_runtime.dtypes import numpy_type

Batch = dict[str, NDArray[np.generic]]


def batch(inputs: Iterable[Tensor], size: int, open_dimension: int) -> Batch:
    """One batch by input name, each of shape [size, ...] with every other open dimension set to `open_dimension`.

    Floats lie in [0, 1), bytes (uint8) over their whole range; other integers are 0 or 1, which any vocabulary has.
    """
    made = {}
    for index, tensor in enumerate(inputs):
        generator = np.random.default_rng([index, size])
        shape = (size, *(open_dimension if length < 0 else length for length in tensor.shape[1:]))
        made[tensor.name] = _values(generator, shape, numpy_type(tensor.dtype))
    return made


def _values(generator: np.random.Generator, shape: tuple[int, ...], kind: np.dtype[np.generic]) -> NDArray[np.generic]:
    if kind == np.object_:
        words = [f"sample {number}".encode() for number in generator.integers(0, 100, int(np.prod(shape)))]
        return np.array(words, dtype=np.object_).reshape(shape)
    if kind.kind == "f":
        return generator.random(shape).astype(kind)
    return generator.integers(0, 256 if kind == np.uint8 else 2, shape).astype(kind)
