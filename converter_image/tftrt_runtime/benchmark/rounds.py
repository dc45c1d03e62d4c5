"""Calls again and again, one or more in flight, and what they amount to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import numpy as np

from tftrt_runtime.benchmark.rows import AS_SERVED

# How many threads call at a time.
IN_FLIGHT = tuple(sorted({1, 2, 3, AS_SERVED}))
# The median round counts: a neighbour on the machine does not.
ROUNDS = 3
# A median needs no more than this, and a percentile little more.
MAX_CALLS = 1000
# However slow a call is.
MIN_CALLS = 3

Call = Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """The calls a second of all callers together, in the median round, and each call's own seconds."""

    calls_per_second: float
    latencies: tuple[float, ...]

    def microseconds(self, percentile: float) -> int:
        """This percentile of the latencies, at least one microsecond."""
        return max(1, round(float(np.percentile(self.latencies, percentile)) * 1e6))


def measure(callers: Sequence[Call], seconds: float) -> Measured:
    """Call, each caller from a thread of its own, for `seconds`.

    MAX_CALLS end it sooner, and MIN_CALLS are made at least.
    """
    start = time.perf_counter()
    rates: list[float] = []
    latencies: list[float] = []
    for _ in range(ROUNDS):
        rate, took = _round(callers, seconds / ROUNDS)
        rates.append(rate)
        latencies += took
        if len(latencies) >= MIN_CALLS and time.perf_counter() - start > seconds:
            break
    return Measured(calls_per_second=median(rates), latencies=tuple(latencies))


def _round(callers: Sequence[Call], seconds: float) -> tuple[float, list[float]]:
    most = MAX_CALLS // ROUNDS // len(callers)
    start = time.perf_counter()

    def calls(call: Call) -> list[float]:
        took: list[float] = []
        now = time.perf_counter()
        while not took or (now - start < seconds and len(took) < most):
            before = now
            call()
            now = time.perf_counter()
            took.append(now - before)
        return took

    with ThreadPoolExecutor(len(callers)) as threads:
        latencies = [latency for took in threads.map(calls, callers) for latency in took]
    return len(latencies) / (time.perf_counter() - start), latencies
