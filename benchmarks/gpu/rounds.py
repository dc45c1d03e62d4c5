"""Calls in flight for a while, and what they amount to."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

WARM_UP_CALLS = 10
ROUNDS = 3  # the median round is told
SEED = 20180327

Call = Callable[[], None]


def measure(callers: Sequence[Call], size: int, seconds: float) -> dict[str, float]:
    """Images a second of the median round, and percentiles of all calls' latencies in milliseconds."""
    rates, latencies = [], []
    for _ in range(ROUNDS):
        rate, took = one_round(callers, size, seconds)
        rates.append(rate)
        latencies += took
    return {
        "imagesPerSecond": round(median(rates), 1),
        "p50Milliseconds": round(float(np.percentile(latencies, 50)) * 1e3, 3),
        "p99Milliseconds": round(float(np.percentile(latencies, 99)) * 1e3, 3),
        "calls": len(latencies),
    }


def one_round(callers: Sequence[Call], size: int, seconds: float) -> tuple[float, list[float]]:
    """Each caller calls from a thread of its own, again and again, until the time is up."""
    start = time.perf_counter()

    def calls(call: Call) -> list[float]:
        took = []
        now = time.perf_counter()
        while now - start < seconds:
            before = now
            call()
            now = time.perf_counter()
            took.append(now - before)
        return took

    with ThreadPoolExecutor(len(callers)) as threads:
        latencies = [one for took in threads.map(calls, callers) for one in took]
    return len(latencies) * size / (time.perf_counter() - start), latencies
