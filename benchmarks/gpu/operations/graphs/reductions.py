"""Reductions."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Input, Operation, between, images, of, sequences, truths


def _reduction(name: str, operation: str, function: str, axis: Any, **options: Any) -> Operation:
    arguments = "".join(f", {key}={value}" for key, value in {"axis": axis, **options}.items())
    return Operation(name, operation, f"tf.{function}(x{arguments})",
                     of(lambda x: getattr(tf, function)(x, axis=axis, **options)), (images(),))  # fmt: skip


OPERATIONS = (
    _reduction("reduce-sum", "Sum", "reduce_sum", -1),
    _reduction("reduce-sum-of-pixels", "Sum", "reduce_sum", [1, 2], keepdims=True),
    _reduction("reduce-mean", "Mean", "reduce_mean", -1),
    _reduction("reduce-mean-of-all", "Mean", "reduce_mean", [1, 2, 3]),
    _reduction("reduce-max", "Max", "reduce_max", -1, keepdims=True),
    _reduction("reduce-min", "Min", "reduce_min", [1, 2]),
    Operation("reduce-product", "Prod", "tf.reduce_prod(x, axis=-1)", of(lambda x: tf.reduce_prod(x, axis=-1)),
              (images(values=between(0.5, 1.5)),)),
    Operation("reduce-all", "All", "tf.reduce_all(x, axis=-1)", of(lambda x: tf.reduce_all(x, axis=-1)),
              (Input((4, 3), truths, "bool"),)),
    Operation("reduce-any", "Any", "tf.reduce_any(x, axis=-1)", of(lambda x: tf.reduce_any(x, axis=-1)),
              (Input((4, 3), truths, "bool"),)),
    Operation("euclidean-norm", "Square, Sum, Sqrt", "tf.norm(x, axis=-1)", of(lambda x: tf.norm(x, axis=-1)),
              (sequences(),)),
    Operation("variance", "Mean, SquaredDifference", "tf.math.reduce_variance(x, axis=[1, 2])",
              of(lambda x: tf.math.reduce_variance(x, axis=[1, 2])), (images(),)),
)  # fmt: skip
