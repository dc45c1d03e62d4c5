# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""`ArgMax` in int32, whose answer stays int64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.graphs import frozen, in_a_loop, only, rewritten, stays
from tftrt_runtime.convert.rewrites import class_numbers


@pytest.mark.parametrize(("operation", "kind"), [(tf.argmax, "ArgMax"), (tf.argmin, "ArgMin")])
@pytest.mark.parametrize("axis", [1, -1])
def test_it_counts_in_int32_and_answers_the_same_int64(operation: Callable[..., Any], kind: str, axis: int) -> None:
    function = frozen(lambda x: operation(x, axis), [None, 5, 7])
    places, made = rewritten(function, class_numbers.IN_INT32)
    assert places == 1
    assert only(made, kind).outputs[0].dtype == tf.int32
    x = tf.constant(np.random.default_rng(2).integers(0, 4, (3, 5, 7)).astype(np.float32))
    assert made(x)[0].dtype == tf.int64
    np.testing.assert_array_equal(made(x)[0], function(x)[0])


def test_one_in_a_loop_does_too() -> None:
    function = frozen(in_a_loop(lambda x: tf.cast(tf.argmax(x, 1), tf.float32)), [None, 5])
    places, made = rewritten(function, class_numbers.IN_INT32)
    assert places == 1
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32))
    np.testing.assert_array_equal(made(x)[0], function(x)[0])


def test_one_in_int32_stays() -> None:
    function = frozen(lambda x: tf.argmax(x, 1, tf.int32), [None, 5])
    assert stays(function.graph.as_graph_def(), class_numbers.IN_INT32)
