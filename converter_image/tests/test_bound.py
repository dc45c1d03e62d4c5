# mypy: disable-error-code="no-untyped-call, misc, untyped-decorator"
"""A signature whose inputs are bound to values, or to a rank, is the same model otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tftrt_runtime.contract.errors import SignatureNotFound
from tftrt_runtime.loading import bound, freeze, values
from tftrt_runtime.loading.messages import BindRequest

URI = "pvc://models/net"


class Net(tf.Module):
    """A variable, a table, and an input of any rank."""

    def __init__(self) -> None:
        self.weights = tf.Variable([2.0, 3.0])
        words = tf.lookup.KeyValueTensorInitializer(tf.constant(["one", "two"]), tf.constant([1.0, 2.0]))
        self.table = tf.lookup.StaticHashTable(words, 0.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec(None, tf.float32, name="x"),
            tf.TensorSpec([], tf.string, name="factor"),
            tf.TensorSpec([2], tf.float16, name="offsets"),
        ]
    )
    def __call__(self, x: Any, factor: Any, offsets: Any) -> dict[str, Any]:
        return {"y": x * self.weights * self.table.lookup(factor) + tf.cast(offsets, tf.float32)}


def saved(folder: Path, **changes: Any) -> Any:
    """The loaded model that comes of one with these inputs."""
    net = Net()
    tf.saved_model.save(net, str(folder / "source"), signatures={"serve": net.__call__})
    asked: dict[str, Any] = {
        "uri": URI,
        "source": str(folder / "source"),
        "signature": "serve",
        "values": {},
        "shapes": {},
        "served": {},
        "target": str(folder / "target"),
    }
    bound.save(BindRequest(**{**asked, **changes}))
    return tf.saved_model.load(str(folder / "target"))


def test_bound_inputs_are_constants_and_variables_and_tables_go_along(tmp_path: Path) -> None:
    loaded = saved(tmp_path, values={"factor": "two", "offsets": 1})
    function = loaded.signatures["serve"]
    assert sorted(function.structured_input_signature[1]) == ["x"]
    np.testing.assert_allclose(function(x=tf.constant([[1.0, 1.0]]))["y"], [[5.0, 7.0]])
    assert freeze.why_not(loaded, function) is None
    assert freeze.has_tables(loaded, function)


def test_an_input_of_any_rank_gets_its_shape(tmp_path: Path) -> None:
    loaded = saved(tmp_path, shapes={"x": (None, 2)})
    specs = loaded.signatures["serve"].structured_input_signature[1]
    assert specs["x"].shape.as_list() == [None, 2]
    assert specs["offsets"].shape.as_list() == [2]


SPECS = {
    "int8": tf.TensorSpec([], tf.int8),
    "bool": tf.TensorSpec([], tf.bool),
    "float16": tf.TensorSpec([2], tf.float16),
    "text": tf.TensorSpec([], tf.string),
    "any": tf.TensorSpec(None, tf.float32),
    "open": tf.TensorSpec([None], tf.float32),
    "complex": tf.TensorSpec([], tf.complex64),
}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("int8", -128, -128),
        ("bool", True, True),
        ("float16", 1, [1.0, 1.0]),
        ("float16", 0.5, [0.5, 0.5]),
        ("text", "ä", "ä".encode()),
        ("any", 0.25, 0.25),
    ],
)
def test_a_value_becomes_a_tensor_of_the_inputs_type_and_shape(name: str, value: Any, expected: Any) -> None:
    made = tf.constant(values.array(name, value, SPECS[name], URI), SPECS[name].dtype)
    np.testing.assert_array_equal(made.numpy(), expected)
    assert made.dtype == SPECS[name].dtype


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("int8", 128, "takes int8: give a whole number from -128 to 127"),
        ("int8", 0.5, "give a whole number"),
        ("int8", True, "give a whole number"),
        ("bool", 1, "give true or false"),
        ("text", 1, "give a text"),
        ("any", "1", "give a number"),
        ("open", 1, "only one of fixed sizes"),
        ("complex", 1, "none that a spec can have"),
    ],
)
def test_another_type_is_refused(name: str, value: Any, told: str) -> None:
    with pytest.raises(SignatureNotFound, match=told):
        values.array(name, value, SPECS[name], URI)
