"""The GPU memory of one server, from several runs of the converted model, each in a process of its own.

How much of it lies outside of TensorFlow's pool is a difference of what the device has free, which other processes on
the device change, too. Each run tells it twice: by what the process took from its beginning to its end, and by what the
device had back when it was gone. The second takes a fraction of a second, in which others do little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Memory
from tftrt_runtime.contract.errors import ChildAborted, GPUOutOfMemory, GPUUnfit, Internal
from tftrt_runtime.serve.memory import MIB, mib

# The measured peak is what the tensors took; a pool also breaks into pieces. The smallest of these that the model was
# seen to run in is what is reported.
POOL_FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0)

# Runs of one model on an H100 with nobody beside them were up to 1 MiB apart (docs/decisions/0015).
AGREEMENT = 64 * MIB
# What lies outside of the pool is the same beside a larger one, in which no run fails for the pieces of the pool.
ROOM = 1.1
MOST_RUNS = 6


@dataclass(frozen=True)
class Measured:
    """What one run took of the device: all in bytes.

    The weights and the peak lie in the pool. `taken` is what the device had less at the run's end than at its
    beginning, `returned` what it had more when the process was gone; both are of the whole process, pool and all.
    """

    weights: int
    peak: int
    taken: int
    returned: int


Run = Callable[[int | None], Measured]


def measured(run: Run) -> Memory:
    """The memory that a server takes, with a peak that was seen to be enough when it was all that there was.

    `run` measures the model in a pool of so many MiB, or in one that grows.

    Raises:
        GPUOutOfMemory: the device is too small for the model.
        GPUUnfit: other processes change the device's free memory all the time.
    """
    free = run(None)
    limit_mib, seen = _smallest(run, free.peak)
    return Memory(
        weightsBytes=free.weights,
        peakBytes=limit_mib * MIB,
        overheadBytes=_agreed(run, int(limit_mib * ROOM) + 1, seen),
    )


def agreement(seen: Sequence[int]) -> int | None:
    """The largest of those that agree, if two do at least, and if no other value has as many that agree with it."""
    near = {
        value: [other for other in seen if other > 0 and abs(value - other) <= AGREEMENT] for value in seen if value > 0
    }
    most = max((len(others) for others in near.values()), default=0)
    best = [value for value, others in near.items() if len(others) == most]
    return max(near[best[0]]) if most > 1 and max(best) - min(best) <= AGREEMENT else None


def _smallest(run: Run, peak: int) -> tuple[int, list[int]]:
    """The smallest pool in MiB that the model runs in, and what lay outside of it."""
    for factor in POOL_FACTORS:
        limit_mib = mib(int(peak * factor))
        try:
            return limit_mib, _outside(run, limit_mib)
        except (GPUOutOfMemory, Internal, ChildAborted) as error:  # libraries tell the want of memory as they like
            log.event("convert", "A pool was too small", mebibytes=limit_mib, why=error.message)
    raise GPUOutOfMemory(
        f"The converted model did not run in a pool of {limit_mib} MiB, {POOL_FACTORS[-1]} times what its tensors take."
    )


def _agreed(run: Run, limit_mib: int, first: list[int]) -> int:
    """What lies outside of the pool, after as many runs as that takes."""
    seen, runs = list(first), 1
    while (agreed := agreement(seen)) is None:
        if runs == MOST_RUNS:
            raise GPUUnfit(
                f"{MOST_RUNS} runs did not agree on what the model takes of the device outside of TensorFlow's pool "
                f"({', '.join(f'{one // MIB} MiB' for one in seen)}): other processes take and return its memory all "
                "the time. Convert on a device, or at a time, with nobody else on it."
            )
        log.event("convert", "Another process uses the device, too: measuring again", outside=seen)
        seen += _outside(run, limit_mib)
        runs += 1
    return agreed


def _outside(run: Run, limit_mib: int) -> list[int]:
    """What one run had outside of its pool, told twice."""
    found = run(limit_mib)
    outside = [found.taken - limit_mib * MIB, found.returned - limit_mib * MIB]
    log.event("convert", "Measured GPU memory", pool_mib=limit_mib, outside=outside)
    return outside
