"""The GPU memory of one server, from several runs of the converted model, each in a process of its own.

How much of it lies outside of TensorFlow's pool is the difference of what the device has free before and after, which
other processes on the device change, too. So that is measured until two runs agree.
"""

from __future__ import annotations

from collections.abc import Callable

from tftrt_runtime import log
from tftrt_runtime.artifact import Memory
from tftrt_runtime.convert.messages import MeasureAnswer
from tftrt_runtime.errors import ChildAborted, GPUOutOfMemory, GPUUnfit, Internal
from tftrt_runtime.serve.memory import MIB

# The measured peak is what the tensors took; a pool also breaks into pieces. The smallest of these that the model was
# seen to run in is what is reported.
POOL_FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0)

# Runs of one model on an H100 with nobody beside them were up to 1 MiB apart (docs/decisions/0015).
AGREEMENT = 64 * MIB
# What lies outside of the pool is the same beside a larger one, in which no run fails for the pieces of the pool.
ROOM = 1.1
MOST_RUNS = 6

Run = Callable[[int | None], MeasureAnswer]


def measured(run: Run) -> Memory:
    """The memory that a server takes, with a peak that was seen to be enough when it was all that there was.

    `run` measures the model in a pool of so many MiB, or in one that grows.

    Raises:
        GPUOutOfMemory: the device is too small for the model.
        GPUUnfit: other processes change the device's free memory all the time.
    """
    free = run(None)
    limit_mib, overhead = _smallest(run, free.peak)
    return Memory(
        weightsBytes=free.weights,
        peakBytes=limit_mib * MIB,
        overheadBytes=_agreed(run, int(limit_mib * ROOM) + 1, overhead),
    )


def _smallest(run: Run, peak: int) -> tuple[int, int]:
    """The smallest pool in MiB that the model runs in, and what lay outside of it."""
    for factor in POOL_FACTORS:
        limit_mib = -(-int(peak * factor) // MIB)
        try:
            return limit_mib, _overhead(run, limit_mib)
        except (GPUOutOfMemory, Internal, ChildAborted) as error:  # libraries tell the want of memory as they like
            log.event("convert", "A pool was too small", mebibytes=limit_mib, why=error.message)
    raise GPUOutOfMemory(
        f"The converted model did not run in a pool of {limit_mib} MiB, {POOL_FACTORS[-1]} times what its tensors take."
    )


def _agreed(run: Run, limit_mib: int, first: int) -> int:
    """What lies outside of the pool: the larger of the first two runs that agree."""
    seen = [first]
    while len(seen) < MOST_RUNS:
        found = _overhead(run, limit_mib)
        for other in seen:
            if abs(found - other) <= AGREEMENT and min(found, other) > 0:
                return max(found, other)
        seen.append(found)
        log.event("convert", "Another process uses the device, too: measuring again", overhead=seen)
    raise GPUUnfit(
        f"No two of {MOST_RUNS} runs agreed on what the model takes of the device outside of TensorFlow's pool "
        f"({', '.join(f'{one // MIB} MiB' for one in seen)}): other processes take and return its memory all the "
        "time. Convert on a device, or at a time, with nobody else on it."
    )


def _overhead(run: Run, limit_mib: int) -> int:
    overhead = run(limit_mib).overhead
    assert overhead is not None  # a pool of one size has it
    return overhead
