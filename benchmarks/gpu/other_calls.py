"""Times a converted model that is called otherwise than the server calls it: `other_calls.py REQUEST.json ANSWER.json`.

The request is the one of `tftrt_runtime.benchmark.timing`, the answer its answer. The variable `CALLED_BY` says how:
`signature`, by the signature's function, as TensorFlow's documentation does it; or `operation`, by a
`StatefulPartitionedCall` of it, whose operations all start in the calling thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tftrt_runtime import child
from tftrt_runtime.benchmark import timing
from tftrt_runtime.benchmark.messages import TimingRequest
from tftrt_runtime.serve import streams


class BySignature:
    """Python sorts and checks the arguments at each call."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by output name."""
        return dict(self._function(**tensors))


class ByOperation:
    """A public operation of TensorFlow, called with the function."""

    def __init__(self, function: Any) -> None:
        self._function = function
        # What a function takes and answers is flattened in the order of the sorted names; what it captured is behind.
        self._inputs = sorted(function.structured_input_signature[1])
        self._outputs = sorted(function.structured_outputs)
        self._types = [function.structured_outputs[name].dtype for name in self._outputs]
        self._captured = list(function.captured_inputs)

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by output name."""
        answers = tf.raw_ops.StatefulPartitionedCall(
            args=[*(tensors[name] for name in self._inputs), *self._captured], Tout=self._types, f=self._function
        )
        return dict(zip(self._outputs, answers, strict=True))


if __name__ == "__main__":
    streams.QuickCall = {"signature": BySignature, "operation": ByOperation}[os.environ["CALLED_BY"]]  # type: ignore
    child.answer(TimingRequest, timing.time_models)
