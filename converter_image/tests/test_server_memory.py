"""What a conversion makes of measuring one model several times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tftrt_runtime.artifact import Memory
from tftrt_runtime.convert import server_memory
from tftrt_runtime.convert.messages import MeasureAnswer
from tftrt_runtime.errors import ChildAborted, GPUOutOfMemory, GPUUnfit
from tftrt_runtime.serve.memory import MIB

GROWN = MeasureAnswer(weights=10 * MIB, peak=100 * MIB - 5, overhead=None)


def answer(overhead: int) -> MeasureAnswer:
    return MeasureAnswer(weights=10 * MIB, peak=90 * MIB, overhead=overhead * MIB)


class Runs:
    """Answers one after the other, and remembers the pools that were asked for."""

    def __init__(self, *answers: MeasureAnswer | Exception) -> None:
        self.answers: Iterator[MeasureAnswer | Exception] = iter(answers)
        self.pools: list[int | None] = []

    def __call__(self, limit_mib: int | None) -> MeasureAnswer:
        self.pools.append(limit_mib)
        found = next(self.answers)
        if isinstance(found, Exception):
            raise found
        return found


def test_the_peak_is_what_the_tensors_took_and_two_runs_tell_what_lies_outside() -> None:
    runs = Runs(GROWN, answer(540), answer(541))
    found = server_memory.measured(runs)
    assert found == Memory(weightsBytes=10 * MIB, peakBytes=100 * MIB, overheadBytes=541 * MIB)
    assert runs.pools == [None, 100, 111]


def test_a_pool_that_is_too_small_is_followed_by_a_larger_one() -> None:
    runs = Runs(GROWN, GPUOutOfMemory("too little"), ChildAborted("cuDNN"), answer(540), answer(540))
    assert server_memory.measured(runs).peakBytes == 125 * MIB
    assert runs.pools == [None, 100, 110, 125, 138]


def test_a_model_that_runs_in_none_of_the_pools_is_told() -> None:
    with pytest.raises(GPUOutOfMemory, match="a pool of 200 MiB"):
        server_memory.measured(Runs(GROWN, *[GPUOutOfMemory("too little")] * 5))


@pytest.mark.parametrize("disturbed", [-2316, 90, 15_000])
def test_what_a_neighbour_took_or_gave_back_meanwhile_is_not_the_models(disturbed: int) -> None:
    assert server_memory.measured(Runs(GROWN, answer(disturbed), answer(540), answer(545))).overheadBytes == 545 * MIB
    assert server_memory.measured(Runs(GROWN, answer(540), answer(disturbed), answer(545))).overheadBytes == 545 * MIB


def test_runs_that_agree_on_less_than_nothing_are_not_believed() -> None:
    assert server_memory.measured(Runs(GROWN, answer(-7), answer(-8), answer(540), answer(540))).overheadBytes > 0


def test_a_device_that_is_never_quiet_is_told() -> None:
    with pytest.raises(GPUUnfit, match=r"1 MiB, 101 MiB, .*nobody else on it"):
        server_memory.measured(Runs(GROWN, *[answer(1 + 100 * number) for number in range(6)]))
