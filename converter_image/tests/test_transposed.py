# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Transposed convolutions of other sizes than their strides make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, only, rewritten, stays
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import transposed


def network(kernel: int, stride: int, sizes: tuple[int, int], padding: str = "SAME", known: bool = False) -> Any:
    weights = np.random.default_rng(1).normal(size=(kernel, kernel, 3, 2)).astype(np.float32)

    def transpose(x: Any) -> Any:
        whole = sizes if known else tf.stack([tf.shape(x)[0], *sizes, 3])
        made = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=whole, filter=weights, out_backprop=x, strides=[1, stride, stride, 1], padding=padding
        )
        return tf.ensure_shape(made, [None, *sizes, 3]) + 1.0

    return transpose


@pytest.mark.parametrize("known", [True, False], ids=["sizes known", "sizes computed"])
@pytest.mark.parametrize(
    ("kernel", "stride", "sizes"),
    [(3, 2, (13, 9)), (4, 2, (13, 10)), (2, 3, (20, 13)), (1, 2, (13, 9)), (5, 4, (25, 18)), (3, 3, (19, 15))],
)
def test_one_of_an_odd_size_is_a_slice_of_a_larger_one(
    kernel: int, stride: int, sizes: tuple[int, int], known: bool
) -> None:
    given = [-(-size // stride) for size in sizes]
    function = frozen(network(kernel, stride, sizes, known=known), [None, *given, 2])
    places, made = rewritten(function, transposed.CROPPED)
    assert places == 1
    convolution = only(made, "Conv2DBackpropInput")
    assert convolution.get_attr("padding") == b"VALID"
    # Two numbers, which are constants whatever the batch: TF-TRT wants them so.
    assert convolution.inputs[0].op.type == "Const"
    x = tf.constant(np.random.default_rng(2).normal(size=(3, *given, 2)).astype(np.float32))
    assert_rounded_alike(made(x)[0].numpy(), function(x)[0].numpy(), terms=kernel**2 * 2)


@pytest.mark.parametrize(("sizes", "padding"), [((12, 8), "SAME"), ((13, 9), "VALID")])
def test_height_and_width_that_are_known_are_constants_though_the_batch_is_open(
    sizes: tuple[int, int], padding: str
) -> None:
    function = frozen(network(3, 2, sizes, padding), [None, 6, 4, 2])
    places, made = rewritten(function, transposed.SIZED)
    assert places == 1
    assert list(tf.make_ndarray(only(made, "Conv2DBackpropInput").inputs[0].op.get_attr("value"))) == list(sizes)
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 6, 4, 2)).astype(np.float32))
    np.testing.assert_array_equal(made(x)[0], function(x)[0])


def test_one_in_a_loop_is_too() -> None:
    function = frozen(in_a_loop(network(3, 2, (9, 7))), [None, 5, 4, 2])
    places, made = rewritten(function, transposed.CROPPED)
    assert places == 1
    x = tf.constant(np.random.default_rng(2).normal(size=(2, 5, 4, 2)).astype(np.float32))
    assert_rounded_alike(made(x)[0].numpy(), function(x)[0].numpy(), terms=3 * 3 * 2)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (network(3, 2, (12, 8)), [None, 6, 4, 2]),  # the stride times the input
        (network(3, 2, (13, 9), "VALID"), [None, 6, 4, 2]),
    ],
)
def test_what_tf_trt_makes_rightly_stays(function: Any, shape: list[int | None]) -> None:
    assert stays(frozen(function, shape).graph.as_graph_def(), transposed.CROPPED)


def test_one_whose_size_is_known_to_nobody_stays() -> None:
    weights = np.ones((3, 3, 3, 2), np.float32)

    def open_network(x: Any) -> Any:
        sizes = tf.shape(x)[1:3] * 2 - 1
        return tf.nn.conv2d_transpose(x, weights, tf.concat([tf.shape(x)[:1], sizes, [3]], 0), 2, "SAME")

    assert stays(frozen(open_network, [None, None, None, 2]).graph.as_graph_def(), transposed.CROPPED)


@pytest.mark.parametrize("sizes", [(12, 12), (11, 11)])
def test_one_of_several_groups_stays_for_its_channels_are_told_by_its_sizes(sizes: tuple[int, int]) -> None:
    """Such is the gradient of a grouped convolution."""
    weights = np.ones((3, 3, 3, 4), np.float32)

    def transpose(x: Any) -> Any:
        return tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.stack([tf.shape(x)[0], *sizes, 6]),
            filter=weights,
            out_backprop=x,
            strides=[1, 2, 2, 1],
            padding="SAME",
        )

    graph = frozen(transpose, [None, 6, 6, 4]).graph.as_graph_def()
    assert stays(graph, transposed.SIZED)
    assert stays(graph, transposed.CROPPED)
