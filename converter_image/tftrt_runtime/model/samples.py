"""Seeded inputs: the same batch for the unconverted model, for the converted one and for the server's warm-up."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tftrt_runtime.contract.artifact import Part, Sample, Tensor
from tftrt_runtime.model.dtypes import numpy_type

Batch = dict[str, NDArray[np.generic]]


def sample(
    inputs: Iterable[Tensor],
    open_dimension: int,
    chosen: Mapping[str, tuple[int, ...]],
    batched: bool = True,
    parts: Mapping[str, Part] | None = None,
) -> Sample:
    """The chosen sizes by input name; the other inputs' open dimensions all have `open_dimension`."""
    return Sample(
        shapes={
            tensor.name: chosen.get(tensor.name, _filled(tensor.sizes(batched), open_dimension)) for tensor in inputs
        },
        batched=batched,
        parts=dict(parts or {}),
    )


def batch(inputs: Iterable[Tensor], size: int, sample: Sample, up_to: int = 1) -> Batch:
    """One batch by input name, each of shape [size, ...] with the sample's sizes; without the first where it has none.

    Floats lie in [0, `up_to`), bytes (uint8) over their whole range; other integers are 0 or 1, which any vocabulary
    has. Texts are words, unless the sample has some of its own.
    """
    made = {}
    for index, tensor in enumerate(inputs):
        generator = np.random.default_rng([index, size])
        inner = sample.shapes.get(tensor.name) or _filled(tensor.sizes(sample.batched), sample.openDimension or 1)
        shape = (size, *inner) if sample.batched else inner
        if tensor.name in sample.texts:
            made[tensor.name] = _given(sample.texts[tensor.name], shape)
        else:
            made[tensor.name] = _values(generator, shape, numpy_type(tensor.dtype), up_to)
    for name, part in sample.parts.items():
        made[name] = _part(part, made[name], sample.parts, made)
    return made


def _given(texts: Sequence[str], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """As many of these texts as go into the shape, from the first on again where they are too few."""
    decoded = [base64.b64decode(text) for text in texts]
    return np.array(list(islice(cycle(decoded), int(np.prod(shape)))), dtype=np.object_).reshape(shape)


def _part(part: Part, drawn: NDArray[Any], parts: Mapping[str, Part], made: Batch) -> NDArray[Any]:
    """What an input that says how others lie can say of them, in place of what was drawn."""
    if part.kind == "Sizes":
        return np.array(part.within, drawn.dtype)
    count = len(drawn)
    if part.kind == "Places":
        places = np.linspace(0, np.prod(part.within) - 1, count).astype(np.int64)
        return np.stack(np.unravel_index(places, part.within), axis=1).astype(drawn.dtype)
    # Where rows of rows begin and end, there is one row fewer than numbers.
    rows = part.of in parts and parts[part.of].kind == "Rows"
    return np.linspace(0, len(made[part.of]) - rows, count).astype(drawn.dtype)


def _filled(sizes: Iterable[int], open_dimension: int) -> tuple[int, ...]:
    return tuple(open_dimension if length < 0 else length for length in sizes)


def _values(
    generator: np.random.Generator, shape: tuple[int, ...], kind: np.dtype[np.generic], up_to: int
) -> NDArray[np.generic]:
    if kind == np.object_:
        words = [f"sample {number}".encode() for number in generator.integers(0, 100, int(np.prod(shape)))]
        return np.array(words, dtype=np.object_).reshape(shape)
    # An array also where it has no dimensions.
    if kind.kind == "f":
        return np.asarray(generator.random(shape) * up_to).astype(kind)
    return np.asarray(generator.integers(0, 256 if kind == np.uint8 else 2, shape)).astype(kind)
