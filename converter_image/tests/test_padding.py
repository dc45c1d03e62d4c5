# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Padding that becomes a part of a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import before, frozen, in_a_loop, on_a_gpu, only, rewritten, stays
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import padding

FIRST_LAYER: dict[str, Any] = {"size": 224, "kernel": 7, "stride": 2, "pads": ((3, 3), (3, 3)), "channels": 3}
DEPTHWISE: dict[str, Any] = {
    **FIRST_LAYER,
    "size": 56,
    "kernel": 3,
    "pads": ((0, 1), (0, 1)),
    "channels": 16,
    "depthwise": True,
}


def padded(
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

    def network(x: Any) -> Any:
        x = tf.pad(x, [(0, 0), *pads, data_pads], constant_values=value)
        return tf.nn.relu(convolve(x, weights, [1, stride, stride, 1], "VALID"))

    return frozen(network, [None, size, size, channels])


def terms(network: dict[str, Any]) -> int:
    """How many products an element of the convolution adds."""
    return int(network["kernel"] ** 2 * (1 if network.get("depthwise") else network["channels"]))


def folded(function: Any) -> tuple[tuple[int, int], Any]:
    """How many were folded and left for TensorRT, and the function of the folded graph."""
    same, other = rewritten(function, padding.SAME)
    moved, other = rewritten(other, padding.MOVED)
    return (same, moved), other


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
    function = padded(**network)
    count, other = folded(function)
    assert count == (1, 0)
    assert "Pad" not in {operation.type for operation in other.graph.get_operations()}
    x = batch(function, network["size"])
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), terms(network))


@pytest.mark.parametrize(
    "network",
    [
        pytest.param({**FIRST_LAYER, "size": None}, id="how SAME pads depends on the size, which is open"),
        pytest.param(FIRST_LAYER, id="an element more before than SAME has: the first layer of ResNet and DenseNet"),
        pytest.param({**FIRST_LAYER, "kernel": 3, "pads": ((0, 1), (1, 0))}, id="one axis is SAME, the other not"),
        pytest.param({**FIRST_LAYER, "pads": ((9, 9), (9, 9))}, id="more padding than SAME ever has"),
    ],
)
def test_zeros_that_are_not_same_are_left_right_before_the_convolution_for_tensorrt(network: dict[str, Any]) -> None:
    function = padded(**network)
    assert before(on_a_gpu(function), "Conv2D") == ["Transpose", "Pad"]
    count, other = folded(function)
    assert count == (0, 1)
    x = batch(function, network["size"] or 32)
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), terms(network))
    operations = [operation for operation in before(on_a_gpu(other), "Conv2D") if operation != "Identity"]
    assert operations == ["Pad", "Transpose"]


def test_padv2_of_zeros_becomes_a_pad_which_tf_trt_knows() -> None:
    graph = padded(**FIRST_LAYER).graph.as_graph_def()
    (pad,) = (node for node in graph.node if node.op == "Pad")
    zero = graph.node.add(name="zero", op="Const")
    zero.attr["dtype"].type = tf.float32.as_datatype_enum
    zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0.0))
    pad.op = "PadV2"
    pad.input.append("zero")
    assert not padding.SAME.apply(graph)
    assert padding.MOVED.apply(graph) == 1
    assert [(node.op, len(node.input)) for node in graph.node if node.op.startswith("Pad")] == [("Pad", 2)]


@pytest.mark.parametrize(
    "network",
    [
        pytest.param({**FIRST_LAYER, "value": 1.0}, id="ones"),
        pytest.param({**FIRST_LAYER, "data_pads": (0, 1)}, id="channels are padded, too"),
    ],
)
def test_other_padding_stays(network: dict[str, Any]) -> None:
    graph = padded(**network).graph.as_graph_def()
    assert stays(graph, padding.SAME)
    assert stays(graph, padding.MOVED)


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


def in_loop(pads: tuple[tuple[int, int], tuple[int, int]]) -> Any:
    weights = np.random.default_rng(5).normal(size=(3, 3, 4, 4)).astype(np.float32)

    def network(x: Any) -> Any:
        return tf.nn.conv2d(tf.pad(x, [(0, 0), *pads, (0, 0)]), weights, 2, "VALID")

    return frozen(in_a_loop(network), [None, 8, 8, 4])


@pytest.mark.parametrize(
    ("pads", "counts"), [(((0, 1), (0, 1)), (1, 0)), (((1, 1), (1, 1)), (0, 1))], ids=["SAME", "another padding"]
)
def test_padding_in_a_loop_answers_the_same(
    pads: tuple[tuple[int, int], tuple[int, int]], counts: tuple[int, int]
) -> None:
    function = in_loop(pads)
    count, other = folded(function)
    assert count == counts
    assert_rounded_alike(other(batch(function, 8))[0].numpy(), function(batch(function, 8))[0].numpy(), 3 * 3 * 4)


def test_a_padding_that_is_fetched_is_what_it_was() -> None:
    function = padded(**FIRST_LAYER)
    pad = only(function, "Pad").outputs[0].name
    assert stays(function.graph.as_graph_def(), padding.MOVED, [pad])
    function = padded(**DEPTHWISE)
    pad, x = only(function, "Pad").outputs[0].name, batch(function, 56)
    count, other = rewritten(function, padding.SAME, [pad])
    assert count == 1
    answer, inner = other(x)
    assert_rounded_alike(answer.numpy(), function(x)[0].numpy(), terms(DEPTHWISE))
    np.testing.assert_array_equal(inner.numpy(), tf.pad(x, [(0, 0), (0, 1), (0, 1), (0, 0)]).numpy())


@pytest.mark.parametrize(("kind", "half"), [("float32", False), ("float16", True)])
def test_a_kernel_need_only_have_a_known_size(kind: str, half: bool) -> None:
    """Mixed precision casts it, and a loop gets it from outside."""
    weights = tf.Variable(tf.random.stateless_normal((3, 3, 4, 4), [1, 2]))

    def network(x: Any) -> Any:
        x = tf.pad(tf.cast(x, kind), [(0, 0), (0, 1), (0, 1), (0, 0)])
        return tf.cast(tf.nn.conv2d(x, tf.cast(weights, kind), 2, "VALID"), tf.float32)

    function = frozen(network, [None, 8, 8, 4])
    count, other = rewritten(function, padding.SAME)
    assert count == 1
    x = tf.ones((2, 8, 8, 4))
    np.testing.assert_allclose(other(x)[0].numpy(), function(x)[0].numpy(), atol=0.05 if half else 1e-4)


@pytest.mark.parametrize("operation", [tf.raw_ops.Conv2D, tf.raw_ops.DepthwiseConv2dNative], ids=["dense", "depthwise"])
@pytest.mark.parametrize(("pads", "same"), [(((1, 1), (1, 1)), 1), (((2, 0), (0, 3)), 0)])
def test_padding_that_a_convolution_names_itself_is_spelled_out_and_then_folded_where_it_can_be(
    operation: Any, pads: tuple[tuple[int, int], ...], same: int
) -> None:
    weights = np.random.default_rng(5).normal(size=(3, 3, 2, 4)).astype(np.float32)
    around = [0, 0, *pads[0], *pads[1], 0, 0]

    def network(x: Any) -> Any:
        options = {"padding": "EXPLICIT", "explicit_paddings": around}
        return tf.nn.relu(operation(input=x, filter=weights, strides=[1, 1, 1, 1], **options))

    function = frozen(network, [None, 8, 8, 2])
    places, spelled_out = rewritten(function, padding.EXPLICIT)
    assert places == 1
    (folds, _), made = folded(spelled_out)
    assert folds == same
    x = tf.constant(np.random.default_rng(6).normal(size=(2, 8, 8, 2)).astype(np.float32))
    for other in (spelled_out, made):
        assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), terms=3 * 3 * 2)
