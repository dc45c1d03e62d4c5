"""Poolings."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Array, Operation, images, keras, of


def _pool(kind: str, size: Any, strides: Any, padding: Any) -> Any:
    return of(lambda x: getattr(tf.nn, f"{kind}_pool2d")(x, size, strides, padding))


def _of_eight(x: Array) -> Array:
    """The cubes of 2 x 2 x 2, each along the third, the fifth and the seventh axis."""
    return x.reshape(-1, 4, 2, 4, 2, 4, 2, 4)


OPERATIONS = (
    Operation("max-pool", "MaxPool", "keras.layers.MaxPooling2D(2)", _pool("max", 2, 2, "VALID"), (images(),)),
    Operation("max-pool-same", "MaxPool", "keras.layers.MaxPooling2D(3, strides=2, padding='same')",
              _pool("max", 3, 2, "SAME"), (images(),)),
    Operation("max-pool-same-odd", "MaxPool", "keras.layers.MaxPooling2D(3, strides=2, padding='same'), 15 x 15",
              _pool("max", 3, 2, "SAME"), (images(15, 15, 8),)),
    Operation("max-pool-padded", "Pad, MaxPool", "keras.layers.ZeroPadding2D(1), MaxPooling2D(3, strides=2)",
              of(lambda x: tf.nn.max_pool2d(tf.pad(tf.nn.relu(x), [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")),
              (images(),)),
    Operation("max-pool-explicit", "MaxPool", "tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])",
              _pool("max", 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]]), (images(),)),
    Operation("max-pool-1d", "MaxPool", "keras.layers.MaxPooling1D(2)",
              keras(lambda t: tf.keras.layers.MaxPooling1D(2, dtype=t)), (images(16, 8),)),
    Operation("max-pool-3d", "MaxPool3D", "keras.layers.MaxPooling3D(2)",
              of(lambda x: tf.nn.max_pool3d(x, 2, 2, "VALID")), (images(8, 8, 8, 4),),
              lambda x: _of_eight(x).max(axis=(2, 4, 6))),
    Operation("max-pool-indices", "MaxPoolWithArgmax", "tf.nn.max_pool_with_argmax(x, 2, 2, 'VALID')",
              of(lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")), (images(),)),
    Operation("average-pool", "AvgPool", "keras.layers.AveragePooling2D(2)", _pool("avg", 2, 2, "VALID"), (images(),)),
    Operation("average-pool-same", "AvgPool", "keras.layers.AveragePooling2D(3, strides=2, padding='same')",
              _pool("avg", 3, 2, "SAME"), (images(),)),
    Operation("average-pool-same-stride-1", "AvgPool", "keras.layers.AveragePooling2D(3, strides=1, padding='same')",
              _pool("avg", 3, 1, "SAME"), (images(),)),
    Operation("average-pool-3d", "AvgPool3D", "keras.layers.AveragePooling3D(2)",
              of(lambda x: tf.nn.avg_pool3d(x, 2, 2, "VALID")), (images(8, 8, 8, 4),),
              lambda x: _of_eight(x).mean(axis=(2, 4, 6))),
    Operation("global-average-pool", "Mean", "keras.layers.GlobalAveragePooling2D()",
              keras(lambda t: tf.keras.layers.GlobalAveragePooling2D(dtype=t)), (images(),)),
    Operation("global-max-pool", "Max", "keras.layers.GlobalMaxPooling2D()",
              keras(lambda t: tf.keras.layers.GlobalMaxPooling2D(dtype=t)), (images(),)),
)  # fmt: skip
