# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Dilation that is spelled out by the batch becomes a part of its convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, only, rewritten, stays
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import dilated

SPELLED_OUT = {"SpaceToBatchND", "BatchToSpaceND"}


def operations(function: Any) -> set[str]:
    return {operation.type for operation in function.graph.get_operations()}


def layer(kind: str, **options: Any) -> Any:
    tf.keras.utils.set_random_seed(3)
    made = {
        "convolution": lambda: tf.keras.layers.Conv2D(5, 3, **options),
        "depthwise": lambda: tf.keras.layers.DepthwiseConv2D(3, **options),
        "separable": lambda: tf.keras.layers.SeparableConv2D(5, 3, **options),
    }[kind]()
    made.build((None, 13, 14, 6))
    return made


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("rate", [2, 3, 4])
@pytest.mark.parametrize("kind", ["convolution", "depthwise", "separable"])
def test_what_keras_dilates_is_one_convolution_and_answers_the_same(kind: str, rate: int, padding: str) -> None:
    function = frozen(layer(kind, dilation_rate=rate, padding=padding), [None, 13, 14, 6])
    assert operations(function) >= SPELLED_OUT
    places, made = rewritten(function, dilated.ATTRIBUTE)
    assert places == 1
    assert not operations(made) & SPELLED_OUT
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 13, 14, 6)).astype(np.float32))
    assert_rounded_alike(made(x)[0].numpy(), function(x)[0].numpy(), terms=3 * 3 * 6)


def test_a_dense_convolution_has_the_dilation_as_an_attribute_and_a_depthwise_one_zeros_in_its_kernel() -> None:
    _, dense = rewritten(frozen(layer("convolution", dilation_rate=3), [None, 13, 14, 6]), dilated.ATTRIBUTE)
    assert list(only(dense, "Conv2D").get_attr("dilations")) == [1, 3, 3, 1]
    _, apart = rewritten(frozen(layer("depthwise", dilation_rate=3), [None, 13, 14, 6]), dilated.ATTRIBUTE)
    convolution = only(apart, "DepthwiseConv2dNative")
    assert list(convolution.get_attr("dilations")) == [1, 1, 1, 1]
    assert convolution.inputs[1].shape == (7, 7, 6, 1)


def test_one_in_a_loop_answers_the_same() -> None:
    weights = np.random.default_rng(1).normal(size=(3, 3, 6, 1)).astype(np.float32)

    def depthwise(x: Any) -> Any:
        return tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME", dilations=[2, 2])

    function = frozen(in_a_loop(depthwise), [None, 13, 14, 6])
    places, made = rewritten(function, dilated.ATTRIBUTE)
    assert places == 1
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 13, 14, 6)).astype(np.float32))
    assert_rounded_alike(made(x)[0].numpy(), function(x)[0].numpy(), terms=3 * 3)


def spread(network: Callable[[Any], Any], pads: Any = ((0, 0), (0, 0)), crops: Any = ((0, 0), (0, 0))) -> Any:
    """The function of a network between the two operations, with a block of 2 x 2."""

    def whole(x: Any) -> Any:
        y = network(tf.space_to_batch_nd(x, [2, 2], pads))
        return tf.raw_ops.BatchToSpaceND(input=y, block_shape=[2, 2], crops=crops)

    return frozen(whole, [None, 12, 12, 2])


WEIGHTS = np.ones((3, 3, 2, 1), np.float32)


def convolve(x: Any, **options: Any) -> Any:
    return tf.nn.conv2d(x, WEIGHTS, **{"strides": 1, "padding": "VALID", **options})


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(spread(lambda x: convolve(x, strides=2)), id="strides"),
        pytest.param(spread(lambda x: convolve(x, padding="SAME")), id="pads by itself"),
        pytest.param(spread(tf.nn.relu), id="no convolution"),
        pytest.param(spread(lambda x: tf.nn.relu(convolve(x))), id="something between"),
        pytest.param(spread(convolve, pads=((3, 1), (3, 1))), id="other padding"),
        pytest.param(spread(convolve, pads=((2, 2), (2, 2)), crops=((1, 0), (1, 0))), id="cropped in front"),
        pytest.param(frozen(layer("depthwise", dilation_rate=5), [None, 13, 14, 6]), id="large kernel"),
    ],
)
def test_what_is_something_else_stays(function: Any) -> None:
    assert stays(function.graph.as_graph_def(), dilated.ATTRIBUTE)


def test_a_convolution_that_is_fetched_stays() -> None:
    function = spread(convolve)
    graph = function.graph.as_graph_def()
    assert stays(graph, dilated.ATTRIBUTE, [only(function, "Conv2D").outputs[0].name])
