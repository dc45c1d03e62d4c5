# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Layer normalization that becomes operations which TensorRT has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, only, rewritten, stays
from tests.rounding import assert_rounded_alike
from tftrt_runtime.convert.rewrites import normalization

FUSED = "FusedBatchNormV3"


def terms(row: int) -> int:
    """The roundings of a layer over rows of so many elements: a mean, a variance, and some operations on each."""
    return 2 * row + 16


def taken_apart(function: Any) -> tuple[int, Any]:
    """How many normalizations were replaced, and the function of the new graph."""
    return rewritten(function, normalization.FUSED)


def in_half_precision(function: Any) -> Any:
    """The function with every float of it in FP16, as an engine may compute it."""
    last = function.outputs[0].op.name
    graph = tf.compat.v1.graph_util.extract_sub_graph(function.graph.as_graph_def(), [last])
    for node in graph.node:
        for attribute in node.attr.values():
            if attribute.type == tf.float32.as_datatype_enum:
                attribute.type = tf.float16.as_datatype_enum
        if node.op == "Const" and node.attr["value"].tensor.dtype == tf.float32.as_datatype_enum:
            value = tf.make_ndarray(node.attr["value"].tensor)
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float16))
    names = [function.inputs[0].name], [function.outputs[0].name]
    return tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), []).prune(*names)


def operations(function: Any) -> set[str]:
    return {operation.type for operation in function.graph.get_operations()}


def normalized(x: Any, scale: Any = None, shape: Any = None, behind: Any = None) -> Any:
    """As Keras does it, unless told otherwise."""
    own = tf.shape(x)
    rows = tf.reduce_prod(own[:-1])
    around = tf.stack([1, rows, own[-1], 1]) if shape is None else shape
    channels = tf.reshape(x, around)
    ones = tf.ones([tf.shape(channels)[1]]) if scale is None else scale
    zeros = tf.zeros([tf.shape(channels)[1]])
    found, *_ = tf.compat.v1.nn.fused_batch_norm(channels, ones, zeros, epsilon=0.01, data_format="NCHW")
    return tf.reshape(found, own if behind is None else behind)


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        pytest.param([None, None, 48], (2, 5, 48), id="a sequence of open length"),
        pytest.param([None, 7, 48], (3, 7, 48), id="a sequence of one length"),
        pytest.param([4, 7, 48], (4, 7, 48), id="nothing is open"),
        pytest.param([None, 48], (3, 48), id="rows"),
        pytest.param([None, 3, 4, 48], (2, 3, 4, 48), id="a picture"),
    ],
)
def test_a_layer_of_keras_answers_the_same_without_batch_normalization(
    shape: list[int | None], given: tuple[int, ...]
) -> None:
    layer = tf.keras.layers.LayerNormalization(epsilon=0.01)
    layer.build(shape)
    random = np.random.default_rng(3)
    layer.gamma.assign(random.normal(size=48))
    layer.beta.assign(random.normal(size=48))
    function = frozen(lambda x: tf.nn.relu(layer(x)), shape)
    assert FUSED in operations(function)
    count, other = taken_apart(function)
    assert count == 1
    assert FUSED not in operations(other)
    x = tf.constant(random.normal(5, 3, given).astype(np.float32))
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), terms(48))


@pytest.mark.parametrize("axes", [[2, 3], [1, 2, 3]])
def test_the_last_axes_may_be_several(axes: list[int]) -> None:
    layer = tf.keras.layers.LayerNormalization(axis=axes)
    shape = [None, 3, 4, 5]
    layer.build(shape)
    function = frozen(layer, shape)
    assert FUSED in operations(function)
    count, other = taken_apart(function)
    assert count == 1
    x = tf.constant(np.random.default_rng(7).normal(5, 3, (2, 3, 4, 5)).astype(np.float32))
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), terms(60))


@pytest.mark.parametrize("epsilon", [1e-3, 1.01e-5])  # Keras computes a smaller one otherwise
@pytest.mark.parametrize("size", [2000.0, 500.0, 1.0, 1e-3, 0.0])
def test_a_row_of_any_size_is_normalized_in_fp16_too(size: float, epsilon: float) -> None:
    layer = tf.keras.layers.LayerNormalization(epsilon=epsilon)
    layer.build([None, 512])
    function = frozen(layer, [None, 512])
    count, other = taken_apart(function)
    assert count == 1
    half = in_half_precision(other)
    # One value that stands out, too: its square is what FP16 holds worst.
    x = np.random.default_rng(8).uniform(-size, size, (3, 512)).astype(np.float16)
    x[1, 7] *= 2
    expected = function(tf.constant(x, tf.float32))[0].numpy()
    found = half(tf.constant(x))[0].numpy()
    assert found.dtype == np.float16
    # FP16 has a unit of u = 2 ** -11. Some seven operations, one after the other, round values that are normalized to
    # 3.5 at most, in either direction: 2 * sqrt(7) * 3.5 * u = 0.009.
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)


def test_each_of_many_layers_is_taken_apart() -> None:
    layers = [tf.keras.layers.LayerNormalization() for _ in range(3)]

    def network(x: Any) -> Any:
        for layer in layers:
            x = layer(x) + x
        return x

    function = frozen(network, [None, None, 16])
    count, other = taken_apart(function)
    assert count == 3
    x = tf.constant(np.random.default_rng(4).normal(size=(2, 3, 16)).astype(np.float32))
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), 3 * terms(16))


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(lambda x: normalized(x, scale=tf.range(6.0)), id="each row has a scale of its own"),
        pytest.param(lambda x: normalized(x, shape=[1, 12, -1, 1]), id="a row holds a part of the last axis"),
        pytest.param(lambda x: normalized(x, shape=[2, 3, -1, 1], scale=tf.ones(3)), id="rows of several items"),
        pytest.param(lambda x: normalized(x, behind=[-1]), id="the shape behind it is another"),
        pytest.param(
            lambda x: normalized(x, shape=tf.stack([1, 6 + 0 * tf.cast(x[0, 0, 0], tf.int32), 8, 1])),
            id="the shape depends on values",
        ),
        pytest.param(
            lambda x: tf.compat.v1.nn.fused_batch_norm(
                x[..., None], tf.ones(1), tf.zeros(1), epsilon=0.01, data_format="NHWC"
            )[0],
            id="a batch normalization in training",
        ),
    ],
)
def test_other_batch_normalization_stays(network: Callable[[Any], Any]) -> None:
    graph = frozen(network, [2, 3, 8]).graph.as_graph_def()
    assert stays(graph, normalization.FUSED)


def test_a_graph_that_asserts_its_sizes_is_left_alone() -> None:
    def network(x: Any) -> Any:
        own = tf.shape(x)
        rows = tf.reduce_prod(own[:-1])
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(rows % 2, 0), [rows])]):
            return normalized(x, shape=tf.stack([1, rows, own[-1], 1]))

    function = frozen(network, [None, 3, 8])
    assert {FUSED, "Assert"} <= operations(function)
    assert stays(function.graph.as_graph_def(), normalization.FUSED)


def test_what_also_reads_the_batchs_mean_keeps_its_normalization() -> None:
    def network(x: Any) -> Any:
        channels = tf.reshape(x, [1, 6, 8, 1])
        found, mean, _ = tf.compat.v1.nn.fused_batch_norm(channels, tf.ones(6), tf.zeros(6), data_format="NCHW")
        return tf.reshape(found, [2, 3, 8]) + mean[0]

    assert stays(frozen(network, [2, 3, 8]).graph.as_graph_def(), normalization.FUSED)


def test_a_graph_without_any_is_left_alone() -> None:
    graph = frozen(lambda x: x + 1, [None, 3]).graph.as_graph_def()
    assert stays(graph, normalization.FUSED)


def test_a_layer_in_a_loop_answers_the_same() -> None:
    layer = tf.keras.layers.LayerNormalization(epsilon=0.01)
    layer.build([None, 5, 48])
    function = frozen(in_a_loop(layer), [None, 5, 48])
    assert FUSED in operations(function)
    count, other = taken_apart(function)
    assert count == 1
    assert FUSED not in operations(other)
    x = tf.constant(np.random.default_rng(3).normal(5, 3, (2, 5, 48)).astype(np.float32))
    assert_rounded_alike(other(x)[0].numpy(), function(x)[0].numpy(), terms(48))


def test_what_is_fetched_behind_a_layer_answers_the_same_and_a_batch_normalization_that_is_fetched_stays() -> None:
    function = frozen(lambda x: normalized(x) + 1.0, [2, 3, 8])
    fused = only(function, FUSED)
    (behind,) = fused.outputs[0].consumers()
    x = tf.constant(np.random.default_rng(3).normal(5, 3, (2, 3, 8)).astype(np.float32))
    count, other = rewritten(function, normalization.FUSED, [behind.outputs[0].name])
    assert count == 1
    answer, inner = other(x)
    assert_rounded_alike(answer.numpy(), function(x)[0].numpy(), terms(8))
    np.testing.assert_array_equal(inner.numpy() + 1, answer.numpy())
    assert stays(function.graph.as_graph_def(), normalization.FUSED, [fused.outputs[0].name])
