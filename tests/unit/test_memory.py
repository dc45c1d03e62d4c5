import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tftrt_operator.api.gpu import GPU
from tftrt_operator.domain.manifests.conversion_job import conversion_job
from tftrt_operator.domain.manifests.names import SPEC_ANNOTATION
from tftrt_operator.domain.memory import (
    PROCESS_OVERHEAD,
    MeasuredPool,
    MemoryGrant,
    MemoryShortage,
    memory_grant,
)

from .builders import target, trtmodel


def gpu(**fields: Any) -> GPU:
    return GPU.model_validate(fields)


def test_the_example_of_the_announcement_a_12_gb_device_with_a_workspace_of_4_gb() -> None:
    """per_process_gpu_memory_fraction = (12 - 4) / 12 = 0.67, and max_workspace_size_bytes = 4000000000.

    "Leveraging TensorFlow-TensorRT integration" (TensorFlow 1.7), with a spec that says so.
    """
    model = trtmodel(conversion={"maxWorkspaceSize": "4G"})
    wanted = target(model)
    job = conversion_job(model, wanted.runtime, wanted.key).body
    task = json.loads(job["spec"]["template"]["metadata"]["annotations"][SPEC_ANNOTATION])
    assert task["conversion"]["maxWorkspaceSizeBytes"] == 4_000_000_000
    grant = memory_grant(model.spec.gpu, wanted.inputs.max_workspace_size, 12_000_000_000, None)
    assert grant == MemoryGrant(Decimal("0.6666"), 7_999_200_000), "floored: it never exceeds the budget"
    assert f"{grant.fraction:.2f}" == "0.67"


def test_the_fraction_never_exceeds_the_budget() -> None:
    for device in (11_999_999_999, 16_106_127_360, 85_000_000_001):
        grant = memory_grant(gpu(memory="10G"), 2**30 * 2, device, None)
        assert isinstance(grant, MemoryGrant)
        assert grant.limit_bytes <= 10_000_000_000 - 2**31


def test_memory_is_what_one_pod_may_use_of_a_larger_device() -> None:
    grant = memory_grant(gpu(memory="12G"), 4_000_000_000, 80_000_000_000, None)
    assert grant == MemoryGrant(Decimal("0.1"), 8_000_000_000)


def test_an_explicit_fraction_is_taken_and_wins_where_an_earlier_crd_let_it_stand_beside_memory() -> None:
    grant = memory_grant(gpu(memoryFraction="0.5", memory="8G"), 4_000_000_000, 12_000_000_000, None)
    assert grant == MemoryGrant(Decimal("0.5"), 6_000_000_000)
    alone = memory_grant(gpu(memoryFraction="0.95"), 4_000_000_000, 12_000_000_000, None)
    assert alone == MemoryGrant(Decimal("0.95"), 11_400_000_000), "nothing was measured that it leaves no room for"


@pytest.mark.parametrize("fraction", ["0.00001", "0.00009999"])
def test_an_explicit_fraction_that_is_floored_to_nothing_is_refused_and_not_raised(fraction: str) -> None:
    shortage = memory_grant(gpu(memoryFraction=fraction), 1, 80_000_000_000, None)
    assert isinstance(shortage, MemoryShortage)
    assert shortage.message == (
        f"gpu.memoryFraction {fraction} is less than 0.0001, the smallest that can be given: raise it"
    )
    smallest = memory_grant(gpu(memoryFraction="0.00019"), 1, 80_000_000_000, None)
    assert smallest == MemoryGrant(Decimal("0.0001"), 8_000_000)


def test_what_is_left_beside_the_reserve_is_no_grant_where_no_fraction_gives_so_little() -> None:
    shortage = memory_grant(gpu(memory="4007999999"), 4_000_000_000, 80_000_000_000, None)
    assert isinstance(shortage, MemoryShortage)
    assert "leave 7999999, which is less than 0.0001 of the device's 80000000000: raise gpu.memory" in shortage.message
    assert memory_grant(gpu(memory="4008M"), 4_000_000_000, 80_000_000_000, None) == MemoryGrant(
        Decimal("0.0001"), 8_000_000
    )


def test_an_explicit_fraction_leaves_room_in_the_memory_allowed_though_nothing_was_measured() -> None:
    shortage = memory_grant(gpu(memoryFraction="0.5", memory="7G"), 1, 12_000_000_000, None)
    assert isinstance(shortage, MemoryShortage)
    assert f"a server takes {PROCESS_OVERHEAD} beside them, but gpu.memory is 7000000000" in shortage.message
    assert "raise or drop gpu.memory" in shortage.message


@pytest.mark.parametrize(("memory", "of"), [(None, "the device has 12000000000"), ("8G", "gpu.memory is 8000000000")])
def test_an_explicit_fraction_leaves_room_for_what_was_measured_outside_the_pool(memory: str | None, of: str) -> None:
    measured = MeasuredPool(peak=400_000_000, overhead=1_000_000_000)
    fits = "0.5" if memory else "0.91"
    assert isinstance(memory_grant(gpu(memoryFraction=fits, memory=memory), 1, 12_000_000_000, measured), MemoryGrant)
    shortage = memory_grant(gpu(memoryFraction="0.92", memory=memory), 1, 12_000_000_000, measured)
    assert isinstance(shortage, MemoryShortage)
    assert f"11040000000 bytes, and a server takes 1000000000 beside them, but {of}" in shortage.message
    assert "lower gpu.memoryFraction" in shortage.message


def test_a_small_workspace_still_leaves_room_for_what_lies_outside_the_pool() -> None:
    grant = memory_grant(gpu(), 1, 12_000_000_000, None)
    assert isinstance(grant, MemoryGrant)
    assert grant.limit_bytes <= 12_000_000_000 - PROCESS_OVERHEAD


@pytest.mark.parametrize("memory", ["4G", "1G", "4000000000"])
def test_too_little_memory_is_refused_with_the_sum_written_out(memory: str) -> None:
    shortage = memory_grant(gpu(memory=memory), 4_000_000_000, 12_000_000_000, None)
    assert isinstance(shortage, MemoryShortage)
    assert "4000000000 reserved" in shortage.message
    assert "raise gpu.memory or lower conversion.maxWorkspaceSize" in shortage.message


@pytest.mark.parametrize("fraction", [None, "0.5"])
@pytest.mark.parametrize("measured", [None, MeasuredPool(peak=10**9, overhead=5 * 10**8)])
def test_more_memory_than_the_device_has_is_refused(fraction: str | None, measured: MeasuredPool | None) -> None:
    shortage = memory_grant(gpu(memory="24G", memoryFraction=fraction), 4_000_000_000, 12_000_000_000, measured)
    assert isinstance(shortage, MemoryShortage)
    assert "24000000000 bytes, but the device has 12000000000" in shortage.message


def test_measured_gives_the_peak_and_a_tenth_more() -> None:
    grant = memory_grant(gpu(memoryPolicy="Measured"), 4_000_000_000, 10_000_000_000, MeasuredPool(10**9, 5 * 10**8))
    assert isinstance(grant, MemoryGrant)
    assert 1_100_000_000 <= grant.limit_bytes <= 1_101_000_000


def test_measured_memory_must_fit_what_one_pod_may_use() -> None:
    pool = MeasuredPool(peak=10**9, overhead=5 * 10**8)
    assert isinstance(memory_grant(gpu(memoryPolicy="Measured", memory="1600M"), 1, 10**10, pool), MemoryGrant)
    shortage = memory_grant(gpu(memoryPolicy="Measured", memory="1599M"), 1, 10**10, pool)
    assert isinstance(shortage, MemoryShortage)
    assert "makes 1600000000, but gpu.memory is 1599000000" in shortage.message


def test_measured_needs_a_measurement() -> None:
    shortage = memory_grant(gpu(memoryPolicy="Measured"), 1, 10**10, None)
    assert isinstance(shortage, MemoryShortage)


@pytest.mark.parametrize("fields", [{"memoryFraction": "0.05"}, {"memory": "2400M"}])
def test_a_pool_that_does_not_hold_the_measured_peak_is_refused(fields: dict[str, str]) -> None:
    shortage = memory_grant(gpu(**fields), 2 * 10**9, 10**10, MeasuredPool(peak=10**9, overhead=5 * 10**8))
    assert isinstance(shortage, MemoryShortage)
    assert "but the model needs 1000000000 at its largest batch" in shortage.message


def test_the_measured_overhead_replaces_the_assumed_one() -> None:
    grant = memory_grant(gpu(memory="2G"), 1, 10**10, MeasuredPool(peak=10**9, overhead=5 * 10**8))
    assert grant == MemoryGrant(Decimal("0.15"), 1_500_000_000)


def measured_on_gpus() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What `benchmarks/gpu/memory.py` measured: a file, and a server in it."""
    for path in sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/memory-*.json")):
        file = json.loads(path.read_text())
        for row in file.get("rows") or [file]:
            if "memoryFraction" in row:
                yield file, row


def test_what_was_measured_on_gpus_had_the_fraction_that_the_operator_gives() -> None:
    rows = list(measured_on_gpus())
    assert rows
    for file, row in rows:
        memory = row["measured"]
        grant = memory_grant(
            gpu(memory=str(row["budgetBytes"])),
            file.get("workspaceBytes", 4 << 30),
            file["device"]["memory_bytes"],
            MeasuredPool(memory["peakBytes"], memory["overheadBytes"]),
        )
        assert isinstance(grant, MemoryGrant)
        assert str(grant.fraction) == row["memoryFraction"]
