from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.box import Box
from tftrt_runtime.benchmark import rounds, rows, run, timing
from tftrt_runtime.benchmark.rows import Row
from tftrt_runtime.report import data


def row(way: str, size: int, place: str, in_flight: int, p50: int) -> Row:
    return Row.model_validate(
        {
            "way": way,
            "batchSize": size,
            "input": place,
            "inFlight": in_flight,
            "itemsPerSecond": 1.0,
            "p50Microseconds": p50,
            "p99Microseconds": p50,
            "calls": 3,
        }
    )


def test_calls_end_with_the_time() -> None:
    found = rounds.measure([lambda: time.sleep(0.01)], 0.1)
    assert 3 <= len(found.latencies) <= 13
    assert 10_000 <= found.microseconds(50) < 100_000
    assert found.calls_per_second <= 100


def test_fast_calls_end_with_their_number() -> None:
    found = rounds.measure([lambda: None], 60)
    assert len(found.latencies) == rounds.MAX_CALLS // rounds.ROUNDS * rounds.ROUNDS


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_slow_calls_are_enough_for_a_median(in_flight: int) -> None:
    assert len(rounds.measure([lambda: None] * in_flight, 0).latencies) >= rounds.MIN_CALLS


def test_as_many_calls_as_said_are_in_flight() -> None:
    together = threading.Barrier(3, timeout=10)
    assert len(rounds.measure([together.wait] * 3, 0).latencies) == 3


def test_one_slow_round_does_not_count() -> None:
    waits = iter([0.5] + [0.0] * 100)
    found = rounds.measure([lambda: time.sleep(next(waits))], 0)
    assert len(found.latencies) == 3
    assert found.calls_per_second > 100


@pytest.mark.parametrize(
    ("peak", "free", "pools"),
    [
        (3, 80_000, (78, 78)),  # a small model has a stream for each call, too
        (700, 80_000, (1472, 1472)),
        (700, 1500, (742, 742)),
        (700, 1000, (1000,)),
        (700, 300, (700,)),  # which nobody can reserve, and is told
    ],
)
def test_a_converted_model_is_timed_on_as_many_streams_as_the_memory_holds(
    peak: int, free: int, pools: tuple[int, ...]
) -> None:
    assert timing.pools(peak, free, 2) == pools


def test_the_summary_is_of_the_largest_batch_on_the_device_one_call_at_a_time() -> None:
    found = rows.summary(
        [
            row("Converted", 1, "Device", 1, 10),
            row("Converted", 32, "Host", 1, 900),
            row("Converted", 32, "Device", 1, 200),
            row("Converted", 32, "Device", 2, 350),
            row("Native", 32, "Host", 1, 2000),
            row("Native", 32, "Device", 1, 1000),
            row("FP32", 32, "Device", 1, 1602),
        ]
    )
    assert found is not None
    assert (found.batchSize, found.convertedP50Microseconds, found.nativeP50Microseconds) == (32, 200, 1000)
    assert (found.speedup, found.fp32P50Microseconds, found.fp32Speedup) == ("5.00", 1602, "8.01")


def test_without_measurements_there_is_no_summary() -> None:
    assert rows.summary([]) is None


def test_without_a_gpu_the_models_are_timed_from_the_host(converted: Callable[..., Box]) -> None:
    box = converted("cnn")
    report = data.read(box.published / data.FILE)
    found = {(row.way, row.batchSize, row.inFlight) for row in report.findings.rows}
    assert found == {
        (way, size, at_once) for way in ("Native", "Converted") for size in (1, 4) for at_once in (1, 2, 3)
    }
    assert {row.input for row in report.findings.rows} == {"Host"}
    assert all(
        row.p99Microseconds >= row.p50Microseconds > 0 and row.itemsPerSecond > 0 for row in report.findings.rows
    )


def test_the_summary_tells_the_speedup(converted: Callable[..., Box]) -> None:
    benchmark = converted("cnn").manifest["summary"]["benchmark"]
    assert benchmark["batchSize"] == 4
    assert Decimal(benchmark["speedup"]) > 0
    ratio = benchmark["nativeP50Microseconds"] / benchmark["convertedP50Microseconds"]
    assert ratio == pytest.approx(float(benchmark["speedup"]), abs=0.01)
    assert benchmark["fp32P50Microseconds"] is None


def test_the_report_compares_each_output_at_each_batch_size(converted: Callable[..., Box]) -> None:
    box = converted("two")
    comparisons = data.read(box.published / data.FILE).findings.comparisons
    names = [output["name"] for output in box.manifest["summary"]["outputs"]]
    assert [(found.batchSize, found.inputUpTo, found.output) for found in comparisons] == [
        (size, up_to, name) for size in (1, 4) for up_to in (1, 255) for name in sorted(names)
    ]
    # Sums of small whole numbers, and one sum of two: both have one result.
    assert {(found.output, found.maxRelativeError, found.equalElements) for found in comparisons} == {
        ("even", None, "1"),
        ("total", "0", None),
    }


def test_the_benchmark_of_a_large_model_is_bounded(converted: Callable[..., Box]) -> None:
    box = converted("resnet50")
    findings = data.read(box.published / data.FILE).findings
    each = run.CPU_SECONDS * 1e6 / (len(rounds.IN_FLIGHT) * 2 * 2)  # two batch sizes, two models
    for row in findings.rows:
        # A round ends with the call that its time ends in, however slow the machine; twice, for a median is no mean.
        assert row.calls * row.p50Microseconds / row.inFlight < 2 * (each + 1.5 * rounds.ROUNDS * row.p99Microseconds)
    assert {row.batchSize for row in findings.rows} == {1, 4}
