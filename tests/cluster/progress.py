"""What the cluster says while it comes up."""

import sys
import time

_started = time.monotonic()


def say(words: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - _started:6.1f} s] {words}", file=sys.stderr, flush=True)
