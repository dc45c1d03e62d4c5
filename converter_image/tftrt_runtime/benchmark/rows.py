"""What is measured: one row for each way to run the model, batch size, place of the input and calls in flight."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal, Optional

from tftrt_runtime.contract.artifact import Benchmark, Frozen

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


def summary(rows: Iterable[Row]) -> Optional[Benchmark]:
    """The largest batch, one call at a time, its input on the GPU where there is one; None without measurements."""
    single = [row for row in rows if row.inFlight == 1]
    if not single:
        return None
    place = "Device" if any(row.input == "Device" for row in single) else "Host"
    largest = max(row.batchSize for row in single)
    p50 = {row.way: row.p50Microseconds for row in single if row.batchSize == largest and row.input == place}
    converted, native, fp32 = p50["Converted"], p50["Native"], p50.get("FP32")
    return Benchmark(
        batchSize=largest,
        convertedP50Microseconds=converted,
        nativeP50Microseconds=native,
        fp32P50Microseconds=fp32,
        speedup=_ratio(native, converted),
        fp32Speedup=None if fp32 is None else _ratio(fp32, converted),
    )


def _ratio(one: int, other: int) -> str:
    return str((Decimal(one) / Decimal(other)).quantize(Decimal("0.01")))
