"""A call that the model refuses leaves no memory behind, for what TensorFlow keeps of it is given back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tensorflow as tf

from tftrt_runtime.serve import aborted_calls
from tftrt_runtime.serve.aborted_calls import AbortedCalls

CALLS, THREADS = 500, 4


@pytest.fixture(scope="module")
def model() -> Callable[[Any], Any]:
    """Looks up the number at an index, of which there are two; `tf.gather` refuses any other index."""

    def look_up(index: Any) -> Any:
        return tf.gather(tf.constant([1.0, 2.0]), index)

    found: Callable[[Any], Any] = tf.function(look_up).get_concrete_function(tf.TensorSpec([], tf.int32))
    return found


def refused(model: Callable[[Any], Any]) -> None:
    """A call that fails."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        model(tf.constant(5))


def test_tensorflow_keeps_each_call_that_was_refused_until_it_is_given_back(model: Callable[[Any], Any]) -> None:
    calls = AbortedCalls()
    calls.release()
    for _ in range(CALLS):
        refused(model)
    assert calls.count == CALLS, "what this is for: without it the vector grows for ever"
    assert calls.release() == CALLS
    assert calls.count == 0


def test_calls_go_on_while_others_are_given_back(model: Callable[[Any], Any]) -> None:
    calls = AbortedCalls()
    calls.release()

    def ask(_: int) -> float:
        for _ in range(CALLS):
            refused(model)
            calls.release()
        return sum(float(model(tf.constant(1))) for _ in range(CALLS))

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(ask, range(THREADS))) == [2.0 * CALLS] * THREADS
    calls.release()
    assert calls.count == 0


def test_another_tensorflow_is_left_alone(model: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aborted_calls, "KNOWN_VERSION", "2.0.0")
    calls = AbortedCalls()
    refused(model)
    assert calls.release() == 0
