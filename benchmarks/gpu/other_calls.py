"""Times a converted model that is called otherwise than the server calls it: `other_calls.py REQUEST.json ANSWER.json`.

The request is the one of `tftrt_runtime.benchmark.timing`, the answer its answer. The variable `CALLED_BY` says how:
`signature`, by the signature's function, as TensorFlow's documentation does it; or `name`, by the function's name,
which on a GPU is for models alone whose inputs the host keeps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tftrt_runtime.benchmark import timing
from tftrt_runtime.benchmark.messages import TimingRequest
from tftrt_runtime.model import quick_call
from tftrt_runtime.processes import child
from tftrt_runtime.serve import streams


class BySignature:
    """Python sorts and checks the arguments at each call."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by output name."""
        return dict(self._function(**tensors))


if __name__ == "__main__":
    if os.environ["CALLED_BY"] == "signature":
        streams.QuickCall = BySignature
    else:
        quick_call.on_gpu = lambda _function: False
    child.answer(TimingRequest, timing.time_models)
