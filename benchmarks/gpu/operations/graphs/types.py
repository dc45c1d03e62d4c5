"""Inputs of other types than float32: int32, int64, bool, half, double."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import (
    Input,
    Operation,
    images,
    keras,
    of,
    rows,
    sequences,
    truths,
    weights,
    whole,
)

SMALL = whole(-50, 50)
HALF = "float16"


def _whole(name: str, operation: str, call: str, body: Any, kind: str, count: int = 2) -> Operation:
    return Operation(name, operation, call, of(body), (Input((16,), SMALL, kind),) * count)


OPERATIONS = (
    _whole("int32-add", "AddV2", "x + y, int32", lambda x, y: x + y, "int32"),
    _whole("int32-multiply", "Mul", "x * y, int32", lambda x, y: x * y, "int32"),
    _whole("int32-floor-divide", "FloorDiv", "x // 7, int32", lambda x: x // 7, "int32", 1),
    _whole("int32-maximum", "Maximum", "tf.maximum(x, y), int32", lambda x, y: tf.maximum(x, y), "int32"),
    _whole("int32-sum", "Sum", "tf.reduce_sum(x, -1), int32", lambda x: tf.reduce_sum(x, -1), "int32", 1),
    _whole("int32-equal", "Equal", "x == 3, int32", lambda x: tf.equal(x, 3), "int32", 1),
    _whole("int32-concat", "ConcatV2", "tf.concat([x, y], 1), int32", lambda x, y: tf.concat([x, y], 1), "int32"),
    Operation("int32-cast", "Cast", "tf.cast(x, tf.float32), int32", lambda dtype: lambda x: tf.cast(x, dtype) * 2,
              (Input((16,), SMALL, "int32"),)),
    Operation("int32-large", "AddV2", "x + 1, int32 beyond 2 ** 24", of(lambda x: x + 1),
              (Input((16,), whole(2**24, 2**30), "int32"),)),
    _whole("int64-add", "AddV2", "x + y, int64", lambda x, y: x + y, "int64"),
    Operation("int64-cast", "Cast", "tf.cast(x, tf.float32), int64", lambda dtype: lambda x: tf.cast(x, dtype) * 2,
              (Input((16,), SMALL, "int64"),)),
    Operation("bool-and", "LogicalAnd", "tf.logical_and(x, y)", of(lambda x, y: tf.logical_and(x, y)),
              (Input((16,), truths, "bool"),) * 2),
    Operation("bool-not", "LogicalNot", "tf.logical_not(x)", of(lambda x: tf.logical_not(x)),
              (Input((16,), truths, "bool"),)),
    Operation("bool-cast", "Cast", "tf.cast(x, tf.float32), bool", lambda dtype: lambda x: tf.cast(x, dtype) * 2,
              (Input((16,), truths, "bool"),)),
    Operation("half-add", "AddV2", "x + y, float16", of(lambda x, y: x + y), (images(), images()), computed_in=HALF),
    Operation("half-dense", "MatMul, BiasAdd", "keras.layers.Dense(32, dtype='float16')",
              keras(lambda t: tf.keras.layers.Dense(32, dtype=t)), (rows(16),), computed_in=HALF),
    Operation("half-convolution", "Conv2D", "keras.layers.Conv2D(16, 3, dtype='float16')",
              of(lambda x: tf.nn.conv2d(x, weights(x.dtype, 3, 3, 8, 16), 1, "SAME")), (images(),), computed_in=HALF),
    Operation("half-softmax", "Softmax", "tf.nn.softmax(x), float16", of(lambda x: tf.nn.softmax(x)), (rows(64),),
              computed_in=HALF),
    Operation("half-matmul", "BatchMatMulV2", "tf.matmul(x, y), float16",
              of(lambda x, y: tf.matmul(x, y, transpose_b=True)), (sequences(), sequences()), computed_in=HALF),
    Operation("half-mean", "Mean", "tf.reduce_mean(x, [1, 2]), float16", of(lambda x: tf.reduce_mean(x, [1, 2])),
              (images(),), computed_in=HALF),
    Operation("half-layer-normalization", "Mean, SquaredDifference, Rsqrt",
              "keras.layers.LayerNormalization(dtype='mixed_float16')",
              of(lambda x: tf.nn.batch_normalization(x, *tf.nn.moments(x, [-1], keepdims=True), None, None,
                                                     tf.cast(1e-3, x.dtype))), (sequences(),), computed_in=HALF),
    Operation("double-add", "AddV2", "x + y, float64", of(lambda x, y: x + y), (rows(16), rows(16)),
              computed_in="float64"),
)  # fmt: skip
