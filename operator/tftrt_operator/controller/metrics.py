"""What the operator tells Prometheus of itself. docs/metrics.md describes each metric; a test compares.

Every label has few values: nothing that a tenant chooses, such as a name, is one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from ..domain.milestones import FAILURE_REASONS, BecameReady, ConversionEnded, Milestone
from ..domain.verdict import Standing

PASS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OUTCOMES = ("Done", "Conflict", "WriteFailed", "InternalError", "Gone")
"""How a pass may end: worker.py's words."""
READY_SECONDS = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0)


@dataclass(frozen=True, slots=True)
class Now:
    """What is counted when Prometheus asks."""

    leads: bool
    waiting: int
    """Keys in the queue."""
    oldest_seconds: float
    """For how long the one that has waited longest has done so; 0 where none waits."""
    models: Mapping[Standing, int]


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._passes = Histogram(
            "tftrt_operator_reconcile_duration_seconds",
            "Time of one pass over one TRTModel, requests to the API server included.",
            ["outcome"],
            buckets=PASS_SECONDS,
            registry=self._registry,
        )
        self._conversions = Counter(
            "tftrt_operator_conversions_total",
            "Conversions that ended, a failed one after all its attempts, by result and by the reason of the status.",
            ["result", "reason"],
            registry=self._registry,
        )
        self._ready = Histogram(
            "tftrt_operator_time_to_ready_seconds",
            "From the moment at which a TRTModel was seen not to be as its spec says until it was Ready.",
            buckets=READY_SECONDS,
            registry=self._registry,
        )
        self._requests = Counter(
            "tftrt_operator_api_requests_total",
            "Requests to the API server by HTTP method and status code; code 0 is one without an answer.",
            ["method", "code"],
            registry=self._registry,
        )
        self._refused = Counter(
            "tftrt_operator_writes_refused_total",
            "Writes that the API server refused, by the kind of the object and the status code.",
            ["kind", "code"],
            registry=self._registry,
        )
        self._show_from_the_start()

    def _show_from_the_start(self) -> None:
        """Have series before there is anything to count: Prometheus sees no growth in one that first shows with 1."""
        for outcome in OUTCOMES:
            self._passes.labels(outcome)
        self._conversions.labels("Succeeded", "Converted")
        for reason in sorted(FAILURE_REASONS):
            self._conversions.labels("Failed", reason)

    def watch(self, look: Callable[[], Now]) -> None:
        """Have what is counted at the time asked of this function."""
        self._registry.register(_Present(look))

    def passed(self, outcome: str, seconds: float) -> None:
        """Count a pass; the outcome is one of `OUTCOMES`."""
        self._passes.labels(outcome).observe(seconds)

    def requested(self, method: str, code: int) -> None:
        """Count a request to the API server."""
        self._requests.labels(method, str(code)).inc()

    def refused(self, kind: str, code: int) -> None:
        """Count a write that was not taken."""
        self._refused.labels(kind, str(code)).inc()

    def reached(self, milestone: Milestone) -> None:
        """Count what has come to an end for a model."""
        match milestone:
            case ConversionEnded(succeeded, reason):
                self._conversions.labels("Succeeded" if succeeded else "Failed", reason).inc()
            case BecameReady(seconds):
                self._ready.observe(seconds)

    def exposition(self) -> bytes:
        """All of them in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)


class _Present(Collector):
    def __init__(self, look: Callable[[], Now]) -> None:
        self._look = look

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._look()
        yield _gauge("tftrt_operator_leader", "1 in the replica that acts, 0 in one that waits.", float(now.leads))
        yield _gauge("tftrt_operator_queue_depth", "TRTModels that wait for a pass.", now.waiting)
        yield _gauge(
            "tftrt_operator_queue_oldest_seconds", "How long the longest of them has waited.", now.oldest_seconds
        )
        models = GaugeMetricFamily(
            "tftrt_operator_models", "TRTModels by standing; in the replica that acts alone.", labels=["standing"]
        )
        if now.leads:
            for standing in Standing:
                models.add_metric([standing], now.models.get(standing, 0))
        yield models


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, value=value)
