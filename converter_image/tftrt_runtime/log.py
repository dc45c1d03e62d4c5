"""Progress as one JSON object a line on standard error. Environments and file contents never go in."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

OWN_LINE = '{"time": '  # how each of our lines begins; a parent passes its child's on as they are


def event(stage: str, message: str, **fields: object) -> None:
    """Write one line: the time, the stage (`fetch`, `convert`, ...), the message and whatever else is known."""
    line = {"time": now(), "stage": stage, "message": message, **fields}
    print(json.dumps(line, default=str), file=sys.stderr, flush=True)


@contextmanager
def timed(stage: str, message: str, **fields: object) -> Iterator[None]:
    """Write one line when the block has ended well, with the seconds that it took."""
    start = time.monotonic()
    yield
    event(stage, message, **fields, seconds=round(time.monotonic() - start, 3))


def now() -> str:
    """The time in UTC, to the second, as Kubernetes writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
