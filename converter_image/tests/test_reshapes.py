# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Shapes that are computed from the batch, and become constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, on_a_gpu, only, rewritten, stays
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import reshapes


def operations(function: Any) -> set[str]:
    """Those that the function's answers need."""
    return {node.op for node in on_a_gpu(function).values()}


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda x: tf.keras.layers.Reshape((1, 1, 24))(x), id="Keras' layer"),
        pytest.param(lambda x: tf.keras.layers.Reshape((3, -1))(x), id="with one size left open"),
        pytest.param(lambda x: tf.reshape(x, tf.stack([tf.shape(x, tf.int64)[0], 6, 4])), id="64-bit sizes"),
        pytest.param(lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:1], [2, 12]], 0)), id="put together otherwise"),
        pytest.param(
            lambda x: tf.keras.layers.Reshape((24,))(tf.keras.layers.Reshape((2, 12))(x)), id="one after the other"
        ),
    ],
)
def test_a_closed_network_answers_the_same_for_any_batch(network: Callable[[Any], Any]) -> None:
    function = frozen(lambda x: network(tf.nn.relu(x)) + 1.0, [None, 4, 6])
    assert "Shape" in operations(function)
    count, other = rewritten(function, reshapes.CLOSED)
    assert count >= 1
    assert operations(other) & {"Shape", "StridedSlice", "Pack", "ConcatV2"} == set()
    for size in (0, 1, 3):
        x = tf.constant(np.random.default_rng(3).normal(size=(size, 4, 6)).astype(np.float32))
        # A comparison and one sum of two, which IEEE 754 leaves one result: whatever computes them, the bits are equal.
        np.testing.assert_array_equal(other(x)[0].numpy(), function(x)[0].numpy())
    assert other.outputs[0].shape.as_list()[0] is None


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        pytest.param(lambda x: tf.reshape(x, tf.stack([2 * tf.shape(x)[0], 12])), [None, 4, 6], id="another batch"),
        pytest.param(
            lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], tf.shape(x)[1] * 6])),
            [None, None, 6],
            id="a length that is open",
        ),
        pytest.param(
            lambda x: tf.reshape(x, tf.stack([tf.cast(x[0, 0, 0], tf.int32), 4, 6])), [None, 4, None], id="values"
        ),
        pytest.param(lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], 0])), [None, 0, 6], id="nothing in it"),
        pytest.param(
            lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0] // 2, 4, -1])),
            [None, 4, 6],
            id="half of the batch",
        ),
        pytest.param(
            lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], -1, tf.shape(x)[0]])), [None, 4, 6], id="the batch twice"
        ),
        pytest.param(
            lambda x: tf.reshape(
                x, tf.cond(tf.shape(x)[0] > 2, lambda: tf.stack([tf.shape(x)[0], 24]), lambda: tf.constant([-1, 24]))
            ),
            [None, 4, 6],
            id="a condition, which is a function of its own",
        ),
        pytest.param(
            lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], tf.minimum(tf.shape(x)[0], 2), -1])),
            [None, 4, 6],
            id="another shape for one item",
        ),
        pytest.param(
            lambda x: tf.reshape(x, tf.stack([tf.minimum(tf.shape(x)[0], 1000), 24])),
            [None, None, 24],
            id="another shape for very many",
        ),
        pytest.param(lambda x: tf.reshape(x, [-1, 24]), [None, 4, 6], id="a constant already"),
        pytest.param(lambda x: x + 1.0, [None, 4, 6], id="no reshape"),
    ],
)
def test_other_shapes_stay(network: Callable[[Any], Any], shape: list[int | None]) -> None:
    graph = frozen(network, shape).graph.as_graph_def()
    assert stays(graph, reshapes.CLOSED)


def test_a_squeeze_and_excitation_block_computes_no_shape() -> None:
    """As in EfficientNet and MobileNetV3."""
    layers = tf.keras.layers
    x = entry = layers.Input((8, 8, 16))
    x = layers.Reshape((1, 1, 16))(layers.GlobalAveragePooling2D()(x))
    x = layers.Conv2D(16, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="swish")(x))
    model = tf.keras.Model(entry, layers.multiply([entry, x]))
    function = frozen(lambda x: model(x), [None, 8, 8, 16])
    assert "Shape" in operations(function)
    count, other = rewritten(function, reshapes.CLOSED)
    assert count == 1
    assert operations(other).isdisjoint({"Shape", "StridedSlice", "Pack", "IdentityN"})
    x = tf.constant(np.random.default_rng(4).normal(size=(2, 8, 8, 16)).astype(np.float32))
    # A mean of 64, convolutions over 16 and 4 channels, and two exponential functions of some ten operations.
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), 64 + 16 + 4 + 20)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda x: tf.keras.layers.Reshape((24,))(x), id="Keras' layer"),
        pytest.param(lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], -1, 12])), id="with one size left open"),
    ],
)
def test_a_reshape_in_a_loop_answers_the_same(network: Callable[[Any], Any]) -> None:
    function = frozen(in_a_loop(lambda x: network(tf.nn.relu(x))), [None, 4, 6])
    count, other = rewritten(function, reshapes.CLOSED)
    assert count == 1
    for size in (1, 3):
        x = tf.constant(np.random.default_rng(3).normal(size=(size, 4, 6)).astype(np.float32))
        np.testing.assert_array_equal(other(x)[0].numpy(), function(x)[0].numpy())


def test_a_reshape_whose_answer_is_fetched_answers_the_same() -> None:
    function = frozen(lambda x: tf.keras.layers.Reshape((3, -1))(x) + 1.0, [None, 4, 6])
    inner = only(function, "Reshape").outputs[0].name
    x = tf.ones((2, 4, 6))
    count, other = rewritten(function, reshapes.CLOSED, [inner])
    assert count == 1
    assert [answer.shape.as_list() for answer in other(x)] == [[2, 3, 8], [2, 3, 8]]
