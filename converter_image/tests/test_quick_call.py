# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Calls of a signature without what TensorFlow does in Python at each of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tftrt_runtime.model import quick_call
from tftrt_runtime.model.quick_call import QuickCall

ON_GPU = quick_call.on_gpu


class Network(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """Inputs and outputs whose names are in no order, a variable, and a table."""

    def __init__(self) -> None:
        self.weights = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3))
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [2.0]), 0.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="vector"),
            tf.TensorSpec([None, 1], tf.string, name="letter"),
            tf.TensorSpec([None, 1], tf.int32, name="number"),
        ]
    )
    def __call__(self, vector: Any, letter: Any, number: Any) -> dict[str, Any]:
        return {
            "product": tf.matmul(vector, self.weights),
            "found": self.table.lookup(letter),
            "next": number + 1,
        }


@pytest.fixture(params=[False, True], ids=["in all threads", "in the calling thread"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to call, though there is a processor alone."""
    monkeypatch.setattr(quick_call, "on_gpu", lambda _function: request.param)


in_both_ways = pytest.mark.usefixtures("way")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("quick") / "model"
    module = Network()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__})
    return tf.saved_model.load(str(folder))


def asked(rows: int) -> dict[str, Any]:
    """Whole numbers, as the weights are: nothing is rounded, so that the bits are equal however it is computed."""
    return {
        "vector": tf.constant(np.random.default_rng(rows).integers(-9, 9, (rows, 2)).astype(np.float32)),
        "letter": tf.constant([["a"]] * rows),
        "number": tf.constant([[7]] * rows),
    }


@in_both_ways
def test_the_answers_are_those_of_the_signature_by_name(loaded: Any) -> None:
    function = loaded.signatures["serving_default"]
    call = QuickCall(function)
    for rows in (1, 3):
        expected, found = function(**asked(rows)), call(asked(rows))
        assert sorted(found) == ["found", "next", "product"]
        for name, answer in expected.items():
            np.testing.assert_array_equal(found[name].numpy(), answer.numpy())


@in_both_ways
def test_a_variable_is_read_at_each_call(loaded: Any) -> None:
    call = QuickCall(loaded.signatures["serving_default"])
    before = call(asked(2))["product"].numpy()
    loaded.weights.assign(loaded.weights * 2.0)
    np.testing.assert_array_equal(call(asked(2))["product"].numpy(), 2 * before)


@in_both_ways
def test_several_threads_may_call_at_a_time(loaded: Any) -> None:
    call = QuickCall(loaded.signatures["serving_default"])
    rows = range(1, 9)
    expected = {count: call(asked(count))["product"].numpy() for count in rows}
    found: dict[int, Any] = {}

    def work(count: int) -> None:
        for _ in range(50):
            found[count] = call(asked(count))["product"].numpy()

    threads = [threading.Thread(target=work, args=(count,)) for count in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for count in rows:
        np.testing.assert_array_equal(found[count], expected[count])


@in_both_ways
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        pytest.param({"vector": tf.zeros([1, 2], tf.float64)}, tf.errors.InvalidArgumentError, id="another type"),
        pytest.param({"vector": tf.zeros([1, 5])}, tf.errors.InvalidArgumentError, id="another shape"),
    ],
)
def test_what_the_model_cannot_take_is_an_error(loaded: Any, changed: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        QuickCall(loaded.signatures["serving_default"])(asked(1) | changed)


@in_both_ways
def test_a_missing_input_is_named(loaded: Any) -> None:
    with pytest.raises(KeyError, match="letter"):
        QuickCall(loaded.signatures["serving_default"])({"vector": tf.zeros([1, 2]), "number": tf.constant([[1]])})


class Product(tf.Module):  # type: ignore[misc]
    """A network of one input and one output."""

    def __init__(self, dtype: Any) -> None:
        self.signature = tf.function(lambda x: {"y": x + x}, input_signature=[tf.TensorSpec([None], dtype, name="x")])


@pytest.mark.parametrize(
    ("dtype", "devices", "expected"),
    [
        pytest.param(tf.float32, ["GPU:0"], True, id="floats on a GPU"),
        pytest.param(tf.int64, ["GPU:0"], True, id="numbers that a GPU keeps"),
        pytest.param(tf.int32, ["GPU:0"], False, id="numbers that the host keeps"),
        pytest.param(tf.string, ["GPU:0"], False, id="words"),
        pytest.param(tf.float32, [], False, id="no GPU"),
    ],
)
def test_the_calling_thread_starts_what_a_gpu_computes(
    dtype: Any, devices: list[str], expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Product(dtype)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.signature})
    function = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _kind: devices)
    assert ON_GPU(function) == expected


def test_what_has_a_table_or_a_variable_of_the_host_is_left_to_all_threads(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _kind: ["GPU:0"])
    monkeypatch.setattr(quick_call, "OF_THE_HOST", ())
    assert not ON_GPU(loaded.signatures["serving_default"])
