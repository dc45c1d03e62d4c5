"""A call of a signature that costs Python little. Imports TensorFlow.

A signature's function sorts its arguments, holds them against its specs, records for gradients and writes down its
options anew at each call. That is two thirds of what a call costs the processor, and while it lasts no other thread
runs: of several calls in flight one waits for another. Here all that is done once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from tensorflow.python.eager import context, execute

# A model as a function of tensors by input name, whose answers are by output name.
Call = Callable[[Mapping[str, Any]], dict[str, Any]]


class QuickCall:
    """A signature's function; safe to call from several threads, which TensorFlow then runs as it would its own."""

    def __init__(self, function: Any) -> None:
        self._function = function  # kept, for TensorFlow knows its name as long as it lives
        # What a function takes and answers is flattened in the order of the sorted names; what it captured is behind.
        self._inputs = sorted(function.structured_input_signature[1])
        self._outputs = sorted(function.structured_outputs)
        self._captured = list(function.captured_inputs)
        self._context = context.context()
        self._options = tuple(itertools.chain(*self._context.function_call_options.as_attrs().items()))

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by output name, still being computed where there is a GPU.

        Raises:
            KeyError: an input is missing.
            tf.errors.OpError: TensorFlow refuses a tensor, or fails.
        """
        answers = execute.execute(
            self._function.name,
            num_outputs=len(self._outputs),
            inputs=[*(tensors[name] for name in self._inputs), *self._captured],
            attrs=self._options,
            ctx=self._context,
        )
        return dict(zip(self._outputs, answers, strict=True))
