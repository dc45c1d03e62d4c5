"""An operation's graph as a model: a SavedModel, what it is asked, what it answers in float64. Imports TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.model.dtypes import TRITON_NAMES

from benchmarks.gpu.operations.operation import Array, Layer, Operation, asked

BATCH = 4
SIGNATURE = "serving_default"
SAME_GRAPH, NUMPY = "the same graph in {}", "NumPy in float64"


@dataclasses.dataclass(frozen=True)
class Network:
    """The graph of an operation with open batch; `dynamic` also where sizes are open that may be."""

    operation: Operation
    dynamic: bool

    def kinds(self) -> list[str]:
        """The type of each input."""
        return [self.operation.computed_in if one.kind == "float" else one.kind for one in self.operation.inputs]

    def names(self) -> list[str]:
        """The name of each input."""
        return [f"x{index}" for index in range(len(self.operation.inputs))]

    def specs(self) -> list[Any]:
        """What the function takes."""
        return [
            tf.TensorSpec([None, *self._sizes(index)], kind, name=name)
            for index, (name, kind) in enumerate(zip(self.names(), self.kinds(), strict=True))
        ]

    def tensors(self) -> tuple[Tensor, ...]:
        """The same as the product has it."""
        return tuple(
            Tensor(name=name, dtype=TRITON_NAMES[kind], shape=(-1, *(-1 if size is None else size for size in sizes)))
            for name, kind, sizes in zip(
                self.names(), self.kinds(), (self._sizes(index) for index in range(len(self.kinds()))), strict=True
            )
        )

    def samples(self) -> tuple[Sample, ...]:
        """The sizes that engines are built for: those that are asked, and before them half of those that are open."""
        given = self.operation.inputs
        whole = Sample(shapes={name: one.shape for name, one in zip(self.names(), given, strict=True)})
        less = Sample(shapes={name: one.smaller for name, one in zip(self.names(), given, strict=True)})
        return (less, whole) if self.dynamic and less != whole else (whole,)

    def asked(self) -> dict[str, Array]:
        """An input, by name; the numbers of it are ones that the type which is computed in has."""
        values = asked(self.operation.inputs, self.operation.seed, BATCH)
        return {name: one.astype(kind) for name, one, kind in zip(self.names(), values, self.kinds(), strict=True)}

    def save(self, folder: Path) -> None:
        """Write it as a SavedModel."""
        module = tf.Module()
        body = self._body(self.operation.computed_in)
        if isinstance(body, Layer):
            # Its variables alone: Keras' own way would save all of the layer's functions.
            module.kept = list(body.layer.weights)
        specs = dict(zip(self.names(), self.specs(), strict=True))

        def serve(**tensors: Any) -> dict[str, Any]:
            return _named(body(*(tensors[name] for name in specs)))

        module.serve = tf.function(serve, autograph=False).get_concrete_function(**specs)
        tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.serve})

    def exact(self) -> tuple[dict[str, Array], str]:
        """The answers in float64 on the CPU, by name, and what gave them."""
        kind = self.operation.reference_in
        values = [one.astype(kind) if one.dtype.kind == "f" else one for one in self.asked().values()]
        if self.operation.exact is not None:
            with np.errstate(all="ignore"):
                return _arrays(_named(self.operation.exact(*values))), NUMPY
        with tf.device("CPU:0"):
            body = self._body(kind)
            return _arrays(_named(body(*map(tf.constant, values)))), SAME_GRAPH.format(kind)

    def _body(self, kind: str) -> Any:
        """The operation in this type, its layer's weights filled."""
        body = self.operation.make(tf.as_dtype(kind))
        if isinstance(body, Layer):
            inputs = [
                tf.zeros((1, *one.shape), kind if one.kind == "float" else one.kind) for one in self.operation.inputs
            ]
            body.fill(*inputs)
        return body

    def _sizes(self, index: int) -> list[int | None]:
        one = self.operation.inputs[index]
        return [None if self.dynamic and axis in one.open else size for axis, size in enumerate(one.shape)]


def _named(answers: Any) -> dict[str, Any]:
    """The answers by name: y0, y1, ..."""
    several = answers if isinstance(answers, Sequence) else [answers]
    return {f"y{index}": answer for index, answer in enumerate(several)}


def _arrays(answers: dict[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(answer) for name, answer in answers.items()}
