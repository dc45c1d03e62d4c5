"""Convolutions: their strides, paddings, dilations and groups, and their transposes."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Operation, images, keras, of, rows, weights

CHANNELS = 8


def _conv2d(strides: Any = 1, padding: Any = "SAME", dilations: Any = 1, kernel: int = 3) -> Any:
    return of(
        lambda x: tf.nn.conv2d(x, weights(x.dtype, kernel, kernel, CHANNELS, 16), strides, padding, dilations=dilations)
    )


def _depthwise(strides: int = 1, dilations: int = 1, padding: str = "SAME", multiplier: int = 1) -> Any:
    def body(x: Any) -> Any:
        kernel = weights(x.dtype, 3, 3, CHANNELS, multiplier)
        return tf.nn.depthwise_conv2d(x, kernel, [1, strides, strides, 1], padding, dilations=[dilations] * 2)

    return of(body)


def _transposed(size: int, strides: int, padding: str, kernel: int = 3) -> Any:
    def body(x: Any) -> Any:
        shape = [tf.shape(x)[0], size, size, 16]
        return tf.nn.conv2d_transpose(x, weights(x.dtype, kernel, kernel, 16, CHANNELS), shape, strides, padding)

    return of(body)


OPERATIONS = (
    Operation("conv1d", "Conv2D", "keras.layers.Conv1D(16, 3, padding='same')",
              keras(lambda t: tf.keras.layers.Conv1D(16, 3, padding="same", dtype=t)), (images(16, 8),)),
    Operation("conv1d-causal-dilated", "Conv2D", "keras.layers.Conv1D(16, 3, padding='causal', dilation_rate=2)",
              keras(lambda t: tf.keras.layers.Conv1D(16, 3, padding="causal", dilation_rate=2, dtype=t)),
              (images(16, 8),)),
    Operation("conv2d-same", "Conv2D", "tf.nn.conv2d(x, w, 1, 'SAME')", _conv2d(), (images(),)),
    Operation("conv2d-valid", "Conv2D", "tf.nn.conv2d(x, w, 1, 'VALID')", _conv2d(padding="VALID"), (images(),)),
    Operation("conv2d-1x1", "Conv2D", "keras.layers.Conv2D(16, 1)",
              keras(lambda t: tf.keras.layers.Conv2D(16, 1, dtype=t)), (images(),)),
    Operation("conv2d-bias-relu", "Conv2D", "keras.layers.Conv2D(16, 3, padding='same', activation='relu')",
              keras(lambda t: tf.keras.layers.Conv2D(16, 3, padding="same", activation="relu", dtype=t)), (images(),)),
    Operation("conv2d-stride-2", "Conv2D", "tf.nn.conv2d(x, w, 2, 'SAME')", _conv2d(strides=2), (images(),)),
    Operation("conv2d-stride-2-odd", "Conv2D", "tf.nn.conv2d(x, w, 2, 'SAME'), 15 x 15", _conv2d(strides=2),
              (images(15, 15, 8),)),
    Operation("conv2d-stride-1-2", "Conv2D", "tf.nn.conv2d(x, w, [1, 2], 'SAME')", _conv2d(strides=[1, 2]),
              (images(),)),
    Operation("conv2d-explicit", "Conv2D", "tf.nn.conv2d(x, w, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])",
              _conv2d(strides=2, padding=[[0, 0], [1, 1], [1, 1], [0, 0]]), (images(),)),
    Operation("conv2d-explicit-uneven", "Conv2D", "tf.nn.conv2d(x, w, 1, [[0, 0], [2, 0], [0, 1], [0, 0]])",
              _conv2d(padding=[[0, 0], [2, 0], [0, 1], [0, 0]]), (images(),)),
    Operation("conv2d-padded", "Pad, Conv2D", "keras.layers.ZeroPadding2D(1), Conv2D(16, 3, strides=2)",
              of(lambda x: tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
                                        weights(x.dtype, 3, 3, CHANNELS, 16), 2, "VALID")), (images(),)),
    Operation("conv2d-dilated", "Conv2D", "tf.nn.conv2d(x, w, 1, 'SAME', dilations=2)", _conv2d(dilations=2),
              (images(),)),
    Operation("conv2d-dilated-keras", "SpaceToBatchND, Conv2D, BatchToSpaceND",
              "tf.nn.convolution(x, w, padding='SAME', dilations=2) by tf.nn.with_space_to_batch",
              of(lambda x: tf.nn.with_space_to_batch(
                  x, [2, 2], "SAME",
                  lambda y, _blocks, _padding: tf.nn.conv2d(y, weights(x.dtype, 3, 3, CHANNELS, 16), 1, "VALID"),
                  filter_shape=[3, 3])), (images(),)),
    Operation("conv2d-grouped", "Conv2D", "keras.layers.Conv2D(16, 3, groups=4)",
              of(lambda x: tf.nn.conv2d(x, weights(x.dtype, 3, 3, CHANNELS // 4, 16), 1, "SAME")), (images(),)),
    Operation("conv2d-given-kernel", "Conv2D", "tf.nn.conv2d(x, w, 1, 'SAME'), w computed from the input",
              of(lambda x: tf.nn.conv2d(x, weights(x.dtype, 3, 3, CHANNELS, 16) * tf.reduce_max(tf.abs(x[:1, 0, 0, 0])),
                                        1, "SAME")), (images(),)),
    Operation("conv2d-channels-first", "Transpose, Conv2D", "NCHW by transposition: tf.transpose, tf.nn.conv2d",
              of(lambda x: tf.transpose(tf.nn.conv2d(tf.transpose(x, [0, 2, 3, 1]),
                                                     weights(x.dtype, 3, 3, CHANNELS, 16), 1, "SAME"), [0, 3, 1, 2])),
              (images(8, 16, 16),)),
    Operation("depthwise", "DepthwiseConv2dNative", "keras.layers.DepthwiseConv2D(3, padding='same')", _depthwise(),
              (images(),)),
    Operation("depthwise-stride-2", "DepthwiseConv2dNative", "keras.layers.DepthwiseConv2D(3, strides=2)",
              _depthwise(strides=2, padding="VALID"), (images(),)),
    Operation("depthwise-multiplier", "DepthwiseConv2dNative", "keras.layers.DepthwiseConv2D(3, depth_multiplier=2)",
              _depthwise(multiplier=2), (images(),)),
    Operation("depthwise-dilated", "SpaceToBatchND, DepthwiseConv2dNative, BatchToSpaceND",
              "keras.layers.DepthwiseConv2D(3, dilation_rate=2)", _depthwise(dilations=2), (images(),)),
    Operation("separable", "DepthwiseConv2dNative, Conv2D", "keras.layers.SeparableConv2D(16, 3, padding='same')",
              keras(lambda t: tf.keras.layers.SeparableConv2D(16, 3, padding="same", dtype=t)), (images(),)),
    Operation("conv3d", "Conv3D", "keras.layers.Conv3D(8, 3, padding='same')",
              of(lambda x: tf.nn.conv3d(x, weights(x.dtype, 3, 3, 3, 4, 8), [1] * 5, "SAME")), (images(8, 8, 8, 4),)),
    Operation("conv3d-stride-2", "Conv3D", "keras.layers.Conv3D(8, 3, strides=2)",
              of(lambda x: tf.nn.conv3d(x, weights(x.dtype, 3, 3, 3, 4, 8), [1, 2, 2, 2, 1], "VALID")),
              (images(8, 8, 8, 4),)),
    Operation("conv3d-transposed", "Conv3DBackpropInputV2", "keras.layers.Conv3DTranspose(8, 2, strides=2)",
              of(lambda x: tf.nn.conv3d_transpose(x, weights(x.dtype, 2, 2, 2, 8, 4),
                                                  [tf.shape(x)[0], 16, 16, 16, 8], 2, "SAME")), (rows(8, 8, 8, 4),)),
    Operation("transposed-same", "Conv2DBackpropInput", "keras.layers.Conv2DTranspose(16, 3, padding='same')",
              _transposed(16, 1, "SAME"), (rows(16, 16, 8),)),
    Operation("transposed-stride-2", "Conv2DBackpropInput",
              "keras.layers.Conv2DTranspose(16, 3, strides=2, padding='same')", _transposed(32, 2, "SAME"),
              (rows(16, 16, 8),)),
    Operation("transposed-stride-2-odd", "Conv2DBackpropInput",
              "tf.nn.conv2d_transpose(x, w, [n, 31, 31, 16], 2, 'SAME')", _transposed(31, 2, "SAME"),
              (rows(16, 16, 8),)),
    Operation("transposed-stride-2-even-kernel", "Conv2DBackpropInput",
              "keras.layers.Conv2DTranspose(16, 4, strides=2, padding='same')", _transposed(32, 2, "SAME", 4),
              (rows(16, 16, 8),)),
    Operation("transposed-valid", "Conv2DBackpropInput", "keras.layers.Conv2DTranspose(16, 3, strides=2)",
              _transposed(33, 2, "VALID"), (rows(16, 16, 8),)),
    Operation("transposed-keras", "Conv2DBackpropInput",
              "keras.layers.Conv2DTranspose(16, 3, strides=2, padding='same'), images of any size",
              keras(lambda t: tf.keras.layers.Conv2DTranspose(16, 3, strides=2, padding="same", dtype=t)), (images(),)),
    Operation("bias-add", "BiasAdd", "tf.nn.bias_add(x, b)", of(lambda x: tf.nn.bias_add(x, weights(x.dtype, 8))),
              (images(),)),
)  # fmt: skip
