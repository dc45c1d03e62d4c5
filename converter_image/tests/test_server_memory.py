"""What a conversion makes of measuring one model several times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tftrt_runtime.contract.artifact import Memory
from tftrt_runtime.contract.errors import ChildAborted, GPUOutOfMemory, GPUUnfit
from tftrt_runtime.device import cuda, server_memory
from tftrt_runtime.device.server_memory import Measured, agreement
from tftrt_runtime.serve.memory import MIB

GROWN = Measured(weights=10 * MIB, peak=100 * MIB - 5, taken=640 * MIB, returned=640 * MIB)

# What lies outside of the pool as one run tells it, at its beginning and at its end; or how it failed.
Told = tuple[int, int] | Exception


class Runs:
    """Answers one after the other, and remembers the pools that were asked for."""

    def __init__(self, *told: Told) -> None:
        self.told: Iterator[Told] = iter(told)
        self.pools: list[int | None] = []

    def __call__(self, limit_mib: int | None) -> Measured:
        self.pools.append(limit_mib)
        if limit_mib is None:
            return GROWN
        found = next(self.told)
        if isinstance(found, Exception):
            raise found
        taken, returned = ((limit_mib + outside) * MIB for outside in found)
        return Measured(weights=10 * MIB, peak=90 * MIB, taken=taken, returned=returned)


def test_the_peak_is_what_the_tensors_took_and_one_quiet_run_tells_what_lies_outside() -> None:
    runs = Runs((540, 541))
    found = server_memory.measured(runs)
    assert found == Memory(weightsBytes=10 * MIB, peakBytes=100 * MIB, overheadBytes=541 * MIB)
    assert runs.pools == [None, 100]


def test_a_pool_that_is_too_small_is_followed_by_a_larger_one() -> None:
    runs = Runs(GPUOutOfMemory("too little"), ChildAborted("cuDNN"), (540, 540))
    assert server_memory.measured(runs).peakBytes == 125 * MIB
    assert runs.pools == [None, 100, 110, 125]


def test_a_model_that_runs_in_none_of_the_pools_is_told() -> None:
    with pytest.raises(GPUOutOfMemory, match="a pool of 200 MiB"):
        server_memory.measured(Runs(*[GPUOutOfMemory("too little")] * 5))


@pytest.mark.parametrize("disturbed", [-2316, 90, 15_000])
def test_what_a_neighbour_took_or_gave_back_meanwhile_is_not_the_models(disturbed: int) -> None:
    runs = Runs((disturbed, 540), (disturbed + 1000, 545))
    assert server_memory.measured(runs).overheadBytes == 545 * MIB
    assert runs.pools == [None, 100, 111]
    assert server_memory.measured(Runs((540, disturbed), (545, 545))).overheadBytes == 545 * MIB


def test_a_neighbour_that_does_the_same_again_is_outvoted() -> None:
    # A CUDA context that another process made in each of two runs is as large as any.
    runs = Runs((1040, 540), (1040, 540), (540, 540))
    assert server_memory.measured(runs).overheadBytes == 540 * MIB
    assert runs.pools == [None, 100, 111, 111]


def test_runs_that_agree_on_less_than_nothing_are_not_believed() -> None:
    assert server_memory.measured(Runs((-7, -8), (540, 540))).overheadBytes == 540 * MIB


def test_a_device_that_is_never_quiet_is_told() -> None:
    never = [(1 + 200 * number, 101 + 200 * number) for number in range(6)]
    with pytest.raises(GPUUnfit, match=r"1 MiB, 101 MiB, .*nobody else on it"):
        server_memory.measured(Runs(*never))


@pytest.mark.parametrize(
    ("seen", "agreed"),
    [
        ([540], None),
        ([540, 541], 541),
        ([540, 605], None),
        ([500, 560, 620], 620),
        ([540, 1040, 540, 1040], None),
        ([540, 1040, 540, 1040, 541], 541),
        ([-1, -1], None),
        ([], None),
    ],
)
def test_what_most_agree_on_is_the_largest_of_them(seen: list[int], agreed: int | None) -> None:
    assert agreement([one * MIB for one in seen]) == (agreed and agreed * MIB)


def test_the_devices_memory_is_read_until_all_of_a_process_has_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "SETTLED_SECONDS", 0.02)
    monkeypatch.setattr(cuda, "POLL_SECONDS", 0.001)
    readings = itertools.chain([10, 20, 20, 900], itertools.repeat(1000))
    assert cuda.settled(lambda: next(readings)) == 1000


def test_memory_that_never_stays_the_same_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "UNSETTLED_SECONDS", 0.05)
    monkeypatch.setattr(cuda, "POLL_SECONDS", 0.001)
    assert cuda.settled(itertools.count().__next__) > 1
