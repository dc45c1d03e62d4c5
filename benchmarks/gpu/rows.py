"""A measurement as it is written to the result files."""

from typing import Any


def row(
    batch_size: int, place: str, in_flight: int, streams: int, items_per_second: float, p50: int, p99: int, calls: int
) -> dict[str, Any]:
    """One row; the percentiles are in microseconds."""
    return {
        "batchSize": batch_size,
        "input": place.lower(),
        "inFlight": in_flight,
        "streams": streams,
        "imagesPerSecond": round(items_per_second, 1),
        "p50Milliseconds": p50 / 1000,
        "p99Milliseconds": p99 / 1000,
        "calls": calls,
    }
