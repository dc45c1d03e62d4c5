"""A child process that times models: in one of its own, for TF32 is a switch of the whole process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.benchmark import rounds
from tftrt_runtime.benchmark.messages import TimingAnswer, TimingRequest
from tftrt_runtime.benchmark.rows import AS_SERVED, Place, Row, Way
from tftrt_runtime.contract.errors import GPUOutOfMemory
from tftrt_runtime.model import samples
from tftrt_runtime.processes import child, timers
from tftrt_runtime.serve import memory, seats, streams
from tftrt_runtime.serve.staging import Held

# The first call makes plans, chooses algorithms and compiles, however long that takes; the next ones fill caches.
WARM_UP_CALLS = 10
WARM_UP_SECONDS = 0.5
# A server's peak is what two batches take on one stream; here a third call waits with its input, and every batch size
# has one.
ROOM, SPARE_MIB = 2, 64

# How many calls at a time, of which batch size, and where their input lies.
Measurement = tuple[int, int, Place]


def time_models(request: TimingRequest) -> TimingAnswer:
    """Time each model at each batch size.

    Raises:
        GPUOutOfMemory: the device is too small for a single call.
        InsufficientGPUMemory: others use too much of it.
    """
    timers.set_slack()  # as the server does
    devices = _devices(request)
    tf.config.experimental.enable_tensor_float_32_execution(request.tf32)
    models = {model.way: streams.load(Path(model.folder), devices, model.signature) for model in request.models}
    return TimingAnswer(rows=tuple(_rows(request, models)))


def _devices(request: TimingRequest) -> tuple[str | None, ...]:
    """A device for each stream, None for TensorFlow's own choice.

    Raises:
        InsufficientGPUMemory: the device has too little free for one.
    """
    if request.memory is None:
        return (None,)
    free = memory.free_mib() - memory.mib(request.memory.overheadBytes)
    return memory.reserve(pools(memory.mib(request.memory.peakBytes), free, request.streams), os.environ)


def pools(peak: int, free: int, most: int) -> tuple[int, ...]:
    """Pools in MiB for up to `most` streams of a model that takes `peak`, where so much is free."""
    wanted = (ROOM * peak + SPARE_MIB + memory.STREAM_MIB) * most
    return memory.pools(max(min(wanted, free), peak), peak, most)


def _rows(request: TimingRequest, models: dict[Way, tuple[streams.Stream, ...]]) -> Iterator[Row]:
    """One call at a time first, then what a client can have, which are the summary; the rest as there is time for."""
    spent = 0.0  # without warming up, in which a GPU newer than TensorFlow compiles its kernels
    largest = seats.largest(request.batch_sizes, request.sample.batched, request.sample, {})
    taken = {way: seats.Seats(loaded, request.inputs, largest) for way, loaded in models.items()}
    for (in_flight, size, place), way in product(order(request), models):
        # Ways are compared with each other: what was begun for one is ended for all.
        if in_flight > 1 and spent > request.limit_seconds and way == request.models[0].way:
            log.event("convert", "No time left to measure more calls in flight", in_flight=in_flight, batch_size=size)
            return
        batch = samples.batch(request.inputs, size, request.sample)
        try:
            with ExitStack() as stack:
                if place == "Device":
                    calls = [on_device(stream, batch) for stream in models[way]]
                else:
                    calls = [stack.enter_context(from_host(taken[way], batch)) for _ in range(in_flight)]
                if in_flight == request.in_flight[0]:
                    for one in calls:
                        warm_up(one)
                started = time.perf_counter()
                least = request.served_seconds if (in_flight, size, place) == as_served(request) else 0.0
                measured = rounds.measure(list(islice(cycle(calls), in_flight)), max(request.each_seconds, least))
                spent += time.perf_counter() - started
        except tf.errors.ResourceExhaustedError as error:
            if in_flight == 1:
                raise GPUOutOfMemory(
                    f"The device has too little memory to time the {way.lower()} model at batch size {size}: "
                    f"{child.one_line(error)}"
                ) from error
            log.event("convert", "Too little memory for so many calls", way=way, in_flight=in_flight, batch_size=size)
            continue
        row = Row(
            way=way,
            batchSize=size,
            input=place,
            inFlight=in_flight,
            streams=min(in_flight, len(models[way])),
            itemsPerSecond=float(f"{measured.calls_per_second * size:.6g}"),
            p50Microseconds=measured.microseconds(50),
            p99Microseconds=measured.microseconds(99),
            calls=len(measured.latencies),
        )
        log.event("convert", "Timed", **row.model_dump())
        yield row


def order(request: TimingRequest) -> list[Measurement]:
    """All with the first number of calls, then what a client can have, and then the rest."""

    def turn(one: Measurement) -> int:
        return 0 if one[0] == request.in_flight[0] else 1 if one == as_served(request) else 2

    return sorted(product(request.in_flight, request.batch_sizes, request.places), key=turn)


def as_served(request: TimingRequest) -> Measurement:
    """What a client can have, and is judged."""
    return AS_SERVED, max(request.batch_sizes), "Host"


def on_device(stream: streams.Stream, batch: samples.Batch) -> rounds.Call:
    """A call whose input lies on the device, and whose answers are on the host when it ends."""
    resident = stream.resident(batch)
    return lambda: _fetched(stream(resident))


@contextmanager
def from_host(taken: seats.Seats, batch: samples.Batch) -> Iterator[rounds.Call]:
    """A call as a server makes it, of a batch in memory of its own."""
    held = Held(batch)
    try:
        yield lambda: taken.compute(held.arrays, held, _fetched)
    finally:
        held.pages.release()


def _fetched(answers: dict[str, Any]) -> list[Any]:
    return [answer.numpy() for answer in answers.values()]


def warm_up(one: rounds.Call) -> None:
    """Call until calls are as fast as they get."""
    one()
    start = time.perf_counter()
    for _ in range(WARM_UP_CALLS):
        one()
        if time.perf_counter() - start > WARM_UP_SECONDS:
            return


if __name__ == "__main__":
    child.answer(TimingRequest, time_models)
