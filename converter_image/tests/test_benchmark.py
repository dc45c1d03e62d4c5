from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.box import Box
from tftrt_runtime.benchmark import rounds, rows, run, timing
from tftrt_runtime.benchmark.messages import TimingRequest
from tftrt_runtime.benchmark.rows import Row
from tftrt_runtime.contract.artifact import Sample
from tftrt_runtime.report import data
from tftrt_runtime.serve import limits


def row(way: str, size: int, place: str, in_flight: int, p50: int, rate: float = 1.0) -> Row:
    return Row.model_validate(
        {
            "way": way,
            "batchSize": size,
            "input": place,
            "inFlight": in_flight,
            "itemsPerSecond": rate,
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


# INT8 on an H100 at batch 128, run 12 in docs/gpu-results.md: 9.5 times TF32 from the device, 1.9 from the host.
H100 = [
    row("Converted", 1, "Host", rows.AS_SERVED, 700, 5000.0),
    row("Converted", 128, "Device", 1, 3_422, 37_399.0),
    row("Converted", 128, "Device", 2, 6_049, 42_325.0),
    row("Converted", 128, "Host", 1, 42_100, 3_040.0),
    row("Converted", 128, "Host", rows.AS_SERVED, 60_900, 3_455.0),
    row("Native", 1, "Host", rows.AS_SERVED, 5_000, 400.0),
    row("Native", 128, "Device", 1, 32_438, 3_946.0),
    row("Native", 128, "Host", 1, 79_200, 1_617.0),
    row("Native", 128, "Host", rows.AS_SERVED, 141_000, 1_932.0),
]


def test_the_speedup_is_what_a_client_can_have_and_the_devices_stands_beside_it() -> None:
    found = rows.summary(H100)
    assert found is not None
    assert (found.input, found.batchSize, found.inFlight) == ("Host", 128, limits.SLOTS)
    assert (found.speedup, found.convertedItemsPerSecond, found.nativeItemsPerSecond) == ("1.78", "3455", "1932")
    assert (found.convertedP50Microseconds, found.nativeP50Microseconds) == (42_100, 79_200), "one call at a time"
    assert found.speedupOnDevice == "9.47"
    assert (found.fp32P50Microseconds, found.fp32Speedup) == (None, None)


def test_true_fp32_is_called_as_the_others_are() -> None:
    fp32 = [row("FP32", 128, "Device", 1, 42_000, 3_024.0), row("FP32", 128, "Host", 1, 90_000, 1_641.0)]
    found = rows.summary([*H100, *fp32])
    assert found is not None
    assert (found.inFlight, found.speedup) == (1, "1.88"), "two calls at a time were not measured of all"
    assert (found.fp32P50Microseconds, found.fp32Speedup) == (90_000, "1.85")
    found = rows.summary([*H100, *fp32, row("FP32", 128, "Host", rows.AS_SERVED, 160_000, 1_802.0)])
    assert found is not None
    assert (found.inFlight, found.speedup, found.fp32Speedup) == (rows.AS_SERVED, "1.78", "1.91")


def test_ways_are_judged_by_as_many_calls_in_flight_as_all_were_measured_with() -> None:
    """Else TensorFlow with one call at a time would stand beside an engine with two."""
    for way in ("Converted", "Native"):
        found = rows.summary([one for one in H100 if (one.way, one.inFlight) != (way, rows.AS_SERVED)])
        assert found is not None
        assert (found.inFlight, found.speedup) == (1, "1.88")


def test_more_calls_in_flight_than_a_server_has_are_not_judged() -> None:
    more = limits.SLOTS + 1
    faster = [row("Converted", 128, "Host", more, 1, 90_000.0), row("Native", 128, "Host", more, 1, 1.0)]
    assert rows.summary([*H100, *faster]) == rows.summary(H100)


def test_what_was_measured_from_the_device_alone_is_no_speedup() -> None:
    assert rows.summary([one for one in H100 if one.input == "Device"]) is None
    assert rows.summary([]) is None


def test_without_a_device_there_is_no_figure_of_it() -> None:
    host = [one for one in H100 if one.input == "Host"]
    found, on_gpu = rows.summary(host), rows.summary(H100)
    assert found is not None
    assert on_gpu is not None
    assert found == on_gpu.model_copy(update={"speedupOnDevice": None})
    assert "speedupOnDevice" not in found.model_dump()


def test_a_speedup_is_not_rounded_up_to_what_a_gate_asks_for() -> None:
    fast, slow = row("Converted", 1, "Host", 1, 1, 1.4999), row("Native", 1, "Host", 1, 1, 1.0)
    assert rows.ratio(fast, slow) == "1.49"


def test_the_slow_models_of_older_reports_have_a_rate() -> None:
    slow = [row("Converted", 1, "Host", 1, 32_000_000, 0.0), row("Native", 1, "Host", 1, 64_000_000, 0.0)]
    found = rows.summary(slow)
    assert found is not None
    assert (found.speedup, found.convertedItemsPerSecond) == ("2.00", "0.03125")


def test_what_is_judged_is_measured_before_what_there_may_be_no_time_for() -> None:
    request = TimingRequest(
        models=(),
        tf32=True,
        inputs=(),
        sample=Sample(),
        batch_sizes=(1, 8, 128),
        places=("Device", "Host"),
        in_flight=rounds.IN_FLIGHT,
        each_seconds=0.1,
        limit_seconds=10,
    )
    found = timing.order(request)
    single = [(1, size, place) for size in (1, 8, 128) for place in ("Device", "Host")]
    assert found[: len(single)] == single
    assert found[len(single)] == (limits.SLOTS, 128, "Host")
    assert len(found) == len(set(found)) == len(rounds.IN_FLIGHT) * 6
    assert timing.order(request.model_copy(update={"in_flight": (1,)})) == single


def test_without_a_gpu_the_models_are_timed_from_the_host(converted: Callable[..., Box]) -> None:
    box = converted("cnn")
    report = data.read(box.published / data.FILE)
    found = {(row.way, row.batchSize, row.inFlight) for row in report.findings.rows}
    ways = ("Native", "Converted")
    judged = {(way, size, at_once) for way in ways for size, at_once in ((1, 1), (4, 1), (4, limits.SLOTS))}
    # What is left is measured where there is time for it: on a machine that does other things there may be none.
    assert judged <= found <= {(way, size, at_once) for way in ways for size in (1, 4) for at_once in (1, 2, 3)}
    assert {row.input for row in report.findings.rows} == {"Host"}
    assert all(
        row.p99Microseconds >= row.p50Microseconds > 0 and row.itemsPerSecond > 0 for row in report.findings.rows
    )


def test_the_summary_tells_the_speedup(converted: Callable[..., Box]) -> None:
    benchmark = converted("cnn").manifest["summary"]["benchmark"]
    assert benchmark["batchSize"] == 4
    assert Decimal(benchmark["speedup"]) > 0
    ratio = float(benchmark["convertedItemsPerSecond"]) / float(benchmark["nativeItemsPerSecond"])
    assert 0 <= ratio - float(benchmark["speedup"]) < 0.01 + 1e-9
    assert (benchmark["input"], benchmark["inFlight"]) == ("Host", limits.SLOTS)
    assert benchmark["fp32P50Microseconds"] is None
    assert "speedupOnDevice" not in benchmark, "there is none"


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
    for row in findings.rows:
        each = run.CPU_SECONDS * 1e6 / (len(rounds.IN_FLIGHT) * 2 * 2)  # two batch sizes, two models
        if (row.batchSize, row.inFlight) == (4, rows.AS_SERVED):
            each = max(each, run.SERVED_SECONDS * 1e6)
        # A round ends with the call that its time ends in, however slow the machine; twice, for a median is no mean.
        assert row.calls * row.p50Microseconds / row.inFlight < 2 * (each + 1.5 * rounds.ROUNDS * row.p99Microseconds)
    assert {row.batchSize for row in findings.rows} == {1, 4}
