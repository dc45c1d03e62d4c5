"""Seeded inputs: the same batch for the unconverted model, for the converted one and for the server's warm-up."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.model.dtypes import numpy_type

Batch = dict[str, NDArray[np.generic]]


def sample(inputs: Iterable[Tensor], open_dimension: int, chosen: Mapping[str, tuple[int, ...]]) -> Sample:
    """The chosen sizes by input name; the other inputs' open dimensions all have `open_dimension`."""
    return Sample(shapes={tensor.name: chosen.get(tensor.name, _filled(tensor, open_dimension)) for tensor in inputs})


def batch(inputs: Iterable[Tensor], size: int, sample: Sample) -> Batch:
    """One batch by input name, each of shape [size, ...] with the sample's sizes.

    Floats lie in [0, 1), bytes (uint8) over their whole range; other integers are 0 or 1, which any vocabulary has.
    Texts are words, unless the sample has some of its own.
    """
    made = {}
    for index, tensor in enumerate(inputs):
        generator = np.random.default_rng([index, size])
        inner = sample.shapes.get(tensor.name) or _filled(tensor, sample.openDimension or 1)
        if tensor.name in sample.texts:
            made[tensor.name] = _given(sample.texts[tensor.name], (size, *inner))
        else:
            made[tensor.name] = _values(generator, (size, *inner), numpy_type(tensor.dtype))
    return made


def _given(texts: Sequence[str], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """As many of these texts as go into the shape, from the first on again where they are too few."""
    decoded = [base64.b64decode(text) for text in texts]
    return np.array(list(islice(cycle(decoded), int(np.prod(shape)))), dtype=np.object_).reshape(shape)


def _filled(tensor: Tensor, open_dimension: int) -> tuple[int, ...]:
    return tuple(open_dimension if length < 0 else length for length in tensor.shape[1:])


def _values(generator: np.random.Generator, shape: tuple[int, ...], kind: np.dtype[np.generic]) -> NDArray[np.generic]:
    if kind == np.object_:
        words = [f"sample {number}".encode() for number in generator.integers(0, 100, int(np.prod(shape)))]
        return np.array(words, dtype=np.object_).reshape(shape)
    if kind.kind == "f":
        return generator.random(shape).astype(kind)
    return generator.integers(0, 256 if kind == np.uint8 else 2, shape).astype(kind)
