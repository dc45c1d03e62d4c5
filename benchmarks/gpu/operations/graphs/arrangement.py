"""What moves numbers and computes none: shapes, concatenations, paddings, blocks."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Operation, images, of, rows, sequences

X = images()


def _padded(name: str, operation: str, mode: str) -> Operation:
    return Operation(name, operation, f"tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], '{mode}')",
                     of(lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], mode)), (X,))  # fmt: skip


def _blocks(x: Any) -> Any:
    return tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])


OPERATIONS = (
    Operation("concat", "ConcatV2", "keras.layers.Concatenate()([x, y])", of(lambda x, y: tf.concat([x, y], -1)),
              (X, images())),
    Operation("concat-of-rows", "ConcatV2", "tf.concat([x, y], 1)", of(lambda x, y: tf.concat([x, y], 1)),
              (sequences(), sequences())),
    Operation("split", "Split", "tf.split(x, 4, axis=-1)", of(lambda x: tf.split(x, 4, axis=-1)), (X,)),
    Operation("split-sizes", "SplitV", "tf.split(x, [5, 3], axis=-1)", of(lambda x: tf.split(x, [5, 3], axis=-1)),
              (X,)),
    Operation("stack", "Pack", "tf.stack([x, y], axis=1)", of(lambda x, y: tf.stack([x, y], axis=1)),
              (sequences(), sequences())),
    Operation("unstack", "Unpack", "tf.unstack(x, axis=1)", of(lambda x: tf.unstack(x, axis=1)), (rows(3, 16),)),
    Operation("tile", "Tile", "tf.tile(x, [1, 2, 1])", of(lambda x: tf.tile(x, [1, 2, 1])), (sequences(),)),
    Operation("repeat", "ExpandDims, Tile, Reshape", "tf.repeat(x, 2, axis=1)", of(lambda x: tf.repeat(x, 2, axis=1)),
              (sequences(),)),
    Operation("broadcast-to", "BroadcastTo", "tf.broadcast_to(x, [n, 4, 16])",
              of(lambda x: tf.broadcast_to(x, [tf.shape(x)[0], 4, 16])), (rows(1, 16),)),
    _padded("pad", "Pad", "CONSTANT"),
    Operation("pad-value", "PadV2", "tf.pad(x, paddings, constant_values=-1)",
              of(lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], constant_values=-1)), (X,)),
    Operation("pad-channels", "Pad", "tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, 8]])",
              of(lambda x: tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, 8]])), (X,)),
    _padded("pad-reflect", "MirrorPad", "REFLECT"),
    _padded("pad-symmetric", "MirrorPad", "SYMMETRIC"),
    Operation("roll", "Roll", "tf.roll(x, 2, axis=1)", of(lambda x: tf.roll(x, 2, axis=1)), (sequences(),)),
    Operation("transpose", "Transpose", "keras.layers.Permute((3, 1, 2))",
              of(lambda x: tf.transpose(x, [0, 3, 1, 2])), (X,)),
    Operation("transpose-with-the-batch", "Transpose", "tf.transpose(x, [1, 0, 2])",
              of(lambda x: tf.transpose(x, [1, 0, 2])), (sequences(),)),
    Operation("reshape", "Reshape", "keras.layers.Reshape((8, 2, 8))", of(lambda x: tf.reshape(x, [-1, 8, 2, 8])),
              (rows(8, 16),)),
    Operation("reshape-by-shape", "Shape, StridedSlice, Pack, Reshape",
              "tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], 2, 8])",
              of(lambda x: tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], 2, 8])), (sequences(),)),
    Operation("flatten", "Reshape", "keras.layers.Flatten()", of(lambda x: tf.reshape(x, [-1, 8 * 16])),
              (rows(8, 16),)),
    Operation("expand-dims", "ExpandDims", "tf.expand_dims(x, 1)", of(lambda x: tf.expand_dims(x, 1) * 2),
              (sequences(),)),
    Operation("squeeze", "Squeeze", "tf.squeeze(x, [1])", of(lambda x: tf.squeeze(x, [1]) * 2), (rows(1, 16),)),
    Operation("space-to-depth", "SpaceToDepth", "tf.nn.space_to_depth(x, 2)",
              of(lambda x: tf.nn.space_to_depth(x, 2)), (X,)),
    Operation("depth-to-space", "DepthToSpace", "tf.nn.depth_to_space(x, 2)",
              of(lambda x: tf.nn.depth_to_space(x, 2)), (X,)),
    Operation("space-to-batch", "SpaceToBatchND", "tf.space_to_batch(x, [2, 2], paddings)", of(_blocks), (X,)),
    Operation("batch-to-space", "SpaceToBatchND, BatchToSpaceND",
              "tf.batch_to_space(y, [2, 2], crops), and the other way before it",
              of(lambda x: tf.batch_to_space(_blocks(x) * 2, [2, 2], [[0, 0], [0, 0]])), (X,)),
    Operation("shape", "Shape", "tf.shape(x)", of(lambda x: tf.shape(x)), (X,)),
    Operation("zeros-like", "ZerosLike", "tf.zeros_like(x) + x[:, :1]",
              of(lambda x: tf.zeros_like(x) + x[:, :1]), (sequences(),)),
    Operation("fill", "Fill", "tf.fill([n, 4], 2.0) * x",
              of(lambda x: tf.fill([tf.shape(x)[0], 4], tf.cast(2, x.dtype)) * x), (rows(4),)),
    Operation("range", "Range, Cast", "tf.range(tf.shape(x)[1]), positions of a sequence",
              of(lambda x: x + tf.cast(tf.range(tf.shape(x)[1]), x.dtype)[:, None]), (sequences(),)),
)  # fmt: skip
