"""Products of matrices, einsum, attention."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.operations.later import tf
from benchmarks.gpu.operations.operation import Operation, images, keras, of, rows, sequences, weights


def _equation(name: str, equation: str, *inputs: Any) -> Operation:
    return Operation(name, "Einsum", f"tf.einsum('{equation}', x, y)", of(lambda *x: tf.einsum(equation, *x)), inputs)


def _with_weights(name: str, equation: str, *shape: int) -> Operation:
    body = of(lambda x: tf.einsum(equation, x, weights(x.dtype, *shape)))
    return Operation(name, "Einsum", f"tf.einsum('{equation}', x, w)", body, (sequences(8, 16),))


def _attention(query: Any, key: Any, value: Any) -> Any:
    scores = tf.matmul(query, key, transpose_b=True) / tf.cast(4, query.dtype)
    return tf.matmul(tf.nn.softmax(scores), value)


def _causal(query: Any, key: Any, value: Any) -> Any:
    scores = tf.matmul(query, key, transpose_b=True) / tf.cast(4, query.dtype)
    length = tf.shape(scores)[1]
    seen = tf.linalg.band_part(tf.ones([length, length], query.dtype), -1, 0)
    return tf.matmul(tf.nn.softmax(scores - (1 - seen) * tf.cast(1e4, query.dtype)), value)


def _self_attention(dtype: Any) -> Any:
    class Itself(tf.keras.layers.Layer):  # type: ignore[misc]  # TensorFlow has no types
        """Attention of a sequence to itself."""

        def __init__(self) -> None:
            super().__init__(dtype=dtype)
            self.attention = tf.keras.layers.MultiHeadAttention(2, 8, dtype=dtype)

        def call(self, x: Any) -> Any:
            """What it answers."""
            return self.attention(x, x)

    return Itself()


HEADS = rows(2, 8, 16)
SEQUENCE = sequences(8, 16)
OPERATIONS = (
    Operation("dense", "MatMul, BiasAdd", "keras.layers.Dense(32) of rows",
              keras(lambda t: tf.keras.layers.Dense(32, dtype=t)), (rows(16),)),
    Operation("dense-of-a-sequence", "Tensordot (Reshape, MatMul)", "keras.layers.Dense(32) of sequences",
              keras(lambda t: tf.keras.layers.Dense(32, dtype=t)), (SEQUENCE,)),
    Operation("matmul-weights-transposed", "MatMul", "tf.matmul(x, w, transpose_b=True)",
              of(lambda x: tf.matmul(x, weights(x.dtype, 32, 16), transpose_b=True)), (rows(16),)),
    Operation("matmul-of-inputs", "BatchMatMulV2", "tf.matmul(x, y)", of(lambda x, y: tf.matmul(x, y)),
              (rows(8, 16), rows(16, 8))),
    Operation("matmul-transposed", "BatchMatMulV2", "tf.matmul(x, y, transpose_b=True)",
              of(lambda x, y: tf.matmul(x, y, transpose_b=True)), (SEQUENCE, SEQUENCE)),
    Operation("matmul-left-transposed", "BatchMatMulV2", "tf.matmul(x, y, transpose_a=True)",
              of(lambda x, y: tf.matmul(x, y, transpose_a=True)), (SEQUENCE, SEQUENCE)),
    Operation("matmul-broadcast", "BatchMatMulV2", "tf.matmul(x, w), x of four axes",
              of(lambda x: tf.matmul(x, weights(x.dtype, 16, 8))), (HEADS,)),
    Operation("matmul-constant-first", "BatchMatMulV2", "tf.matmul(w, x)",
              of(lambda x: tf.matmul(weights(x.dtype, 1, 4, 8), x)), (rows(8, 16),)),
    Operation("matrix-vector", "BatchMatMulV2", "tf.linalg.matvec(x, y)", of(lambda x, y: tf.linalg.matvec(x, y)),
              (rows(8, 16), rows(16))),
    Operation("tensordot", "Tensordot (Transpose, Reshape, MatMul)", "tf.tensordot(x, w, [[2], [0]])",
              of(lambda x: tf.tensordot(x, weights(x.dtype, 16, 4, 8), [[2], [0]])), (SEQUENCE,)),
    _with_weights("einsum-dense", "abc,cd->abd", 16, 32),
    _with_weights("einsum-heads", "abc,cde->abde", 16, 2, 8),
    _equation("einsum-matrices", "abc,acd->abd", SEQUENCE, rows(16, 8)),
    _equation("einsum-scores", "aecd,abcd->acbe", rows(8, 2, 16), rows(8, 2, 16)),
    _equation("einsum-values", "acbe,aecd->abcd", rows(2, 8, 8), rows(8, 2, 16)),
    _equation("einsum-heads-back", "abcd,acde->abe", rows(8, 2, 4), rows(2, 4, 16)),
    _equation("einsum-elementwise", "abc,abc->abc", SEQUENCE, SEQUENCE),
    _equation("einsum-dot", "abc,abc->ab", SEQUENCE, SEQUENCE),
    Operation("einsum-sum", "Einsum", "tf.einsum('abc->ac', x)", of(lambda x: tf.einsum("abc->ac", x)), (SEQUENCE,)),
    Operation("einsum-ellipsis", "Einsum", "tf.einsum('...ij,jk->...ik', x, w)",
              of(lambda x: tf.einsum("...ij,jk->...ik", x, weights(x.dtype, 16, 8))), (HEADS,)),
    Operation("attention", "BatchMatMulV2, Softmax", "tf.matmul, tf.nn.softmax, tf.matmul", of(_attention),
              (SEQUENCE, SEQUENCE, SEQUENCE)),
    Operation("attention-causal", "BatchMatMulV2, MatrixBandPart, Softmax", "the same, masked by tf.linalg.band_part",
              of(_causal), (SEQUENCE, SEQUENCE, SEQUENCE)),
    Operation("attention-keras", "Einsum, Softmax", "keras.layers.MultiHeadAttention(2, 8)", keras(_self_attention),
              (SEQUENCE,)),
    Operation("attention-dot-keras", "BatchMatMulV2, Softmax", "keras.layers.Attention()",
              of(lambda x, y: tf.keras.layers.Attention(dtype=x.dtype)([x, y])), (SEQUENCE, SEQUENCE)),
    Operation("outer-product", "Mul", "x[..., tf.newaxis] * y[:, tf.newaxis]",
              of(lambda x, y: x[..., tf.newaxis] * y[:, tf.newaxis]), (rows(16), rows(8))),
    Operation("triangle", "MatrixBandPart", "tf.linalg.band_part(x, -1, 0)",
              of(lambda x: tf.linalg.band_part(x, -1, 0)), (rows(8, 8),)),
    Operation("diagonal", "MatrixDiagPartV3", "tf.linalg.diag_part(x)", of(lambda x: tf.linalg.diag_part(x)),
              (rows(8, 8),)),
    Operation("squeeze-and-excite", "Mean, Conv2D, Sigmoid, Mul", "as in EfficientNet",
              of(lambda x: x * tf.sigmoid(tf.nn.conv2d(tf.reduce_mean(x, [1, 2], keepdims=True),
                                                       weights(x.dtype, 1, 1, 8, 8), 1, "SAME"))), (images(),)),
)  # fmt: skip
