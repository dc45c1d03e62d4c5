"""A child process that runs the converted model as a server does, to measure the GPU memory that one server takes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tftrt_runtime import log
from tftrt_runtime.contract.errors import GPUOutOfMemory
from tftrt_runtime.device import cuda
from tftrt_runtime.device.messages import MeasureAnswer, MeasureRequest
from tftrt_runtime.model import samples
from tftrt_runtime.processes import child
from tftrt_runtime.serve import limits, memory

CALLS = 8  # in each of the threads


def measure(request: MeasureRequest) -> MeasureAnswer:
    """Load, run every batch size, then the largest one as often at a time as a server does.

    Raises:
        GPUOutOfMemory: the pool was too small.
    """
    limit = request.limit_mib
    if limit is not None:
        memory.reserve((limit,), os.environ)

    import tensorflow as tf

    try:
        weights = _run(request)
    except tf.errors.ResourceExhaustedError as error:
        pool = "All that the device has free" if limit is None else f"A pool of {limit} MiB"
        raise GPUOutOfMemory(f"{pool} is too little to run the converted model: {child.one_line(error)}") from error
    peak = int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    log.event("convert", "Measured the pool", pool_mib=limit, weights=weights, peak=peak)
    return MeasureAnswer(weights=weights, peak=peak, free=cuda.Cuda().free_and_total()[0])


def _run(request: MeasureRequest) -> int:
    """What the pool holds when all is loaded and nothing runs."""
    import tensorflow as tf

    from tftrt_runtime.serve import seats, streams
    from tftrt_runtime.serve.staging import Held

    # There is no larger sample than this one.
    shapes = seats.largest(request.batch_sizes, request.sample.batched, request.sample, {})
    made: list[Held] = []  # page-locked, so that it must not go while this process uses the device
    used = seats.Seats(streams.load(Path(request.model), ("/GPU:0",)), request.inputs, shapes)

    def answer(held: Held) -> dict[str, Any]:
        return used.compute(held.arrays, held, fetch)

    def held(size: int) -> Held:
        made.append(Held(samples.batch(request.inputs, size, request.sample)))
        return made[-1]

    def fetch(answers: dict[str, Any]) -> dict[str, Any]:
        return {name: tensor.numpy() for name, tensor in answers.items()}

    for size in request.batch_sizes:
        answer(held(size))
    largest = held(max(request.batch_sizes))
    with ThreadPoolExecutor(limits.SLOTS) as threads:
        list(threads.map(answer, [largest] * CALLS * limits.SLOTS))
    return int(tf.config.experimental.get_memory_info("GPU:0")["current"])


if __name__ == "__main__":
    child.answer(MeasureRequest, measure)
