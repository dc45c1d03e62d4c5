# mypy: disable-error-code="misc, untyped-decorator, no-untyped-call"
"""Models whose items see each other, exported by mistake or on purpose; and an honest one that looks like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

FLOATS = tf.TensorSpec([None, 4], tf.float32)


def centered(x: Any) -> dict[str, Any]:
    """Each item less the mean of its batch."""
    return {"y": x - tf.reduce_mean(x, axis=0, keepdims=True)}


def similarity(queries: Any, candidates: Any) -> dict[str, Any]:
    """All queries with all candidates, as a contrastive model scores a batch."""
    return {"scores": tf.matmul(queries, candidates, transpose_b=True)}


def training(x: Any) -> dict[str, Any]:
    """A batch normalization that was left in training mode."""
    mean, variance = tf.nn.moments(x, axes=[0])
    return {"y": tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3)}


def distinct(x: Any) -> dict[str, Any]:
    """Whether no earlier item is the same."""
    same = tf.reduce_all(tf.equal(x[:, None], x[None]), axis=2)
    earlier = tf.linalg.band_part(tf.cast(same, tf.float32), -1, 0) - tf.eye(tf.shape(x)[0])
    return {"first": tf.equal(tf.reduce_sum(earlier, axis=1), 0.0)}


def best(x: Any) -> dict[str, Any]:
    """Whether the item is among the two best of its batch."""
    score = tf.reduce_sum(x, axis=1)
    least = tf.reduce_min(tf.math.top_k(score, tf.minimum(2, tf.size(score))).values)
    return {"best": tf.cast(score >= least, tf.int32)}


def running(x: Any) -> dict[str, Any]:
    """The sum of an item and all before it."""
    return {"total": tf.cumsum(x, axis=0)}


def share(x: Any) -> dict[str, Any]:
    """An average over the batch whose sum was forgotten: it depends on the number of items alone."""
    return {"y": x / tf.cast(tf.shape(x)[0], tf.float32)}


def numbered(x: Any) -> dict[str, Any]:
    """Each item and its place in the batch."""
    return {"y": x + tf.range(tf.shape(x)[0], dtype=tf.float32)[:, None]}


def padded(words: Any) -> dict[str, Any]:
    """Letters as numbers, as long as the longest text of the batch."""
    return {"letters": tf.strings.unicode_decode(words[:, 0], "UTF-8").to_tensor()}


def boxes(x: Any) -> dict[str, Any]:
    """Boxes [y, x, y, x], of which one that covers another's half is left out: over the whole batch, not an image."""
    area = (x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1])
    kept = tf.image.non_max_suppression(x, area, tf.shape(x)[0], iou_threshold=0.5)
    mask = tf.scatter_nd(kept[:, None], tf.ones_like(kept, tf.float32), tf.shape(x)[:1])
    return {"kept": x * mask[:, None]}


def sized(x: Any) -> dict[str, Any]:
    """Takes whole fours of items and no others."""
    return {"y": tf.reshape(tf.reshape(x, [-1, 4, 4]) * 2.0, [-1, 4])}


def squeezed(x: Any) -> dict[str, Any]:
    """Loses the batch's dimension where it is of one item."""
    alone = tf.equal(tf.shape(x)[0], 1)
    return {"y": tf.reshape(x, tf.cond(alone, lambda: tf.constant([4]), lambda: tf.shape(x)))}


def half(x: Any) -> dict[str, Any]:
    """Honest, in half precision: batch sizes have different kernels, and so other roundings."""
    weights = tf.constant(np.random.default_rng(1).normal(0, 0.05, (4, 512)), tf.float16)
    back = tf.constant(np.random.default_rng(2).normal(0, 0.05, (512, 4)), tf.float16)
    hidden = tf.nn.relu(tf.matmul(tf.cast(x, tf.float16), weights))
    return {"y": tf.cast(tf.matmul(hidden, back), tf.float32)}


def iris(x: Any) -> dict[str, Any]:
    """Honest, and small enough to be asked by hand."""
    weights = tf.constant(np.random.default_rng(5).normal(size=(4, 3)), tf.float32)
    return {"scores": tf.nn.softmax(tf.matmul(x, weights))}


def oddities(x: Any, words: Any) -> dict[str, Any]:
    """What travels otherwise than one may think: a vector, half precision, what is no number, any text."""
    return {"vector": tf.reduce_sum(x, axis=1), "half": tf.cast(x, tf.float16), "ratio": x / (x - x), "word": words}


def save(folder: Path, function: Callable[..., dict[str, Any]]) -> Path:
    """A SavedModel of the function, in a folder of its name."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    specs = [
        tf.TensorSpec([None, 1], tf.string, name=name)
        if name == "words"
        else tf.TensorSpec(FLOATS.shape, FLOATS.dtype, name=name)
        for name in names
    ]
    module = tf.Module()
    module.serve = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(folder / function.__name__), signatures={"serving_default": module.serve})
    return folder / function.__name__
