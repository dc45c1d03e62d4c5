"""The calls of a webhook: which came when, and how many were under way at a time."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Call:
    """One call; times in seconds of `time.perf_counter`. It has no end while it is under way."""

    model: str
    began: float
    ended: float = math.inf


@dataclass(frozen=True, slots=True)
class Pressure:
    """What hung over the honest namespace while it was measured."""

    begun: int
    """Calls that began meanwhile."""
    mean_under_way: float
    most_under_way: int
    models_seen: int
    """Models whose write had come to the webhook by the end."""
    shortest_seconds: float | None
    """What the shortest of the calls that were over by the end took."""


class Calls:
    """All calls of a webhook, written by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    @contextmanager
    def under_way(self, model: str) -> Iterator[None]:
        """Count a call for a model's Job as under way."""
        call = Call(model, time.perf_counter())
        with self._lock:
            self._calls.append(call)
        try:
            yield
        finally:
            call.ended = time.perf_counter()

    def models(self) -> frozenset[str]:
        """Return the models whose Jobs the calls were about."""
        with self._lock:
            return frozenset(call.model for call in self._calls)

    def pressure(self, began: float, ended: float) -> Pressure:
        """Return what was under way between two times of `time.perf_counter`, in seconds."""
        with self._lock:
            over = [call.ended - call.began for call in self._calls if call.ended < ended]
            calls = [call for call in self._calls if call.began < ended and call.ended > began]
        spans = [(max(call.began, began), min(call.ended, ended)) for call in calls]
        return Pressure(
            begun=sum(call.began >= began for call in calls),
            mean_under_way=sum(end - start for start, end in spans) / (ended - began),
            # It is highest where one of them begins.
            most_under_way=max((sum(a <= start < b for a, b in spans) for start, _ in spans), default=0),
            models_seen=len(self.models()),
            shortest_seconds=min(over, default=None),
        )
