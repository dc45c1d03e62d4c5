"""A request in the Python backend, which is answered once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

# The backend's own module, which only exists in its process.
import triton_python_backend_utils as pb_utils

from tftrt_runtime import log
from tftrt_runtime.processes.child import one_line
from tftrt_runtime.serve import codes
from tftrt_runtime.serve.metrics import Answered, Metrics

# Names in `pb_utils.TritonError`, which the backend makes after this file is read. Over HTTP: 400, 503, 499 and 500.
TRITON_NAMES = {
    codes.INVALID_ARGUMENT: "INVALID_ARG",
    codes.UNAVAILABLE: "UNAVAILABLE",
    codes.CANCELLED: "CANCELLED",
    codes.INTERNAL: "INTERNAL",
}
# In the error of an answer that did not leave this process; other errors of sending are told after the client had one.
NO_SHARED_MEMORY = "shared memory pool"


class Unanswerable(Exception):  # noqa: N818 - it is said of a request
    """An answer could not be sent, nor can another one be: its client would wait for ever."""


class Asked:
    """A request and the way to its client."""

    def __init__(self, request: Any, since: float, metrics: Metrics) -> None:
        self.request = request
        self._since = since
        self._metrics = metrics
        self._sender = request.get_response_sender()
        self._answered = False

    def given_up(self) -> bool:
        """Whether nobody waits for the answer: then it has one, and need not be computed."""
        if not self.request.is_cancelled():
            return False
        self.refuse(codes.CANCELLED, "The client gave up.")
        return True

    def answer(self, response: Any) -> None:
        """Send what `response_of` made.

        Raises:
            Unanswerable: it cannot be sent.
        """
        self._send(codes.OK, response)

    def refuse(self, code: str, message: str) -> None:
        """Send an error, unless there was an answer.

        Raises:
            Unanswerable: it cannot be sent.
        """
        if not self._answered:
            error = pb_utils.TritonError(message, getattr(pb_utils.TritonError, TRITON_NAMES[code]))
            self._send(code, pb_utils.InferenceResponse(error=error))

    def _send(self, code: str, response: Any) -> None:
        self._answered = True  # one is all that Triton takes, also where it fails
        try:
            self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception as error:
            if NO_SHARED_MEMORY in str(error):
                raise Unanswerable(one_line(error)) from error
            log.event("serve", "A client did not get its answer", error=one_line(error))
            code = codes.INTERNAL
        self._metrics.tell(Answered(code, time.monotonic() - self._since))


def response_of(answer: Mapping[str, Any], batched: bool) -> Any:
    """Arrays by output name, as Triton's response: a vector of the batch travels as a column.

    Without batches a scalar travels as a vector of one.
    """
    bare = 1 if batched else 0
    columns = {name: array[..., None] if array.ndim == bare else array for name, array in answer.items()}
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in columns.items()])
