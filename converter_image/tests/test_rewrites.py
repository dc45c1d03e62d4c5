# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""The one way in: each rewrite is tried on the CPU, and dropped where an answer is another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests import test_engines
from tests.graphs import frozen, in_a_branch, in_a_loop
from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.convert import engines, rewrites
from tftrt_runtime.convert.rewrites import (
    beside,
    einsum,
    graph_defs,
    normalization,
    padding,
    reshapes,
    spelled_out,
    weights,
)
from tftrt_runtime.convert.rewrites.rewrite import Rewrite
from tftrt_runtime.loading import constants
from tftrt_runtime.loading.messages import FreezeRequest
from tftrt_runtime.model import half_precision
from tftrt_runtime.report.data import Rewritten

IMAGE = Tensor(name="image", dtype="FP32", shape=(-1, 8, 8, 4))


def of_each(operation: str, change: Callable[[Any], None]) -> Rewrite[Any]:
    """A rewrite that does this to each node of a kind."""

    def replace(_: graph_defs.Graph, node: Any) -> list[str]:
        change(node)
        return [node.name]

    def find(graph: graph_defs.Graph) -> list[Any]:
        return [node for node in graph.definition.node if node.op == operation]

    return Rewrite("a rewrite of the tests", "no reason", find, replace)


def become(operation: str) -> Callable[[Any], None]:
    def change(node: Any) -> None:
        node.op = operation

    return change


def break_off(node: Any) -> None:
    node.input[0] = "nothing"


def raise_an_error(_: Any) -> None:
    raise KeyError("kernel")


def network(x: Any) -> Any:
    kernel = np.random.default_rng(5).normal(size=(3, 3, 4, 4)).astype(np.float32)
    return tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))


def asked(function: Any, inputs: tuple[Tensor, ...] = (IMAGE,)) -> list[beside.Question]:
    names = {tensor.name: given.name for tensor, given in zip(inputs, function.inputs, strict=False)}
    return beside.made_up(inputs, (Sample(),), names, {})


def tried(
    monkeypatch: pytest.MonkeyPatch, function: Any, rewrite: Rewrite[Any], questions: list[beside.Question]
) -> tuple[Any, Rewritten]:
    """The graph that came of it, and what is told."""
    monkeypatch.setattr(rewrites, "REWRITES", (rewrite,))
    graph = function.graph.as_graph_def()
    (told,) = rewrites.apply(graph, [tensor.name for tensor in function.outputs], lambda: questions, "FP16")
    return graph, told


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(become("Softsign"), "differs by", id="another answer"),
        pytest.param(become("Identity"), "differs by", id="another answer below zero"),
        pytest.param(become("L2Loss"), "became float32", id="another shape"),
        pytest.param(become("NoSuchOperation"), "does not run any more", id="an operation that there is not"),
        pytest.param(break_off, "does not run any more", id="an input that there is not"),
        pytest.param(raise_an_error, "could not be done: KeyError: 'kernel'", id="a fault of its own"),
    ],
)
def test_a_rewrite_that_changes_an_answer_is_dropped_and_the_graph_before_is_kept(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None], why: str
) -> None:
    function = frozen(network, [None, 8, 8, 4])
    graph, told = tried(monkeypatch, function, of_each("Relu", change), asked(function))
    assert graph == function.graph.as_graph_def()
    assert told.dropped is not None
    assert why in told.dropped
    assert (told.name, told.places, told.questions, told.notCompared) == ("a rewrite of the tests", 1, 0, None)


def test_a_rewrite_that_changes_none_is_kept_and_told_with_how_often_that_was_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = frozen(lambda x: tf.nn.relu(network(x)), [None, 8, 8, 4])

    def pass_on(node: Any) -> None:  # the second of them has nothing to do
        node.op = "Identity" if "Relu" in node.input[0] else "Relu"

    graph, told = tried(monkeypatch, function, of_each("Relu", pass_on), asked(function))
    assert sorted(node.op for node in graph.node).count("Relu") == 1
    assert (told.places, told.questions, told.dropped, told.notCompared) == (2, 3, None, None)


def test_a_wrong_answer_shows_where_it_was_made_though_the_models_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    function = frozen(lambda x: tf.argmax(network(x), -1) // 4, [None, 8, 8, 4])  # 0, whatever is asked
    _, told = tried(monkeypatch, function, of_each("Relu", become("Softsign")), asked(function))
    assert told.dropped is not None
    assert told.dropped.startswith("Relu:0")


def test_in_a_loop_what_comes_out_of_it_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    function = frozen(in_a_loop(network), [None, 8, 8, 4])
    graph, told = tried(monkeypatch, function, of_each("Relu", become("Softsign")), asked(function))
    assert told.dropped is not None
    assert graph == function.graph.as_graph_def()


def padded(x: Any) -> Any:
    kernel = np.random.default_rng(5).normal(size=(3, 3, 4, 4)).astype(np.float32)
    return tf.nn.conv2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), kernel, 1, "VALID")


@pytest.mark.parametrize(
    ("network", "rewrite"),
    [
        pytest.param(lambda x: tf.einsum("abcd,aecd->aebc", x, x), einsum.PRODUCTS, id="einsum"),
        pytest.param(lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], -1, 16])), reshapes.CLOSED, id="reshape"),
        pytest.param(
            lambda x: tf.nn.batch_normalization(x, *tf.nn.moments(x, [-1], keepdims=True), 0.5, 2.0, 1e-6),
            spelled_out.SPELLED_OUT,
            id="normalization",
        ),
        pytest.param(tf.keras.layers.LayerNormalization(), normalization.FUSED, id="fused normalization"),
        pytest.param(padded, padding.SAME, id="padding"),
    ],
)
def test_in_both_branches_of_a_condition_each_is_rewritten_and_answers_the_same(
    monkeypatch: pytest.MonkeyPatch, network: Callable[[Any], Any], rewrite: Rewrite[Any]
) -> None:
    if isinstance(network, tf.keras.layers.Layer):
        network.build([None, 8, 8, 4])
    function = frozen(in_a_branch(lambda x: network(tf.ensure_shape(x, [None, 8, 8, 4]))), [None, 8, 8, 4])
    assert "Switch" in {node.op for node in function.graph.as_graph_def().node}
    _, told = tried(monkeypatch, function, rewrite, asked(function))
    assert (told.places, told.questions, told.dropped, told.notCompared) == (2, 3, None, None)


def test_channels_first_are_compared_though_a_cpu_has_no_kernels_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = np.random.default_rng(5).normal(size=(3, 3, 4, 4)).astype(np.float32)

    def first(x: Any) -> Any:
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME", data_format="NCHW"))
        return tf.nn.max_pool2d(x, 3, 2, "SAME", data_format="NCHW")

    function, image = frozen(first, [None, 4, 8, 8]), Tensor(name="image", dtype="FP32", shape=(-1, 4, 8, 8))
    _, told = tried(monkeypatch, function, of_each("Relu", become("Relu6")), asked(function, (image,)))
    assert told.dropped is not None
    assert "differs by" in told.dropped
    _, told = tried(monkeypatch, function, of_each("Relu", lambda _: None), asked(function, (image,)))
    assert (told.dropped, told.notCompared, told.questions) == (None, None, 3)


def test_of_a_large_tensor_inside_some_values_from_all_over_it_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = np.random.default_rng(5).normal(size=(1, 1, 4, 4096)).astype(np.float32)
    without_the_last = np.ones((8, 8, 1), np.float32)
    without_the_last[-1, -1] = 0

    def hidden(x: Any) -> Any:
        """Nothing shows at the end, where all is 0."""
        x = tf.nn.conv2d(x, kernel, 1, "SAME")
        other = tf.multiply(x, without_the_last, name="other")
        return tf.reduce_max(tf.nn.relu(x)) * 0.0 + tf.reduce_max(other) * 0.0

    def read_the_other(node: Any) -> None:
        node.input[0] = "other"

    function = frozen(hidden, [None, 8, 8, 4])
    questions = asked(function)[1:]
    assert all(8 * 8 * 4096 * len(value) > beside.MOST_INSIDE for one in questions for value in one.values())
    _, told = tried(monkeypatch, function, of_each("Relu", read_the_other), questions)
    assert told.dropped is not None
    assert told.dropped.startswith("Relu:0 differs by")


def test_weights_are_fed_and_one_that_is_changed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = np.random.default_rng(5).normal(size=(4, 4096)).astype(np.float32)
    function = frozen(lambda x: tf.reduce_sum(tf.nn.relu(x @ kernel), -1), [None, 8, 8, 4])
    graph = function.graph.as_graph_def()
    (one, fed), (other, fed_too) = weights.taken_out(graph, graph)
    assert one == other
    assert one.ByteSize() < weights.LEAST_BYTES < graph.ByteSize()
    assert len(fed) == 1
    assert all(fed[name] is fed_too[name] for name in fed)  # there once

    def halve(node: Any) -> None:
        if node.ByteSize() > weights.LEAST_BYTES:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(kernel / 2))

    _, told = tried(monkeypatch, function, of_each("Const", halve), asked(function))
    assert told.dropped is not None
    assert "differs by" in told.dropped


def test_a_model_that_takes_long_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "SECONDS", 0)
    function = frozen(network, [None, 8, 8, 4])
    _, told = tried(monkeypatch, function, of_each("Relu", lambda _: None), asked(function))
    assert (told.questions, told.dropped, told.notCompared) == (1, None, None)


def test_where_nothing_can_be_compared_a_rewrite_is_kept_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    function = frozen(network, [None, 8, 8, 4])
    graph, told = tried(monkeypatch, function, of_each("Relu", become("Relu6")), [])
    assert "Relu6" in {node.op for node in graph.node}
    assert (told.dropped, told.questions) == (None, 0)
    assert told.notCompared == "there is no question to ask"
    _, told = tried(monkeypatch, function, of_each("Relu", become("Relu6")), [{"x:0": np.ones((1, 8, 8, 5), "f4")}])
    assert told.dropped is None
    assert told.notCompared


@pytest.mark.parametrize("precision", ["FP32", "FP16", "INT8"])
def test_only_engines_in_half_precision_need_normalizations_that_it_can_hold(precision: str) -> None:
    def normalized(x: Any) -> Any:
        return tf.nn.batch_normalization(x, *tf.nn.moments(x, [-1], keepdims=True), None, None, 1e-6)

    function, row = frozen(normalized, [None, 48]), Tensor(name="row", dtype="FP32", shape=(-1, 48))
    graph = function.graph.as_graph_def()
    told = rewrites.apply(graph, ["Identity:0"], lambda: asked(function, (row,)), precision)
    assert [one.name for one in told] == ([] if precision == "FP32" else [spelled_out.SPELLED_OUT.name])
    assert all(one.dropped is None for one in told)


def test_nothing_is_asked_where_nothing_is_found() -> None:
    def never() -> list[beside.Question]:
        raise AssertionError("asked")

    function = frozen(network, [None, 8, 8, 4])
    assert rewrites.apply(function.graph.as_graph_def(), ["Identity:0"], never, "FP16") == ()


def test_each_rewrite_has_a_name_and_a_reason_of_its_own() -> None:
    for what in ("name", "reason"):
        told = [getattr(rewrite, what) for rewrite in rewrites.REWRITES]
        assert len({*told}) == len(told)
        assert all(told)


@pytest.mark.parametrize(
    ("kind", "off", "same"),
    [
        ("float32", 1e-4, True),
        ("float32", 1.5e-4, False),
        ("float64", 1e-13, True),
        ("float64", 1e-12, False),
        ("float16", 1e-2, True),
        ("float16", 2e-2, False),
        ("int64", 0, True),
        ("int64", 1, False),
        ("bool", 1, False),
    ],
)
def test_so_much_is_rounding(kind: str, off: float, same: bool) -> None:
    expected = np.array([1, 0, 1, 0]).astype(kind)
    found = np.array([1, off, 1, 0]).astype(kind)
    assert (beside.difference(found, expected) is None) == same


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_no_number_must_be_where_it_was(value: float) -> None:
    expected = np.array([1, value, 2], np.float32)
    assert beside.difference(expected.copy(), expected) is None
    assert beside.difference(np.array([1, 1, 2], np.float32), expected) is not None
    assert beside.difference(expected, np.array([1, 1, 2], np.float32)) is not None


def test_of_a_thousand_classes_one_may_be_another_and_of_texts_none() -> None:
    expected = np.zeros(1000, np.int64)
    found = expected.copy()
    found[7] = 3
    assert beside.difference(found, expected) is None
    found[8] = 3
    assert "0.20%" in str(beside.difference(found, expected))
    texts = np.array([b"a"] * 1000, np.object_)
    others = texts.copy()
    others[7] = b"b"
    assert beside.difference(others, texts) is not None


def test_what_is_computed_in_half_precision_inside_may_differ_as_that_does() -> None:
    def half(x: Any) -> Any:
        return tf.cast(tf.nn.relu(tf.cast(network(x), tf.float16)), tf.float32)

    assert beside.HALF_ROUNDINGS * half_precision.spacing(frozen(half, [None, 8, 8, 4]).graph.as_graph_def()) == 2.0**-6
    assert half_precision.spacing(frozen(network, [None, 8, 8, 4]).graph.as_graph_def()) == 0


def test_the_optimizations_are_on_again_afterwards() -> None:
    before = tf.config.optimizer.get_experimental_options()
    function = frozen(network, [None, 8, 8, 4])
    graph = function.graph.as_graph_def()
    assert beside.compare(graph, graph, ["Identity:0"], [], asked(function)) == beside.Verdict(questions=3)
    after = tf.config.optimizer.get_experimental_options()
    assert after.get("disable_meta_optimizer", False) == before.get("disable_meta_optimizer", False)


def test_a_constant_in_a_loop_waits_for_what_it_is_read_with_and_another_for_nothing() -> None:
    looped, straight = (
        einsum_constant(frozen(one, [2, 4, 4], [2, 4, 4]).graph.as_graph_def())
        for one in (in_a_loop(products), products)
    )
    assert len(looped.input) == 1
    assert looped.input[0].startswith("^")
    assert not straight.input


def products(x: Any, y: Any) -> Any:
    return tf.einsum("abc,acd->adb", x, y)


def einsum_constant(graph: Any) -> Any:
    before = {node.name for node in graph.node}
    einsum.PRODUCTS.apply(graph)
    (constant,) = (node for node in graph.node if node.name not in before and node.op == "Const")
    return constant


def test_a_name_that_there_is_already_is_not_given_again() -> None:
    graph = frozen(products, [2, 4, 4], [2, 4, 4]).graph.as_graph_def()
    (name,) = (node.name for node in graph.node if node.op == "Einsum")
    graph.node.add(name=f"{name}/product", op="NoOp")
    einsum.PRODUCTS.apply(graph)
    names = [node.name for node in graph.node]
    assert len({*names}) == len(names)
    graph_defs.Graph(graph).shape(name)


def rewritten_of(module: Any, folder: Path) -> Any:
    """What a conversion of a model of `x` and `y` tells that it rewrote."""
    tf.saved_model.save(module, str(folder / "source"), signatures={"serving_default": module.__call__})
    inputs = tuple(Tensor(name=name, dtype="FP32", shape=(-1, 4, 4)) for name in ("x", "y"))
    request = test_engines.request(folder / "source", folder / "target", inputs=inputs, samples=(Sample(),))
    converter = engines.new_converter(request)
    converter.convert()
    return converter.rewritten


@pytest.mark.usefixtures("no_tensorrt")
def test_the_conversion_tells_what_it_rewrote(tmp_path: Path) -> None:
    class Attention(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4], tf.float32, name=name) for name in ("x", "y")])
        def __call__(self, x: Any, y: Any) -> dict[str, Any]:
            return {"z": products(x, y)}

    (told,) = rewritten_of(Attention(), tmp_path)
    assert (told.name, told.places, told.questions, told.dropped) == (einsum.PRODUCTS.name, 1, 3, None)


@pytest.mark.usefixtures("no_tensorrt")
def test_a_graph_whose_weights_were_variables_is_asked(tmp_path: Path) -> None:
    """Its constants are called as the variables' handles were, and those of more than a kilobyte are fed."""

    class Weighted(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        def __init__(self) -> None:
            self.weights = tf.Variable(np.random.default_rng(5).normal(size=(4, 256)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4], tf.float32, name=name) for name in ("x", "y")])
        def __call__(self, x: Any, y: Any) -> dict[str, Any]:
            return {"z": products(x, y) @ self.weights}

    (told,) = rewritten_of(Weighted(), tmp_path)
    assert (told.questions, told.dropped, told.notCompared) == (3, None, None)


@pytest.mark.usefixtures("no_tensorrt")
def test_a_graph_with_a_table_beside_it_is_asked_with_its_table(tmp_path: Path) -> None:
    class Words(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        def __init__(self) -> None:
            values = tf.lookup.KeyValueTensorInitializer(tf.constant(["sample 1", "sample 2"]), tf.constant([1.0, 2.0]))
            self.table = tf.lookup.StaticHashTable(values, 0.5)

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4], tf.string, name="words")])
        def __call__(self, words: Any) -> dict[str, Any]:
            x = self.table.lookup(words)
            return {"z": products(x, x)}

    module = Words()
    tf.saved_model.save(module, str(tmp_path / "source"), signatures={"serving_default": module.__call__})
    inputs = (Tensor(name="words", dtype="BYTES", shape=(-1, 4, 4)),)
    source = tmp_path / "frozen"
    uri, unfrozen = "pvc://m", str(tmp_path / "source")
    constants.save(FreezeRequest(uri=uri, source=unfrozen, signature="serving_default", target=str(source)))
    request = test_engines.request(source, tmp_path / "target", inputs=inputs, samples=(Sample(),), frozen=True)
    converter = engines.new_converter(request)
    converter.convert()
    (told,) = converter.rewritten
    assert (told.questions, told.dropped, told.notCompared) == (3, None, None)
