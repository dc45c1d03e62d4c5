"""A call that the model refuses leaves no memory behind, for what TensorFlow keeps of it is given back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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


SEVERAL_DEVICES = """
import tensorflow as tf

(processor,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)

from tftrt_runtime.serve.aborted_calls import AbortedCalls

@tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
def look_up(index):
    with tf.device("CPU:1"):
        found = tf.gather(tf.constant([1.0, 2.0]), index)
    with tf.device("CPU:0"):
        return found + 1

calls = AbortedCalls()
for _ in range(100):
    try:
        look_up(tf.constant(5))
    except tf.errors.InvalidArgumentError:
        pass
before = calls.count
print(before, calls.release(), calls.count, float(look_up(tf.constant(1))))
"""


def test_a_call_of_several_devices_is_given_back_with_all_its_entries() -> None:
    """As on a GPU, where a function's inputs come from the host. A process has its devices from its start."""
    done = subprocess.run([sys.executable, "-c", SEVERAL_DEVICES], capture_output=True, text=True, check=True)
    kept, released, left, answer = done.stdout.split()
    assert int(kept) > 100, "an entry for each device"
    assert (released, left, answer) == (kept, "0", "3.0")


@pytest.mark.parametrize(
    ("what", "other", "why"),
    [
        ("KNOWN_VERSION", "2.0.0", "TensorFlow is 2.14.1, and what it keeps is known of 2.0.0"),
        ("LIBRARY", Path("/nowhere/libaborted_calls.so"), "cannot open shared object file"),
        ("_VECTOR", "no_such_symbol", "undefined symbol: no_such_symbol"),
        ("_LOCK", "no_such_symbol", "undefined symbol: no_such_symbol"),
    ],
)
def test_what_is_not_as_it_was_known_is_left_alone_and_told(
    model: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
    other: Any,
    why: str,
) -> None:
    monkeypatch.setattr(aborted_calls, what, other)
    calls = AbortedCalls()
    refused(model)
    assert calls.release() == 0
    told = json.loads(capsys.readouterr().err)
    assert told["message"] == "Requests that the model refuses leave memory behind"
    assert why in told["why"]
