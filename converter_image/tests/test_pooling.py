# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Padding that becomes a part of max pooling."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import before, frozen, in_a_loop, on_a_gpu, only, rewritten, stays
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import padding, pooling

# A convolution of 7 x 7 over 3 channels, its bias, the batch normalization, a convolution of 1 x 1 over 4 channels.
TERMS = 7 * 7 * 3 + 1 + 4 + 4
# How ResNet begins.
STEM: dict[str, Any] = {"size": 32, "pads": ((3, 3), (3, 3)), "pool_pads": ((1, 1), (1, 1))}


def pointwise(x: Any, stride: int = 1, padding: str = "VALID", dilations: int = 1) -> Any:
    """What reads the pooling in a ResNet: convolutions of 1 x 1."""
    random = np.random.default_rng(7)
    kernels = (tf.constant(random.normal(size=(1, 1, 4, channels)).astype(np.float32)) for channels in (2, 3))
    read = [tf.nn.conv2d(x, kernel, stride, padding, dilations=dilations) for kernel in kernels]
    return tf.concat(read, axis=3)


def both(x: Any) -> Any:
    """Convolutions of 1 x 1, and a sum."""
    return tf.concat([tf.reduce_sum(pointwise(x), [1, 2]), tf.reduce_sum(x, [1, 2])], axis=1)


def wide(x: Any) -> Any:
    """A convolution of 3 x 3."""
    return tf.nn.conv2d(x, tf.ones((3, 3, 4, 2)), 1, "SAME")


def computed(x: Any) -> Any:
    """A convolution of 1 x 1 with what it reads."""
    return tf.nn.conv2d(x, tf.reduce_mean(x, [0, 1])[None, :1, :, None], 1, "VALID")


def stem(
    size: int | None,
    pads: tuple[tuple[int, int], ...],
    pool_pads: tuple[tuple[int, int], ...],
    pool: tuple[int, int] = (3, 2),
    activation: Any = tf.nn.relu,
    value: float = 0,
    convolution: str = "VALID",
    reader: Callable[[Any], Any] = pointwise,
    spelled: bool = False,
    index: Any = np.int32,
    loop: bool = False,
    **also: bool,
) -> Any:
    """A convolution with a kernel of 7 and a stride of 2, batch normalization, activation, pooling with padding.

    The batch normalization and the bias are spelled out, or operations of their own.
    """
    random = np.random.default_rng(5)
    kernel = random.normal(size=(7, 7, 3, 4)).astype(np.float32)
    weights = tf.Variable(kernel)
    bias, offset, mean = (tf.constant(random.normal(size=4).astype(np.float32)) for _ in range(3))
    scale, variance = (tf.constant(random.uniform(0.5, 1.5, 4).astype(np.float32)) for _ in range(2))

    def network(x: Any) -> Any:
        if pads:
            x = tf.pad(x, np.array([(0, 0), *pads, (0, 0)], index))
        x = tf.nn.conv2d(x, kernel if loop else weights, 2, convolution)
        if spelled:
            x += tf.reshape(bias, (1, 1, 1, -1))
            x = before = tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-3)
        else:
            x = tf.nn.bias_add(x, bias)
            x = before = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, mean, variance, is_training=False)[0]
        x = active = activation(x)
        x = tf.pad(x, [(0, 0), *pool_pads, (0, 0)], constant_values=value)
        x = tf.nn.max_pool2d(x, pool[0], pool[1], "VALID")
        if also.get("before"):
            return tf.concat([tf.reduce_sum(before, [1, 2]), tf.reduce_sum(x, [1, 2])], axis=1)
        if also.get("active"):
            return tf.concat([tf.reduce_sum(active, [1, 2]), tf.reduce_sum(x, [1, 2])], axis=1)
        return reader(x)

    return frozen(in_a_loop(network) if loop else network, [None, size, size, 3])


def folded(function: Any) -> tuple[int, Any]:
    """How many were folded, and the function of the folded graph."""
    return rewritten(function, pooling.FOLDED)


def operations(function: Any) -> list[str]:
    return [operation.type for operation in function.graph.get_operations()]


def convolutions(function: Any) -> list[Any]:
    return [operation for operation in function.graph.get_operations() if operation.type == "Conv2D"]


def assert_same(function: Any, other: Any, size: int) -> None:
    x = tf.constant(np.random.default_rng(6).normal(size=(2, size, size, 3)).astype(np.float32))
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), TERMS)


@pytest.mark.parametrize(
    ("network", "left_out"),
    [
        pytest.param(STEM, (1, 1), id="ResNet"),
        pytest.param({**STEM, "activation": tf.nn.relu6}, (1, 1), id="another activation"),
        pytest.param({**STEM, "pads": ((3, 2), (3, 2))}, (1, 1), id="a convolution that uses all of its padding"),
        pytest.param({**STEM, "size": 34}, (0, 0), id="an odd size"),
        pytest.param({**STEM, "pads": ((3, 3), (3, 5))}, (1, 0), id="an odd size along one axis"),
        pytest.param({**STEM, "pool_pads": ((0, 1), (0, 1))}, (0, 0), id="SAME as it is"),
        pytest.param({**STEM, "pool_pads": ((0, 1), (1, 1))}, (0, 1), id="SAME along one axis"),
        pytest.param({**STEM, "reader": partial(pointwise, stride=2)}, (1, 1), id="read with a stride"),
        pytest.param(
            {**STEM, "reader": partial(pointwise, stride=3)}, (1, 1), id="read with a stride that leaves some"
        ),
        pytest.param({**STEM, "reader": partial(pointwise, padding="SAME")}, (1, 1), id="read by SAME, which is VALID"),
        pytest.param({**STEM, "reader": partial(pointwise, dilations=2)}, (1, 1), id="read with a dilation of nothing"),
        pytest.param({**STEM, "size": 34, "reader": tf.identity}, (0, 0), id="an odd size, read by anything"),
        pytest.param({**STEM, "spelled": True}, (1, 1), id="ResNet of Keras 3"),
        pytest.param({**STEM, "index": np.int64}, (1, 1), id="64-bit paddings"),
    ],
)
def test_a_folded_network_answers_the_same(network: dict[str, Any], left_out: tuple[int, int]) -> None:
    function = stem(**network)
    count, other = folded(function)
    assert count == 1
    assert operations(other).count("Pad") == 1  # of the convolution
    kernels = [convolution.inputs[1].shape.as_list() for convolution in convolutions(other)[1:]]
    assert {tuple(kernel[:2]) for kernel in kernels} <= {(1 + left_out[0], 1 + left_out[1])}
    assert_same(function, other, network["size"])


def test_the_batch_stays_open_and_nothing_is_transposed_in_between() -> None:
    _, other = folded(stem(**STEM))
    _, other = rewritten(other, padding.SAME)
    _, other = rewritten(other, padding.MOVED)
    assert other.outputs[0].shape.as_list() == [None, 8, 8, 5]
    nodes = on_a_gpu(other)
    assert "Slice" not in {node.op for node in nodes.values()}
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
        pytest.param({**STEM, "reader": tf.nn.relu}, id="read by what is no convolution, as in DenseNet"),
        pytest.param({**STEM, "reader": both}, id="read by something else, too"),
        pytest.param({**STEM, "reader": wide}, id="read by a convolution of 3 x 3"),
        pytest.param({**STEM, "reader": computed}, id="read by a convolution whose kernel is computed"),
        pytest.param({**STEM, "pool": (3, 2), "pool_pads": ((2, 2), (2, 2))}, id="more than SAME ever pads"),
        pytest.param({**STEM, "pool": (5, 2), "pool_pads": ((2, 2), (2, 2))}, id="the last window reaches too far"),
    ],
)
def test_other_padding_stays(network: dict[str, Any]) -> None:
    graph = stem(**network).graph.as_graph_def()
    assert stays(graph, pooling.FOLDED)


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


def test_pooling_in_a_loop_answers_the_same() -> None:
    function = stem(**STEM, loop=True)
    count, other = folded(function)
    assert count == 1
    assert_same(function, other, 32)


@pytest.mark.parametrize("operation", ["Relu", "FusedBatchNormV3", "BiasAdd", "Pad", "MaxPool"])
def test_a_tensor_that_is_fetched_does_not_grow(operation: str) -> None:
    """A backbone of TensorFlow 1 whose outputs are its feature maps themselves."""
    function = stem(**STEM)
    fetched = [one.outputs[0].name for one in function.graph.get_operations() if one.type == operation]
    assert fetched
    assert stays(function.graph.as_graph_def(), pooling.FOLDED, fetched)


def test_what_is_fetched_before_the_padding_and_behind_the_pooling_is_what_it_was() -> None:
    function = stem(**{**STEM, "size": 34})
    fetched = [only(function, operation).outputs[0].name for operation in ("Relu", "MaxPool")]
    count, other = rewritten(function, pooling.FOLDED, fetched)
    assert count == 1
    x = tf.constant(np.random.default_rng(6).normal(size=(2, 34, 34, 3)).astype(np.float32))
    expected = function.prune([function.inputs[0].name], fetched)(x)
    for found, wanted in zip(other(x)[1:], expected, strict=True):
        assert_rounded_alike(found.numpy(), wanted.numpy(), TERMS)
