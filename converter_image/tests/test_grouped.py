# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Convolutions of several groups: dense ones for TensorRT, or TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, on_a_gpu, only, rewritten, stays
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import grouped


def network(groups: int, channels: int, kernel: int = 3, **options: Any) -> Any:
    random = np.random.default_rng(1)
    weights = random.normal(size=(kernel, kernel, channels // groups, 2 * groups)).astype(np.float32)
    return lambda x: tf.nn.conv2d(x, weights, **{"strides": 1, "padding": "SAME", **options})


def kernel(function: Any) -> Any:
    return only(function, "Conv2D").inputs[1]


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"padding": "VALID"}, {"dilations": 2}])
def test_a_grouped_convolution_becomes_a_dense_one_that_answers_the_same(options: dict[str, Any]) -> None:
    function = frozen(network(4, 8, **options), [None, 9, 9, 8])
    places, made = rewritten(function, grouped.DENSE)
    assert places == 1
    assert kernel(made).shape == (3, 3, 8, 8)
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 9, 9, 8)).astype(np.float32))
    assert_rounded_alike(made(x)[0].numpy(), function(x)[0].numpy(), terms=3 * 3 * 8)


def test_one_in_a_loop_does_too() -> None:
    function = frozen(in_a_loop(network(2, 4)), [None, 5, 5, 4])
    places, made = rewritten(function, grouped.DENSE)
    assert places == 1
    x = tf.constant(np.random.default_rng(2).normal(size=(2, 5, 5, 4)).astype(np.float32))
    assert_rounded_alike(made(x)[0].numpy(), function(x)[0].numpy(), terms=3 * 3 * 4)


@pytest.mark.parametrize("rewrite", [grouped.DENSE, grouped.LEFT])
def test_a_convolution_of_one_group_stays(rewrite: Any) -> None:
    assert stays(frozen(network(1, 8), [None, 9, 9, 8]).graph.as_graph_def(), rewrite)


def test_a_large_one_keeps_its_kernel_which_tf_trt_does_not_know_to_be_a_constant() -> None:
    groups, width = 2, 1100
    weights = np.ones((1, 1, width, groups * width), np.float32)
    function = frozen(lambda x: tf.nn.relu(tf.nn.conv2d(x, weights, 1, "SAME")), [None, 2, 2, groups * width])
    assert stays(function.graph.as_graph_def(), grouped.DENSE)
    places, made = rewritten(function, grouped.LEFT)
    assert places == 1
    assert kernel(made).op.type == "PlaceholderWithDefault"
    x = tf.constant(np.random.default_rng(2).normal(size=(1, 2, 2, groups * width)).astype(np.float32))
    np.testing.assert_array_equal(made(x)[0], function(x)[0])
    # Grappler, which makes constants of what can be computed, is run before TF-TRT looks.
    nodes = on_a_gpu(made)
    (left,) = (node for node in nodes.values() if node.op == "Conv2D")
    assert nodes[left.input[1]].op == "PlaceholderWithDefault"
