"""Where batches are computed: some at a time, while the tensors of the next ones are made. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Condition, Semaphore
from typing import Any, NamedTuple, TypeVar

import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.device.cuda import Cuda
from tftrt_runtime.serve import limits, staging
from tftrt_runtime.serve.batching import Arrays
from tftrt_runtime.serve.staging import Memory, Staging
from tftrt_runtime.serve.streams import Stream

Answers = TypeVar("Answers")

# Batches whose inputs a stream holds: while one is computed, the next one's are copied to the device. So many the
# measured peak has room for: it is of as many calls at a time on one stream (device/measure.py).
A_STREAM = limits.BATCHES_IN_FLIGHT


class Seat(NamedTuple):
    """One batch's."""

    stream: Stream
    staging: Staging
    turn: Semaphore


class Seats:
    """Safe to use from several threads."""

    def __init__(
        self, streams: Sequence[Stream], inputs: Sequence[Tensor], shapes: Mapping[str, Sequence[int]]
    ) -> None:
        """`shapes` are those of the largest batch, of the inputs for which they are known."""
        self._free: list[list[Seat]] = []
        self._changed = Condition()
        for stream in streams:
            turn = Semaphore(limits.BATCHES_IN_FLIGHT // len(streams))
            count = A_STREAM if _device(stream) else limits.SLOTS
            self._free.append([Seat(stream, _staging(stream, inputs, shapes), turn) for _ in range(count)])

    def compute(self, arrays: Arrays, memory: Memory, fetch: Callable[[dict[str, Any]], Answers]) -> Answers:
        """What `fetch` makes of the model's answers to a batch, which lies in this memory."""
        with self.one() as seat:
            tensors = seat.staging(arrays, memory)
            with seat.turn:
                return fetch(seat.stream(tensors))

    @contextmanager
    def one(self) -> Iterator[Seat]:
        """A seat that is free, on the stream that has most of them; waited for."""
        with self._changed:
            self._changed.wait_for(lambda: any(self._free))
            most = max(self._free, key=len)
            seat = most.pop()
        try:
            yield seat
        finally:
            with self._changed:
                most.append(seat)
                self._changed.notify()


def largest(
    batch_sizes: Sequence[int], batched: bool, sample: Sample | None, ranges: Mapping[str, ShapeRange]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs of the largest batch, by what the engines take and a sample; none without a sample."""
    if sample is None:
        return {}
    shapes = {**sample.shapes, **{name: shape.max for name, shape in ranges.items()}}
    front = (max(batch_sizes),) if batched else ()
    return {name: (*front, *sizes) for name, sizes in shapes.items()}


def _device(stream: Stream) -> str | None:
    """The device that a stream computes on, also where that is TensorFlow's choice; None for a CPU."""
    return stream.device or ("/GPU:0" if tf.config.list_logical_devices("GPU") else None)


def _staging(stream: Stream, inputs: Sequence[Tensor], shapes: Mapping[str, Sequence[int]]) -> Staging:
    device = _device(stream)
    if device is None:
        return staging.InPlace() if staging.keeps_nothing(stream.function) else staging.Copied()
    try:
        return staging.OnDevice(Cuda(), device, staging.room(inputs, shapes))
    except tf.errors.ResourceExhaustedError:
        log.event("serve", "No room in TensorFlow's pool for inputs that are kept: each batch has its own")
        return staging.Copied()
