"""What is measured: one row for each way to run the model, batch size, place of the input and calls in flight."""

from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal
from typing import Literal, Optional

from tftrt_runtime.contract.artifact import Benchmark, Frozen
from tftrt_runtime.serve import limits

# How many calls are in flight where a model is timed as its clients have it: as many as a server has under way.
AS_SERVED = limits.SLOTS

Way = Literal["Converted", "Native", "FP32"]
Place = Literal["Device", "Host"]


class Row(Frozen):
    """One measurement, warm; every call ends with its answers on the host.

    `way`: FP32 is the unconverted model without TF32, Native the same as TensorFlow runs it by default. `input`: where
    it lies before a call. `inFlight`: how many threads call at a time, and on how many CUDA `streams` of their own.
    """

    way: Way
    batchSize: int  # noqa: N815
    input: Place
    inFlight: int  # noqa: N815
    streams: int = 1
    itemsPerSecond: float  # noqa: N815
    p50Microseconds: int  # noqa: N815
    p99Microseconds: int  # noqa: N815
    calls: int


def in_flight(row: Row) -> str:
    """How many calls at a time, and on how many streams where it is more than one: `3 on 2 streams`."""
    return str(row.inFlight) if row.streams == 1 else f"{row.inFlight} on {row.streams} streams"


def rate(row: Row) -> float:
    """Items a second, of a slow model in an older report, too: there it was rounded to 0."""
    return row.itemsPerSecond or row.batchSize * row.inFlight * 1e6 / row.p50Microseconds


def calls_at_the_largest_batch(rows: Iterable[Row], place: Place, most: int) -> dict[Way, Row]:
    """A row for each way, with its input at this place and as many calls in flight as all were measured with.

    There are at most `most` of them. Empty where some way was not measured so at all.
    """
    known = tuple(rows)
    largest = max((row.batchSize for row in known), default=0)
    ways = {row.way for row in known}
    for in_flight in range(most, 0, -1):
        found = {
            row.way: row for row in known if (row.batchSize, row.input, row.inFlight) == (largest, place, in_flight)
        }
        if set(found) == ways:
            return found
    return {}


def summary(rows: Iterable[Row]) -> Optional[Benchmark]:
    """What a client can have at the largest batch, and what the device does; None where the former was not measured."""
    known = tuple(rows)
    served, single = (calls_at_the_largest_batch(known, "Host", most) for most in (AS_SERVED, 1))
    if not {"Converted", "Native"} <= set(served) & set(single):
        return None
    on_device = calls_at_the_largest_batch(known, "Device", 1)
    return Benchmark(
        batchSize=served["Converted"].batchSize,
        convertedP50Microseconds=single["Converted"].p50Microseconds,
        nativeP50Microseconds=single["Native"].p50Microseconds,
        fp32P50Microseconds=single["FP32"].p50Microseconds if "FP32" in single else None,
        speedup=ratio(served["Converted"], served["Native"]),
        fp32Speedup=ratio(served["Converted"], served["FP32"]) if "FP32" in served else None,
        input="Host",
        inFlight=served["Converted"].inFlight,
        convertedItemsPerSecond=_text(rate(served["Converted"])),
        nativeItemsPerSecond=_text(rate(served["Native"])),
        speedupOnDevice=ratio(on_device["Converted"], on_device["Native"]) if on_device else None,
    )


def ratio(one: Row, other: Row) -> str:
    """How many times as many items a second: rounded down, for a gate judges it."""
    exact = Decimal(str(rate(one))) / Decimal(str(rate(other)))
    return str(exact.quantize(Decimal("0.01"), ROUND_FLOOR))


def _text(number: float) -> str:
    """A number without an exponent, of so many digits as it needs."""
    return format(Decimal(f"{number:.6g}"), "f")
