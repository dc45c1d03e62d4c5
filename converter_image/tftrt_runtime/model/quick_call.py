"""A call of a signature that costs the processor little. Imports TensorFlow.

A signature's function sorts its arguments, holds them against its specs, records for gradients and writes down its
options anew at each call. That is two thirds of what a call costs the processor, and while it lasts no other thread
runs: of several calls in flight one waits for another. Here all that is done once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context, execute

# A model as a function of tensors by input name, whose answers are by output name.
Call = Callable[[Mapping[str, Any]], dict[str, Any]]
# The same of lists in the order of the sorted names; what the function captured is behind its inputs.
Flat = Callable[[list[Any]], Sequence[Any]]

# The types that TensorFlow keeps in host memory on a GPU, too, for the processor works on them.
OF_THE_HOST = (tf.int32, tf.string)


class QuickCall:
    """A signature's function; safe to call from several threads, which TensorFlow then runs as it would its own."""

    def __init__(self, function: Any) -> None:
        self._inputs = sorted(function.structured_input_signature[1])
        self._outputs = sorted(function.structured_outputs)
        self._captured = list(function.captured_inputs)
        types = [function.structured_outputs[name].dtype for name in self._outputs]
        # To start what a GPU computes takes no time worth handing to another thread; what a processor computes does.
        self._call = in_calling_thread(function, types) if on_gpu(function) else in_all_threads(function, len(types))

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by output name, still being computed where there is a GPU.

        Raises:
            KeyError: an input is missing.
            tf.errors.OpError: TensorFlow refuses a tensor, or fails.
        """
        answers = self._call([*(tensors[name] for name in self._inputs), *self._captured])
        return dict(zip(self._outputs, answers, strict=True))


def on_gpu(function: Any) -> bool:
    """Whether all that a signature's function takes, has captured and answers lies on a GPU: no word and no table."""
    specs = [*function.structured_input_signature[1].values(), *function.structured_outputs.values()]
    return (
        bool(tf.config.list_logical_devices("GPU"))
        and all(spec.dtype not in OF_THE_HOST for spec in specs)
        and all("GPU" in tensor.device for tensor in function.captured_inputs)
    )


def in_calling_thread(function: Any, types: Sequence[Any]) -> Flat:
    """The function as an operation, whose own operations all start in the thread that calls."""

    def call(tensors: list[Any]) -> Sequence[Any]:
        answers: Sequence[Any] = tf.raw_ops.StatefulPartitionedCall(args=tensors, Tout=types, f=function)
        return answers

    return call


def in_all_threads(function: Any, outputs: int) -> Flat:
    """The function by its name, whose operations start in whichever of TensorFlow's threads is free."""
    eager = context.context()
    options = tuple(itertools.chain(*eager.function_call_options.as_attrs().items()))

    def call(tensors: list[Any]) -> Sequence[Any]:
        answers: Sequence[Any] = execute.execute(
            function.name, num_outputs=outputs, inputs=tensors, attrs=options, ctx=eager
        )
        return answers

    return call
