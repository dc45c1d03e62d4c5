"""Numbers at the edges of FP16: it ends at 65,504, is coarse beyond 2,048, and has few digits below 6e-5."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Input, Operation, between, images, normal, of, rows, sequences, weights


def _edge(name: str, operation: str, call: str, body: Any, one: Input, bound: float = 1e-4) -> Operation:
    return Operation(name, operation, call, of(body), (one,), bound=bound)


def _normalized(x: Any) -> Any:
    centered = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True)
    return centered * tf.math.rsqrt(variance + tf.cast(1e-12, x.dtype))


HUNDREDS, THOUSANDS, TINY = normal(400.0), between(20_000, 60_000), between(1e-7, 1e-6)
OPERATIONS = (
    _edge("edge-sum", "Sum", "tf.reduce_sum(x, [1, 2]), which comes to 500,000", lambda x: tf.reduce_sum(x, [1, 2]),
          images(32, 32, 8, values=between(400, 600))),
    _edge("edge-mean", "Mean", "tf.reduce_mean(x, [1, 2]) of 1,024 numbers of 500", lambda x: tf.reduce_mean(x, [1, 2]),
          images(32, 32, 8, values=between(400, 600))),
    _edge("edge-mean-of-small", "Mean", "tf.reduce_mean(x, [1, 2]) of 1,024 numbers of 1e-6",
          lambda x: tf.reduce_mean(x, [1, 2]), images(32, 32, 8, values=TINY)),
    _edge("edge-product", "Mul", "x * x, up to 3.6e9", lambda x: x * x, rows(16, values=THOUSANDS)),
    _edge("edge-product-back", "Mul, Mul", "x * x * 1e-6, over 65,504 in between",
          lambda x: x * x * tf.cast(1e-6, x.dtype), rows(16, values=THOUSANDS)),
    _edge("edge-square-root", "Square, Sum, Sqrt", "tf.norm(x, axis=-1) of 400s", lambda x: tf.norm(x, axis=-1),
          rows(16, values=HUNDREDS)),
    _edge("edge-variance", "Mean, SquaredDifference", "tf.math.reduce_variance(x, -1) of 400s",
          lambda x: tf.math.reduce_variance(x, -1), rows(64, values=HUNDREDS)),
    _edge("edge-variance-far", "Mean, SquaredDifference", "tf.math.reduce_variance(x, -1), 1,000 off zero",
          lambda x: tf.math.reduce_variance(x, -1), rows(64, values=normal(1.0, 1000.0)), 1e-3),
    _edge("edge-layer-normalization", "Mean, Square, Rsqrt", "layer normalization, spelled out, of 400s", _normalized,
          sequences(values=HUNDREDS)),
    _edge("edge-layer-normalization-small", "Mean, Square, Rsqrt", "layer normalization, spelled out, of 1e-4s",
          _normalized, sequences(values=normal(1e-4))),
    _edge("edge-unit-normalization", "Square, Sum, Rsqrt", "tf.math.l2_normalize(x, -1) of 400s",
          lambda x: tf.math.l2_normalize(x, -1), rows(64, values=HUNDREDS)),
    _edge("edge-softmax", "Softmax", "tf.nn.softmax(x) of numbers up to 60,000", lambda x: tf.nn.softmax(x / 1000),
          rows(64, values=THOUSANDS)),
    _edge("edge-softmax-mask", "AddV2, Softmax", "tf.nn.softmax(x + mask), a mask of -1e9",
          lambda x: tf.nn.softmax(x + tf.constant([0.0] * 8 + [-1e9] * 8, x.dtype)), rows(16)),
    _edge("edge-softmax-mask-least", "AddV2, Softmax", "tf.nn.softmax(x + mask), a mask of float32's least number",
          lambda x: tf.nn.softmax(x + tf.constant([0.0] * 8 + [-3.4e38] * 8, x.dtype)), rows(16)),
    _edge("edge-log-softmax", "LogSoftmax", "tf.nn.log_softmax(x) of -100 to 100", lambda x: tf.nn.log_softmax(x),
          rows(64, values=between(-100, 100))),
    _edge("edge-exp", "Exp", "tf.exp(x), up to 1.6e5", lambda x: tf.exp(x), rows(16, values=between(8, 12))),
    _edge("edge-log", "Log", "tf.math.log(x + 1e-8) of 1e-7s", lambda x: tf.math.log(x + tf.cast(1e-8, x.dtype)),
          rows(16, values=TINY)),
    _edge("edge-divide-epsilon", "AddV2, RealDiv", "x / (x + 1e-8) of 1e-7s",
          lambda x: x / (x + tf.cast(1e-8, x.dtype)),
          rows(16, values=TINY)),
    _edge("edge-reciprocal", "Reciprocal", "1 / x of 1e-6s", lambda x: 1 / x, rows(16, values=TINY)),
    _edge("edge-sigmoid", "Sigmoid", "tf.sigmoid(x) of -20 to -10", lambda x: tf.sigmoid(x),
          rows(16, values=between(-20, -10))),
    _edge("edge-matmul", "MatMul", "tf.matmul(x, w) of 400s, 512 of them, over 65,504",
          lambda x: tf.matmul(x, weights(x.dtype, 512, 16, scale=1.0)), rows(512, values=between(300, 500)), 1e-3),
    _edge("edge-matmul-cancels", "MatMul", "tf.matmul(x, w), sums of 500 that cancel out",
          lambda x: tf.matmul(x, weights(x.dtype, 512, 16)), rows(512, values=normal(0.1, 30.0)), 1e-3),
    _edge("edge-convolution", "Conv2D", "tf.nn.conv2d(x, w) of 10,000s, over 65,504",
          lambda x: tf.nn.conv2d(x, weights(x.dtype, 3, 3, 8, 16, scale=1.0), 1, "SAME"),
          images(values=between(5000, 15_000)), 1e-3),
    _edge("edge-cast", "Cast", "tf.cast(x, tf.int32) of 20,000 to 60,000", lambda x: tf.cast(x + 1, tf.int32),
          rows(16, values=between(20_001, 60_000))),
    _edge("edge-timestamp", "Sub", "x - 1.6e9, seconds since 1970", lambda x: x - tf.cast(1.6e9, x.dtype),
          rows(16, values=between(1.6e9, 1.6e9 + 1e6)), 1e-3),
    _edge("edge-positions", "AddV2", "x + 0.25 of 2,000 to 4,000", lambda x: x + tf.cast(0.25, x.dtype),
          rows(16, values=between(2000, 4000))),
    _edge("edge-large-pool", "AvgPool", "tf.nn.avg_pool2d(x, 8, 8) of 30,000s",
          lambda x: tf.nn.avg_pool2d(x, 8, 8, "VALID"), images(values=between(20_000, 40_000))),
    _edge("edge-swish", "Sigmoid, Mul", "x * tf.sigmoid(x) of -400 to 400", lambda x: x * tf.sigmoid(x),
          rows(64, values=HUNDREDS)),
    _edge("edge-gelu", "Pow, Tanh", "tf.nn.gelu(x, approximate=True) of -100 to 100",
          lambda x: tf.nn.gelu(x, approximate=True), rows(64, values=between(-100, 100))),
)  # fmt: skip
