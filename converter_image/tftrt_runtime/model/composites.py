"""Ragged and sparse inputs, which a signature has as several dense ones. Imports TensorFlow.

A signature has `x` and `x_1` for a ragged input `x` (its values, and where its rows begin and end), and `x`, `x_1` and
`x_2` for a sparse one (where its values lie, the values, and its sizes). What they stand for only the functions know
that were saved beside the signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.checkpoint import graph_view
from tensorflow.python.eager.polymorphic_function import concrete_function

from tftrt_runtime.contract.artifact import Part, Tensor
from tftrt_runtime.model.dtypes import TRITON_NAMES

WHOLE_NUMBERS = {"INT32", "INT64"}
ROWS = 2  # of a ragged or sparse input that is made up


@dataclass(frozen=True)
class Composite:
    """An input of several parts, and the sizes that each part has where it is made up."""

    kind: str  # ragged, sparse
    names: tuple[str, ...]
    parts: dict[str, Part]
    sizes: dict[str, tuple[int, ...]]

    def __str__(self) -> str:
        """For a sentence."""
        return f"inputs {', '.join(map(repr, self.names))} are the parts of one {self.kind} tensor"


def found(loaded: Any, inputs: Sequence[Tensor], open_dimension: int) -> tuple[Composite, ...]:
    """The composite inputs among these of a loaded model's signature; an open dimension gets `open_dimension`."""
    by_name = {tensor.name: tensor for tensor in inputs}
    composites: list[Composite] = []
    for spec in _specs(loaded):
        parts = tf.nest.flatten(spec, expand_composites=True)
        for name in by_name:
            names = (name, *(f"{name}_{index}" for index in range(1, len(parts))))
            taken = {one for composite in composites for one in composite.names}
            if taken.isdisjoint(names) and all(_is(by_name.get(one), part) for one, part in zip(names, parts)):
                make = _ragged if isinstance(spec, tf.RaggedTensorSpec) else _sparse
                composites.append(make(spec, names, open_dimension))
    return tuple(composites)


def guessed(inputs: Sequence[Tensor], open_dimension: int) -> Iterator[Composite]:
    """What may be a ragged input where nothing says so: a vector of whole numbers, and each other input before it."""
    for rows in inputs:
        for values in inputs:
            if rows != values and rows.dtype in WHOLE_NUMBERS and rows.shape == (-1,) and values.shape[:1] == (-1,):
                sizes = {values.name: _filled(values.shape[1:], open_dimension), rows.name: (ROWS + 1,)}
                sizes[values.name] = (ROWS * open_dimension, *sizes[values.name])
                parts = {rows.name: Part(kind="Rows", of=values.name)}
                yield Composite("ragged", (values.name, rows.name), parts, sizes)


def _specs(loaded: Any) -> list[Any]:
    """The ragged and sparse arguments of the functions that were saved, each kind once."""
    objects, _ = graph_view.ObjectGraphView(loaded).breadth_first_traversal()
    functions = [
        function
        for thing in objects
        for function in (thing, *getattr(thing, "concrete_functions", ()))
        if isinstance(function, concrete_function.ConcreteFunction)
    ]
    specs = [spec for function in functions for spec in tf.nest.flatten(function.structured_input_signature)]
    kinds = [spec for spec in specs if isinstance(spec, (tf.RaggedTensorSpec, tf.SparseTensorSpec))]
    return [spec for index, spec in enumerate(kinds) if spec not in kinds[:index]]


def _is(tensor: Tensor | None, part: Any) -> bool:
    """Whether an input of the signature is this part of a composite one."""
    if tensor is None or tensor.dtype != TRITON_NAMES.get(part.dtype.name):
        return False
    shape = tf.TensorShape([None if size < 0 else size for size in tensor.shape])
    return bool(shape.is_compatible_with(part.shape))


def _ragged(spec: Any, names: tuple[str, ...], open_dimension: int) -> Composite:
    """Values, and for each dimension that is ragged, from the outside in, where rows begin and end."""
    values, *splits = names
    lengths = [ROWS * open_dimension**level for level in range(len(splits) + 1)]
    parts = {rows: Part(kind="Rows", of=of) for rows, of in zip(splits, (*splits[1:], values))}
    sizes: dict[str, tuple[int, ...]] = {rows: (length + 1,) for rows, length in zip(splits, lengths)}
    inner = spec.flat_values_spec.shape[1:] if spec.flat_values_spec else spec.shape[1 + len(splits) :]
    sizes[values] = (lengths[-1], *_filled([-1 if size is None else size for size in inner], open_dimension))
    return Composite("ragged", names, parts, sizes)


def _sparse(spec: Any, names: tuple[str, ...], open_dimension: int) -> Composite:
    """Where the values lie, the values, and the sizes of the whole."""
    places, values, whole = names
    first, *others = [-1 if size is None else size for size in spec.shape]
    within = (ROWS if first < 0 else first, *_filled(others, open_dimension))
    parts = {places: Part(kind="Places", within=within), whole: Part(kind="Sizes", within=within)}
    return Composite("sparse", names, parts, {places: (ROWS, len(within)), values: (ROWS,), whole: (len(within),)})


def _filled(sizes: Iterable[int], open_dimension: int) -> tuple[int, ...]:
    return tuple(open_dimension if length < 0 else length for length in sizes)
