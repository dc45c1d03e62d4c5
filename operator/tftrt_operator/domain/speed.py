"""How many times as fast as the unconverted model, and for whom: a client, or the device.

What is judged, and shown as the speed-up, is what a client can have. Older converters told of one call at a time whose
input was on the device already, which no client over the network has; without a device it was on the host.
"""

from .record import ReportedBenchmark, Summary

CPU = "cpu"
"""The product of an artifact that needs no GPU."""


def is_a_clients(summary: Summary) -> bool:
    """Return whether a model was timed as a client has it: with input and answers on the host."""
    return summary.benchmark is not None and (summary.benchmark.input == "Host" or summary.product == CPU)


def clients_speedup(summary: Summary) -> str | None:
    """Return what a client can have, None where nobody measured or kept it."""
    return summary.benchmark.speedup if summary.benchmark is not None and is_a_clients(summary) else None


def devices_speedup(summary: Summary) -> str | None:
    """Return what it is with input that is on the device already; None where there is none, or no GPU."""
    timed = summary.benchmark
    if timed is None:
        return None
    return timed.speedup_on_device if is_a_clients(summary) else timed.speedup


def how_timed(summary: Summary, timed: ReportedBenchmark) -> str:
    """Return what the record's speed-up is of, in words."""
    batch = f"at batch size {timed.batch_size}"
    if not is_a_clients(summary):
        return f"{batch} with its input on the device already, which no client over the network has"
    calls = "one call" if timed.in_flight in (None, 1) else f"{timed.in_flight} calls"
    return f"{batch}, {calls} at a time, input and answers on the host"


def figures(summary: Summary, timed: ReportedBenchmark) -> str:
    """Return the two figures whose quotient the record's speed-up is, and the device's speed-up where it is another."""
    converted, native = timed.converted_items_per_second, timed.native_items_per_second
    if converted is None or native is None:
        return f"{timed.converted_p50_microseconds} against {timed.native_p50_microseconds} microseconds"
    found = f"{converted} against {native} items a second"
    on_device = devices_speedup(summary)
    return found if on_device is None else f"{found}, and {on_device} times with its input on the device already"
