"""Slices, gathers, what is largest, what is one of many, cumulative sums."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Input, Operation, images, of, rows, sequences, weights, whole

VOCABULARY = 50
IDS = Input((8,), whole(0, VOCABULARY), "int32", open=(0,))
ONE_ID = Input((1,), whole(0, 8), "int32")


def _embedding(ids: Input) -> tuple[Any, tuple[Input, ...]]:
    return lambda dtype: lambda x: tf.nn.embedding_lookup(weights(dtype, VOCABULARY, 16), x), (ids,)


def _scattered(x: Any) -> Any:
    """The first three columns to other places of each row."""
    turned = tf.transpose(x[:, :3])
    shape = tf.stack([8, tf.shape(x)[0]])
    return tf.transpose(tf.scatter_nd(tf.constant([[6], [1], [3]]), turned, shape))


OPERATIONS = (
    Operation("slice", "Slice", "tf.slice(x, [0, 2, 2, 0], [-1, 8, 8, 4])",
              of(lambda x: tf.slice(x, [0, 2, 2, 0], [-1, 6, 6, 4])), (images(),)),
    Operation("strided-slice", "StridedSlice", "x[:, 1:7:2, :, 2:]", of(lambda x: x[:, 1:7:2, :, 2:]), (images(),)),
    Operation("strided-slice-from-the-end", "StridedSlice", "x[:, :-1, 1:-1]", of(lambda x: x[:, :-1, 1:-1]),
              (images(),)),
    Operation("strided-slice-one", "StridedSlice", "x[:, -1] of a sequence", of(lambda x: x[:, -1]), (sequences(),)),
    Operation("strided-slice-new-axis", "StridedSlice", "x[:, tf.newaxis, ..., 0]",
              of(lambda x: x[:, tf.newaxis, ..., 0]), (images(),)),
    Operation("negative-stride", "StridedSlice", "x[:, ::-1]", of(lambda x: x[:, ::-1]), (sequences(),)),
    Operation("reverse", "ReverseV2", "tf.reverse(x, [1])", of(lambda x: tf.reverse(x, [1])), (sequences(),)),
    Operation("embedding", "GatherV2", "keras.layers.Embedding(50, 16), int32", *_embedding(IDS)),
    Operation("embedding-int64", "GatherV2", "keras.layers.Embedding(50, 16), int64",
              *_embedding(Input((8,), whole(0, VOCABULARY), "int64", open=(0,)))),
    Operation("gather-axis", "GatherV2", "tf.gather(x, [3, 0, 1], axis=2)",
              of(lambda x: tf.gather(x, [3, 0, 1], axis=2)), (sequences(),)),
    Operation("gather-per-item", "GatherV2", "tf.gather(x, indices, axis=1, batch_dims=1)",
              of(lambda x, indices: tf.gather(x, indices, axis=1, batch_dims=1)),
              (rows(8, 16), Input((3,), whole(0, 8), "int32"))),
    Operation("gather-nd", "GatherNd", "tf.gather_nd(x, indices, batch_dims=1)",
              of(lambda x, indices: tf.gather_nd(x, indices, batch_dims=1)), (rows(8, 16), ONE_ID)),
    Operation("scatter-nd", "ScatterNd", "tf.scatter_nd(indices, x, shape)", of(_scattered), (rows(8),)),
    Operation("top-k", "TopKV2", "tf.math.top_k(x, 5)", of(lambda x: tf.math.top_k(x, 5)), (rows(64),)),
    Operation("top-k-values", "TopKV2", "tf.math.top_k(x, 5).values", of(lambda x: tf.math.top_k(x, 5).values),
              (rows(64),)),
    Operation("sort", "TopKV2, ReverseV2", "tf.sort(x)", of(lambda x: tf.sort(x)), (rows(64),)),
    Operation("argmax", "ArgMax", "tf.argmax(x, -1), int64", of(lambda x: tf.argmax(x, -1)), (rows(64),)),
    Operation("argmax-int32", "ArgMax", "tf.argmax(x, -1, tf.int32)", of(lambda x: tf.argmax(x, -1, tf.int32)),
              (rows(64),)),
    Operation("argmax-of-pixels", "ArgMax", "tf.argmax(x, -1), for each pixel", of(lambda x: tf.argmax(x, -1)),
              (images(),)),
    Operation("argmin", "ArgMin", "tf.argmin(x, -1, tf.int32)", of(lambda x: tf.argmin(x, -1, tf.int32)),
              (rows(64),)),
    Operation("one-hot", "OneHot", "tf.one_hot(x, 50)", lambda dtype: lambda x: tf.one_hot(x, VOCABULARY, dtype=dtype),
              (IDS,)),
    Operation("cumulative-sum", "Cumsum", "tf.cumsum(x, axis=1)", of(lambda x: tf.cumsum(x, axis=1)), (sequences(),)),
    Operation("cumulative-product", "Cumprod", "tf.math.cumprod(x, axis=1)", of(lambda x: tf.math.cumprod(x, axis=1)),
              (sequences(),)),
    Operation("where-indices", "Where", "tf.where(x > 0)", of(lambda x: tf.where(x > 0)), (rows(8),)),
    Operation("boolean-mask", "Where, GatherV2", "tf.boolean_mask(x, x > 0)", of(lambda x: tf.boolean_mask(x, x > 0)),
              (rows(8),)),
    Operation("unique", "Unique", "tf.unique(tf.reshape(x, [-1])).y",
              of(lambda x: tf.unique(tf.reshape(x, [-1])).y), (IDS,)),
    Operation("segment-sum", "UnsortedSegmentSum", "tf.math.unsorted_segment_sum(x, ids, 4)",
              of(lambda x, ids: tf.math.unsorted_segment_sum(x, ids[:, 0] % 4, 4)), (rows(8), ONE_ID)),
    Operation("sequence-mask", "ExpandDims, Cast, Less", "tf.sequence_mask(lengths, 8)",
              lambda dtype: lambda x: tf.sequence_mask(x[:, 0], 8, dtype=dtype), (ONE_ID,)),
    Operation("reverse-sequence", "ReverseSequence", "tf.reverse_sequence(x, lengths, seq_axis=1)",
              of(lambda x, lengths: tf.reverse_sequence(x, lengths[:, 0], seq_axis=1, batch_axis=0)),
              (rows(8, 16), ONE_ID)),
    Operation("bucketize", "Bucketize", "keras.layers.Discretization([-1, 0, 1])",
              of(lambda x: tf.raw_ops.Bucketize(input=tf.cast(x, tf.float32), boundaries=[-1.0, 0.0, 1.0])),
              (rows(8),)),
)  # fmt: skip
