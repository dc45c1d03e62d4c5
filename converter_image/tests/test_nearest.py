# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""The nearest neighbour of a resized picture, by each of its rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, only, rewritten, stays
from tftrt_runtime.convert.rewrites import nearest


def network(size: Any, half: bool = True, corners: bool = False) -> Any:
    def resize(x: Any) -> Any:
        made = size(x) if callable(size) else tf.constant(size)
        resized = tf.raw_ops.ResizeNearestNeighbor(images=x, size=made, half_pixel_centers=half, align_corners=corners)
        return resized + 0.0

    return resize


def doubled(x: Any) -> Any:
    return tf.shape(x)[1:3] * 2


def same(function: Any, made: Any, sizes: tuple[int, int] = (6, 4)) -> None:
    x = tf.constant(np.random.default_rng(2).normal(size=(2, *sizes, 3)).astype(np.float32))
    np.testing.assert_array_equal(made(x)[0], function(x)[0])


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((12, 12), [None, 6, 4, 3]),
        ((6, 4), [None, 6, 4, 3]),
        (doubled, [None, 6, 4, 3]),
        (doubled, [None, None, None, 3]),  # as Keras' UpSampling2D computes it
    ],
)
def test_where_sizes_are_so_many_times_the_others_half_pixels_are_not_needed(size: Any, shape: list[Any]) -> None:
    function = frozen(network(size), shape)
    assert stays(function.graph.as_graph_def(), nearest.LEFT)
    places, made = rewritten(function, nearest.WHOLE)
    assert places == 1
    assert not only(made, "ResizeNearestNeighbor").get_attr("half_pixel_centers")
    same(function, made)


@pytest.mark.parametrize(
    ("how", "shape"),
    [
        ({"size": (9, 6)}, [None, 6, 4, 3]),
        ({"size": (3, 2)}, [None, 6, 4, 3]),
        ({"size": (12, 12)}, [None, None, 4, 3]),
        ({"size": (12, 4 * 41)}, [None, 6, 4, 3]),  # of which floor(41 * (1 / 41)) is 0 in FP32
        ({"size": lambda x: tf.shape(x)[1:3] * 41}, [None, None, None, 3]),
        ({"size": (12, 8), "half": False, "corners": True}, [None, 6, 4, 3]),
    ],
)
def test_what_tensorrt_would_take_from_elsewhere_is_left_in_a_type_that_it_has_not(
    how: dict[str, Any], shape: list[Any]
) -> None:
    function = frozen(network(**how), shape)
    assert stays(function.graph.as_graph_def(), nearest.WHOLE)
    places, made = rewritten(function, nearest.LEFT)
    assert places == 1
    assert only(made, "ResizeNearestNeighbor").inputs[0].dtype == tf.float64
    same(function, made)


def test_one_in_a_loop_is_too() -> None:
    function = frozen(in_a_loop(network((9, 6))), [None, 6, 4, 3])
    places, made = rewritten(function, nearest.LEFT)
    assert places == 1
    same(function, made)


def test_the_old_rule_is_what_tensorrt_computes_and_stays() -> None:
    graph = frozen(network((9, 6), half=False), [None, 6, 4, 3]).graph.as_graph_def()
    assert stays(graph, nearest.WHOLE)
    assert stays(graph, nearest.LEFT)
