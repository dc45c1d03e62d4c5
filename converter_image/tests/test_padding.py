# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Padding that becomes a part of a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from tftrt_runtime.convert import padding

FIRST_LAYER = {"size": 224, "kernel": 7, "stride": 2, "pads": ((3, 3), (3, 3)), "channels": 3}
DEPTHWISE = {"size": 56, "kernel": 3, "stride": 2, "pads": ((0, 1), (0, 1)), "channels": 16, "depthwise": True}


def frozen(
    size: int | None,
    kernel: int,
    stride: int,
    pads: tuple[tuple[int, int], tuple[int, int]],
    channels: int,
    depthwise: bool = False,
    value: float = 0.0,
    data_pads: tuple[int, int] = (0, 0),
) -> Any:
    """A frozen function of one padded convolution, with weights that are variables before."""
    random = np.random.default_rng(5)
    shape = (kernel, kernel, channels + sum(data_pads), 1 if depthwise else 4)
    weights = tf.Variable(random.normal(size=shape).astype(np.float32))
    convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, channels], tf.float32)])
    def network(x: Any) -> Any:
        padded = tf.pad(x, [(0, 0), *pads, data_pads], constant_values=value)
        return tf.nn.relu(convolve(padded, weights, [1, stride, stride, 1], "VALID"))

    return convert_to_constants.convert_variables_to_constants_v2(network.get_concrete_function())


def folded(function: Any) -> tuple[int, Any]:
    """How many were folded, and the function of the folded graph."""
    graph = function.graph.as_graph_def()
    count = padding.fold(graph)
    names = [function.inputs[0].name], [function.outputs[0].name]
    return count, tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), []).prune(*names)


def batch(function: Any, size: int) -> Any:
    channels = function.inputs[0].shape[-1]
    return tf.constant(np.random.default_rng(6).normal(size=(2, size, size, channels)).astype(np.float32))


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(DEPTHWISE, id="a depthwise layer of MobileNet and EfficientNet"),
        pytest.param({**DEPTHWISE, "kernel": 5, "pads": ((1, 2), (1, 2))}, id="a larger depthwise kernel"),
        pytest.param({**DEPTHWISE, "depthwise": False}, id="a convolution over all channels"),
        pytest.param({**FIRST_LAYER, "stride": 1}, id="stride 1"),
        pytest.param({**FIRST_LAYER, "size": 225}, id="an odd size"),
    ],
)
def test_a_folded_network_answers_the_same(network: dict[str, Any]) -> None:
    function = frozen(**network)
    count, other = folded(function)
    x = batch(function, network["size"])
    expected, found = function(x)[0].numpy(), other(x)[0].numpy()
    assert count == 1
    assert "Pad" not in {operation.type for operation in other.graph.get_operations()}
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param({**FIRST_LAYER, "size": None}, id="how SAME pads depends on the size, which is open"),
        pytest.param({**FIRST_LAYER, "value": 1.0}, id="ones"),
        pytest.param(FIRST_LAYER, id="an element more before than SAME has: the first layer of ResNet and DenseNet"),
        pytest.param({**FIRST_LAYER, "kernel": 3, "pads": ((0, 1), (1, 0))}, id="one axis is SAME, the other not"),
        pytest.param({**FIRST_LAYER, "pads": ((9, 9), (9, 9))}, id="more padding than SAME ever has"),
        pytest.param({**FIRST_LAYER, "data_pads": (0, 1)}, id="channels are padded, too"),
    ],
)
def test_other_padding_stays(network: dict[str, Any]) -> None:
    graph = frozen(**network).graph.as_graph_def()
    before = graph.SerializeToString(deterministic=True)
    assert padding.fold(graph) == 0
    assert graph.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads", "same"),
    [
        (112, 3, 2, (0, 1), True),
        (112, 3, 2, (1, 0), False),
        (113, 3, 2, (1, 1), True),
        (224, 7, 2, (3, 3), False),
        (8, 3, 1, (1, 1), True),
        (8, 3, 1, (1, 2), False),
        (8, 3, 1, (9, 9), False),
        (8, 1, 2, (0, 0), True),
    ],
)
def test_same_is_one_padding_for_each_size(
    size: int, kernel: int, stride: int, pads: tuple[int, int], same: bool
) -> None:
    assert padding.is_same(size, kernel, stride, pads) == same
