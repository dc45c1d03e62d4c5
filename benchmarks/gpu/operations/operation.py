"""What a graph of the table is: one operation, as a model has it. Does not import TensorFlow by itself."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.gpu.operations.later import tf

Array = Any
Tensor = Any
Body = Callable[..., Any]  # of tensors; answers one, or a sequence of them
Make = Callable[[Any], Body]  # by the type that is computed in
Values = Callable[[np.random.Generator, tuple[int, ...]], Array]
Exact = Callable[..., Any]  # of arrays in float64

IMAGE = (16, 16, 8)
ROUNDED = 1e-4  # more than float32's rounding makes of a small graph, relative to the largest value


def normal(scale: float = 1.0, mean: float = 0.0) -> Values:
    """Numbers round `mean`."""
    return lambda random, shape: random.normal(mean, scale, shape)


def between(low: float, high: float) -> Values:
    """Numbers evenly between two."""
    return lambda random, shape: random.uniform(low, high, shape)


def whole(low: int, high: int) -> Values:
    """Whole numbers from `low` to `high` less one."""
    return lambda random, shape: random.integers(low, high, shape)


def truths(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """True and false."""
    return random.integers(0, 2, shape).astype(np.bool_)


@dataclass(frozen=True)
class Input:
    """An input, which has the batch before `shape`; a float input (`kind` is "float") has the type that is computed in.

    `open` are the axes of `shape` that a model may leave open, as the sizes of images and the lengths of texts.
    """

    shape: tuple[int, ...]
    values: Values = field(default_factory=normal)
    kind: str = "float"
    open: tuple[int, ...] = ()

    @property
    def smaller(self) -> tuple[int, ...]:
        """The sizes of an item where those that are open are half as large."""
        return tuple(size // 2 if axis in self.open else size for axis, size in enumerate(self.shape))


@dataclass(frozen=True)
class Operation:
    """A graph of one operation.

    `name` is its own, `operation` what TensorFlow's graphs call it, `call` how Python does. `exact` is the reference
    where TensorFlow has no kernel in float64 on the CPU: the same in NumPy; `reference_in` is float32 where there is
    neither. `bound` is how far float32 on the CPU may be from it, relative to the largest value. `computed_in` is the
    type of the model's own numbers.
    """

    name: str
    operation: str
    call: str
    make: Make
    inputs: tuple[Input, ...]
    exact: Exact | None = None
    bound: float = ROUNDED
    computed_in: str = "float32"
    reference_in: str = "float64"

    @property
    def seed(self) -> int:
        """Of its inputs."""
        return zlib.crc32(self.name.encode())


def images(*shape: int, values: Values | None = None) -> Input:
    """An input of images (or volumes, or series) with channels last, whose sizes may be open."""
    sizes = shape or IMAGE
    return Input(sizes, values or normal(), open=tuple(range(len(sizes) - 1)))


def rows(*shape: int, values: Values | None = None) -> Input:
    """An input of which nothing but the batch is open."""
    return Input(shape or (32,), values or normal())


def sequences(length: int = 8, width: int = 16, values: Values | None = None) -> Input:
    """An input of texts or series, whose length may be open."""
    return Input((length, width), values or normal(), open=(0,))


def of(body: Body) -> Make:
    """A graph without a layer's weights: the same in every type."""
    return lambda _dtype: body


def weights(dtype: Any, *shape: int, seed: int = 1, scale: float | None = None) -> Tensor:
    """A constant of a layer, of the same values in every type; they keep the size of what they are multiplied with."""
    fan_in = math.prod(shape[:-1]) if len(shape) > 1 else 1
    values = np.random.default_rng(seed).normal(0, scale or 1 / math.sqrt(fan_in), shape)
    return tf.constant(_rounded(values), dtype)


class Layer:
    """A layer of Keras with the same weights in every type."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, *inputs: Tensor) -> Any:
        """The layer's answer."""
        return self.layer(*inputs)

    def fill(self, *inputs: Tensor) -> None:
        """Make its weights, by calling it once, and give them values."""
        self.layer(*inputs)
        for number, variable in enumerate(self.layer.weights):
            variable.assign(tf.cast(_weight(variable, number), variable.dtype))


def keras(layer: Callable[[Any], Any]) -> Make:
    """A layer of Keras, made by the type that is computed in."""
    return lambda dtype: Layer(layer(dtype))


def _weight(variable: Any, number: int) -> Array:
    random, shape = np.random.default_rng(number), tuple(variable.shape)
    if "variance" in variable.name:
        return _rounded(random.uniform(0.5, 1.5, shape))
    if "gamma" in variable.name:
        return _rounded(random.normal(1, 0.1, shape))
    return _rounded(random.normal(0, 1 / math.sqrt(max(math.prod(shape[:-1]), 1)), shape))


def _rounded(values: Array) -> Array:
    """What FP16 has of them, so that no type has to round them, and an error is of what is computed."""
    return values.astype(np.float16).astype(np.float64)


def asked(inputs: Sequence[Input], seed: int, batch: int) -> list[Array]:
    """An array for each input. Float numbers are ones that FP16 has, but for those that are outside of its range."""
    random, made = np.random.default_rng(seed), []
    for one in inputs:
        values = np.asarray(one.values(random, (batch, *one.shape)))
        if one.kind == "float":
            with np.errstate(over="ignore"):
                half = _rounded(values)
            same = np.isfinite(half) & ((half != 0) | (values == 0))
            made.append(np.where(same, half, values.astype(np.float32).astype(np.float64)))
        else:
            made.append(values.astype(one.kind))
    return made
