"""Progress as one JSON object a line on standard error. Environments and file contents never go in."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

OWN_LINE = '{"time": '  # how each of our lines begins; a parent passes its child's on as they are

Line = dict[str, object]


def _as_json(line: Line) -> None:
    print(json.dumps(line, default=str), file=sys.stderr, flush=True)


_tell: Callable[[Line], None] = _as_json


def tell(how: Callable[[Line], None]) -> None:
    """Have this process's lines, and its children's, told in another way from now on."""
    global _tell
    _tell = how


def event(stage: str, message: str, **fields: object) -> None:
    """Write one line: the time, the stage (`fetch`, `convert`, ...), the message and whatever else is known."""
    _tell({"time": now(), "stage": stage, "message": message, **fields})


def pass_on(text: str) -> None:
    """Write a line that a child wrote; what else was written to the same line at the same time spoils it."""
    try:
        line = json.loads(text)
    except ValueError:
        line = {"time": now(), "stage": "child", "message": text}
    _tell(line)


@contextmanager
def timed(stage: str, message: str, **fields: object) -> Iterator[None]:
    """Write one line when the block has ended well, with the seconds that it took."""
    start = time.monotonic()
    yield
    event(stage, message, **fields, seconds=round(time.monotonic() - start, 3))


def now() -> str:
    """The time in UTC, to the second, as Kubernetes writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
