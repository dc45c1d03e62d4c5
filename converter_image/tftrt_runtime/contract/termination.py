"""The termination message: the few bytes by which a container tells the operator how it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.contract.errors import Failure

DEFAULT_PATH = Path("/dev/termination-log")  # Kubernetes' own default; it exists in every container and nowhere else
MAX_BYTES = 4095  # the kubelet cuts a message off at 4,096 bytes, and cut JSON is no JSON


def of_failure(failure: Failure) -> str:
    """The failure as JSON that fits, its sentence shortened where it must be."""
    message = failure.message

    def text() -> str:
        return json.dumps({"version": 1, "code": failure.code, "reason": failure.reason, "message": message})

    while len(text().encode()) > MAX_BYTES:
        message = message[: len(message) * 3 // 4] + "..."
    return text()


def of_summary(summary: Mapping[str, object]) -> str:
    """The summary as JSON that fits; the tensors of a signature with hundreds are left to the manifest (null)."""
    text = json.dumps(summary)
    if len(text.encode()) <= MAX_BYTES:
        return text
    return json.dumps({**summary, "inputs": None, "outputs": None})


def write(text: str) -> None:
    """Put the message where the kubelet reads it; outside a container there is no such place."""
    override = os.environ.get("TFTRT_TERMINATION_LOG")
    path = Path(override) if override else DEFAULT_PATH
    if not override and not path.exists():
        return
    try:
        path.write_text(text)
    except OSError as error:
        # The exit code still tells; a failure to tell more must not hide it.
        log.event("exit", "The termination message could not be written", path=path, error=error)
