"""Normalizations. TensorFlow's fused kernels have no float64; where one is used, the reference is NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Array, Operation, images, keras, normal, of, rows, sequences, weights

EPSILON = 1e-3
FAR = normal(2.0, 5.0)


def _channels() -> tuple[Array, Array, Array, Array]:
    """Scale, offset, mean and variance of eight channels."""
    random = np.random.default_rng(5)
    made = random.normal(1, 0.1, 8), random.normal(0, 1, 8), random.normal(0, 1, 8), random.uniform(0.5, 1.5, 8)
    scale, offset, mean, variance = (values.astype(np.float16).astype(np.float64) for values in made)
    return scale, offset, mean, variance


def _fused(x: Any) -> Any:
    scale, offset, mean, variance = (tf.constant(values, tf.float32) for values in _channels())
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=EPSILON, is_training=False
    )[0]


def _fused_exact(x: Array) -> Array:
    scale, offset, mean, variance = _channels()
    return (x - mean) / np.sqrt(variance + EPSILON) * scale + offset


def _keras_rows_exact(epsilon: float) -> Any:
    def exact(x: Array) -> Array:
        centered = x - x.mean(axis=-1, keepdims=True)
        return centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + epsilon)

    return exact


def _spelled_out(x: Any) -> Any:
    centered = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True)
    return centered * tf.math.rsqrt(variance + tf.cast(1e-6, x.dtype))


def _local_exact(x: Array) -> Array:
    """Over five channels on both sides."""
    padded = np.pad(x**2, [(0, 0)] * 3 + [(5, 5)])
    near = sum(padded[..., shift : shift + x.shape[-1]] for shift in range(11))
    return x / np.sqrt(1 + near)


def _moments(x: Any) -> Any:
    mean, variance = tf.nn.moments(x, [1, 2], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + tf.cast(EPSILON, x.dtype))


def _group(x: Any) -> Any:
    grouped = tf.reshape(x, [-1, 16 * 16, 4, 2])
    mean, variance = tf.nn.moments(grouped, [1, 3], keepdims=True)
    return tf.reshape((grouped - mean) * tf.math.rsqrt(variance + tf.cast(EPSILON, x.dtype)), [-1, 16, 16, 8])


OPERATIONS = (
    Operation("batch-normalization", "FusedBatchNormV3", "keras.layers.BatchNormalization() of images", of(_fused),
              (images(),), _fused_exact),
    Operation("batch-normalization-rows", "Mul, AddV2", "keras.layers.BatchNormalization() of rows",
              keras(lambda t: tf.keras.layers.BatchNormalization(dtype=t)), (rows(8),)),
    Operation("convolution-batch-normalization", "Conv2D, FusedBatchNormV3",
              "keras.layers.Conv2D(8, 1), BatchNormalization()",
              of(lambda x: _fused(tf.nn.conv2d(x, weights(x.dtype, 1, 1, 8, 8), 1, "SAME"))), (images(),),
              lambda x: _fused_exact(x @ np.random.default_rng(1).normal(0, 8**-0.5, (8, 8)).astype(np.float16)
                                     .astype(np.float64))),
    Operation("layer-normalization", "FusedBatchNormV3 (in training mode)", "keras.layers.LayerNormalization()",
              keras(lambda t: tf.keras.layers.LayerNormalization(center=False, scale=False, dtype=t)),
              (sequences(values=FAR),), _keras_rows_exact(1e-3)),
    Operation("layer-normalization-small-epsilon", "Mean, SquaredDifference, Rsqrt",
              "keras.layers.LayerNormalization(epsilon=1e-6)",
              keras(lambda t: tf.keras.layers.LayerNormalization(epsilon=1e-6, dtype=t)), (sequences(values=FAR),)),
    Operation("layer-normalization-spelled-out", "Mean, Square, Rsqrt", "(x - mean) * tf.math.rsqrt(variance + 1e-6)",
              of(_spelled_out), (sequences(values=FAR),)),
    Operation("rms-normalization", "Square, Mean, Rsqrt", "x * tf.math.rsqrt(tf.reduce_mean(x ** 2) + 1e-6)",
              of(lambda x: x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)
                                             + tf.cast(1e-6, x.dtype))), (sequences(values=FAR),)),
    Operation("instance-normalization", "Mean, SquaredDifference, Rsqrt", "tf.nn.moments(x, [1, 2]), as tfa has it",
              of(_moments), (images(values=FAR),)),
    Operation("group-normalization", "Reshape, Mean, SquaredDifference", "keras.layers.GroupNormalization(4)",
              of(_group), (rows(16, 16, 8, values=FAR),)),
    Operation("unit-normalization", "Square, Sum, Maximum, Rsqrt", "tf.math.l2_normalize(x, axis=-1)",
              of(lambda x: tf.math.l2_normalize(x, axis=-1)), (rows(32),)),
    Operation("local-response-normalization", "LRN", "tf.nn.local_response_normalization(x)",
              of(lambda x: tf.nn.local_response_normalization(x)), (images(),), _local_exact),
)  # fmt: skip
