"""What this server counts itself, shown among Triton's metrics (docs/metrics.md).

Triton takes its own figures when `execute` returns, which is before the answers exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, Union

# The backend's own module, which only exists in its process.
import triton_python_backend_utils as pb_utils

from tftrt_runtime import log
from tftrt_runtime.processes.child import one_line
from tftrt_runtime.serve import codes
from tftrt_runtime.serve.batching import size_buckets

# Seconds, from a quick call of a small network to one of a minute.
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Answered(NamedTuple):
    """A request got its answer, so many seconds after it came."""

    code: str
    seconds: float


class Called(NamedTuple):
    """The model was called with so many items."""

    items: int


class InFlight(NamedTuple):
    """So many batches more (or fewer) are being answered."""

    change: int


Fact = Union[Answered, Called, InFlight]


class Metrics:
    """Safe to tell from several threads, none of which waits.

    A change of one of Triton's metrics is a message to tritonserver and back: a thread of its own sends them all.
    """

    def __init__(self, model: str, largest_batch: int) -> None:
        family = pb_utils.MetricFamily
        # The families are kept: Triton shows those that live.
        self._requests = family("tftrt_requests_total", "Requests answered, by the code of the answer", family.COUNTER)
        self._durations = family(
            "tftrt_request_duration_seconds", "From a request's arrival in the backend to its answer", family.HISTOGRAM
        )
        self._sizes = family("tftrt_batch_size", "Items in each call of the model", family.HISTOGRAM)
        self._batches = family("tftrt_batches_in_flight", "Batches that are being answered", family.GAUGE)
        self._labels = {"model": model}
        self._by_code: dict[str, Any] = {}
        for code in codes.ALL:  # a counter that begins at its first failure never grows by it: rate() would not see it
            self._count(code, 0)
        self._duration = self._durations.Metric(labels=self._labels, buckets=list(DURATIONS))
        self._size = self._sizes.Metric(labels=self._labels, buckets=size_buckets(largest_batch))
        self._in_flight = self._batches.Metric(labels=self._labels)
        self._facts: SimpleQueue[Fact | None] = SimpleQueue()
        self._thread = Thread(target=self._send_all, daemon=True)
        self._thread.start()

    def tell(self, *facts: Fact) -> None:
        """Have facts counted in a moment."""
        for fact in facts:
            self._facts.put(fact)

    def close(self) -> None:
        """Count what was told, and end."""
        self._facts.put(None)
        self._thread.join()
        # Each tells tritonserver of its end, which later would crash this process (seen with 2.51.0); families last.
        del self._by_code, self._duration, self._size, self._in_flight
        del self._requests, self._durations, self._sizes, self._batches

    def _send_all(self) -> None:
        while True:
            facts = [self._facts.get(), *_waiting(self._facts)]
            try:
                self._send([fact for fact in facts if fact is not None])
            except Exception as error:  # what is not counted is answered all the same
                log.event("serve", "Metrics could not be sent", error=one_line(error))
            if None in facts:
                return

    def _send(self, facts: Iterable[Fact]) -> None:
        answers: Counter[str] = Counter()
        change = 0
        for fact in facts:
            if isinstance(fact, Answered):
                answers[fact.code] += 1
                self._duration.observe(fact.seconds)
            elif isinstance(fact, Called):
                self._size.observe(fact.items)
            else:
                change += fact.change
        for code, count in answers.items():
            self._count(code, count)
        if change:
            self._in_flight.increment(change)

    def _count(self, code: str, count: int) -> None:
        if code not in self._by_code:
            self._by_code[code] = self._requests.Metric(labels={**self._labels, "code": code})
        self._by_code[code].increment(count)


def _waiting(facts: SimpleQueue[Fact | None]) -> list[Fact | None]:
    found = []
    try:
        while True:
            found.append(facts.get_nowait())
    except Empty:
        return found
