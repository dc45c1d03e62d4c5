"""Calls again and again, one or more in flight, and what they amount to."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

# A median needs no more than this, and a percentile little more.
MAX_CALLS = 1000
# However slow a call is.
MIN_CALLS = 3

Call = Callable[[], object]


@dataclass(frozen=True)
class Round:
    """The time that all calls took together, and each call's own, in seconds."""

    seconds: float
    latencies: tuple[float, ...]

    @property
    def calls_per_second(self) -> float:
        """Of all callers together."""
        return len(self.latencies) / self.seconds

    def microseconds(self, percentile: float) -> int:
        """This percentile of the latencies, at least one microsecond."""
        return max(1, round(float(np.percentile(self.latencies, percentile)) * 1e6))


def measure(call: Call, in_flight: int, seconds: float) -> Round:
    """Call from `in_flight` threads at a time, until the time is up or MAX_CALLS are done, but MIN_CALLS at least."""
    least, most = -(-MIN_CALLS // in_flight), MAX_CALLS // in_flight
    start = time.perf_counter()

    def caller(_number: int) -> list[float]:
        took: list[float] = []
        now = time.perf_counter()
        while len(took) < least or (now - start < seconds and len(took) < most):
            before = now
            call()
            now = time.perf_counter()
            took.append(now - before)
        return took

    with ThreadPoolExecutor(in_flight) as threads:
        latencies = [latency for took in threads.map(caller, range(in_flight)) for latency in took]
        return Round(seconds=time.perf_counter() - start, latencies=tuple(latencies))
