# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Padding that becomes a part of max pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import before, frozen, on_a_gpu, rewritten
from tftrt_runtime.convert import padding, pooling

# How ResNet and DenseNet begin.
STEM: dict[str, Any] = {"size": 32, "pads": ((3, 3), (3, 3)), "pool_pads": ((1, 1), (1, 1))}


def stem(
    size: int | None,
    pads: tuple[tuple[int, int], ...],
    pool_pads: tuple[tuple[int, int], ...],
    pool: tuple[int, int] = (3, 2),
    activation: Any = tf.nn.relu,
    value: float = 0,
    convolution: str = "VALID",
    **also: bool,
) -> Any:
    """A convolution with a kernel of 7 and a stride of 2, batch normalization, activation and pooling with padding."""
    random = np.random.default_rng(5)
    weights = tf.Variable(random.normal(size=(7, 7, 3, 4)).astype(np.float32))
    bias, offset, mean = (tf.constant(random.normal(size=4).astype(np.float32)) for _ in range(3))
    scale, variance = (tf.constant(random.uniform(0.5, 1.5, 4).astype(np.float32)) for _ in range(2))

    def network(x: Any) -> Any:
        if pads:
            x = tf.pad(x, [(0, 0), *pads, (0, 0)])
        x = tf.nn.bias_add(tf.nn.conv2d(x, weights, 2, convolution), bias)
        x = before = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, mean, variance, is_training=False)[0]
        x = active = activation(x)
        x = tf.pad(x, [(0, 0), *pool_pads, (0, 0)], constant_values=value)
        x = tf.nn.max_pool2d(x, pool[0], pool[1], "VALID")
        if also.get("before"):
            return tf.concat([tf.reduce_sum(before, [1, 2]), tf.reduce_sum(x, [1, 2])], axis=1)
        if also.get("active"):
            return tf.concat([tf.reduce_sum(active, [1, 2]), tf.reduce_sum(x, [1, 2])], axis=1)
        return tf.nn.conv2d(x, tf.ones((1, 1, 4, 2)), 1, "VALID")

    return frozen(network, [None, size, size, 3])


def folded(function: Any) -> tuple[int, Any]:
    """How many were folded, and the function of the folded graph."""
    return rewritten(function, pooling.fold)


def operations(function: Any) -> list[str]:
    return [operation.type for operation in function.graph.get_operations()]


def assert_same(function: Any, other: Any, size: int) -> None:
    x = tf.constant(np.random.default_rng(6).normal(size=(2, size, size, 3)).astype(np.float32))
    np.testing.assert_array_equal(other(x)[0].numpy(), function(x)[0].numpy())


@pytest.mark.parametrize(
    ("network", "cut"),
    [
        pytest.param(STEM, True, id="ResNet and DenseNet"),
        pytest.param({**STEM, "activation": tf.nn.relu6}, True, id="another activation"),
        pytest.param({**STEM, "pads": ((3, 2), (3, 2))}, True, id="a convolution that uses all of its padding"),
        pytest.param({**STEM, "size": 34}, False, id="an odd size"),
        pytest.param({**STEM, "pads": ((3, 3), (3, 5))}, True, id="an odd size along one axis"),
        pytest.param({**STEM, "pool_pads": ((0, 1), (0, 1))}, False, id="SAME as it is"),
        pytest.param({**STEM, "pool_pads": ((0, 1), (1, 1))}, True, id="SAME along one axis"),
    ],
)
def test_a_folded_network_answers_the_same(network: dict[str, Any], cut: bool) -> None:
    function = stem(**network)
    count, other = folded(function)
    assert count == 1
    assert operations(other).count("Pad") == 1  # of the convolution
    assert ("Slice" in operations(other)) == cut
    assert_same(function, other, network["size"])


def test_the_batch_stays_open_and_nothing_is_transposed_around_the_cut() -> None:
    _, other = folded(stem(**STEM))
    _, other = rewritten(other, padding.fold)
    assert other.outputs[0].shape.as_list() == [None, 8, 8, 2]
    nodes = on_a_gpu(other)
    (cut,) = (node for node in nodes.values() if node.op == "Slice")
    assert nodes[cut.input[0]].op == "MaxPool"
    assert [kind for kind in before(nodes, "MaxPool") if kind != "Identity"] == [
        "Relu",
        "FusedBatchNormV3",
        "BiasAdd",
        "Conv2D",
        "Pad",
        "Transpose",
    ]


@pytest.mark.parametrize(
    "network",
    [
        pytest.param({**STEM, "activation": tf.identity}, id="values may be negative"),
        pytest.param({**STEM, "activation": tf.nn.elu}, id="an activation that is negative, too"),
        pytest.param({**STEM, "value": 1.0}, id="ones"),
        pytest.param({**STEM, "size": None}, id="the size is open"),
        pytest.param({**STEM, "active": True}, id="the activation is read elsewhere, too"),
        pytest.param({**STEM, "before": True}, id="the batch normalization is read elsewhere, too"),
        pytest.param({**STEM, "pads": (), "convolution": "SAME"}, id="the convolution pads itself"),
        pytest.param({**STEM, "pool": (3, 2), "pool_pads": ((2, 2), (2, 2))}, id="more than SAME ever pads"),
        pytest.param({**STEM, "pool": (5, 2), "pool_pads": ((2, 2), (2, 2))}, id="the last window reaches too far"),
    ],
)
def test_other_padding_stays(network: dict[str, Any]) -> None:
    graph = stem(**network).graph.as_graph_def()
    before = graph.SerializeToString(deterministic=True)
    assert pooling.fold(graph) == 0
    assert graph.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads", "more"),
    [
        (112, 3, 2, (1, 1), 1),
        (113, 3, 2, (1, 1), 0),
        (112, 3, 2, (0, 1), 0),
        (112, 3, 2, (0, 0), 0),
        (112, 3, 2, (2, 2), None),
        (8, 3, 1, (1, 1), 0),
        (7, 3, 2, (1, 3), None),  # one output more than SAME has, of nothing but padding
        (8, 2, 2, (1, 1), None),  # SAME never begins with padding here
    ],
)
def test_so_many_elements_more_make_it_same(
    size: int, kernel: int, stride: int, pads: tuple[int, int], more: int | None
) -> None:
    assert pooling.more_rows(size, kernel, stride, pads) == more
