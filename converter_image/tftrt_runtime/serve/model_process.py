"""The process that runs the model: loads the artifact, warms it up, answers batches. Started by `tftrt serve`."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tftrt_runtime import log
from tftrt_runtime.contract.errors import Failure, Internal, ServerFailed
from tftrt_runtime.device import cuda, tensorrt
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.processes import timers
from tftrt_runtime.processes.child import one_line
from tftrt_runtime.serve import codes, limits, memory, slots
from tftrt_runtime.serve.batching import Arrays, batch_size, expect_batch
from tftrt_runtime.serve.engine_shapes import EngineShapes
from tftrt_runtime.serve.messages import Failed, Served
from tftrt_runtime.serve.slots import Malformed, NoSharedMemory, Question, Refusal, Slot

if TYPE_CHECKING:  # they import TensorFlow, which must not happen before its memory is limited
    from tftrt_runtime.serve.staging import Held
    from tftrt_runtime.serve.streams import Stream


class Model:
    """The model, loaded and warm; batches are worked on by a thread a slot.

    A few are worked on at a time, so that one is copied while another one is computed; and on a stream of its own where
    the memory allows, so that two are computed at a time.
    """

    def __init__(self, served: Served) -> None:
        """Load it and warm it up.

        Raises:
            Failure: it cannot be served here.
        """
        timers.set_slack()
        devices: tuple[str | None, ...] = (None,)
        if served.memory_fraction is not None:
            cuda.expect_product(served.product, cuda.Cuda().name)
            devices = _reserve(served.memory_fraction, served.peak_bytes)
            tensorrt.expect(served.tensorrt, tensorrt.version())

        from tftrt_runtime.serve import aborted_calls, faults, seats, streams

        self._faults = faults
        self._aborted_calls = aborted_calls.AbortedCalls()
        self._served = served
        self._shapes = EngineShapes(
            served.dynamic_shapes,
            served.batch_sizes,
            served.input_shapes,
            may_fill=served.may_fill,
            batched=served.batched,
        )
        with log.timed("serve", "Loaded the artifact", model=served.saved_model):
            loaded = streams.load(Path(served.saved_model), devices)
        largest = seats.largest(served.batch_sizes, served.batched, served.sample, served.input_shapes)
        self._seats = seats.Seats(loaded, served.inputs, largest)
        self._known: Held | None = None
        self._warm_up(loaded)

    def _warm_up(self, loaded: tuple[Stream, ...]) -> None:
        import tensorflow as tf

        from tftrt_runtime.model import samples
        from tftrt_runtime.serve import staging

        if self._served.sample is None:
            log.event("serve", "No warm-up: the model takes no made-up input")
            return
        least = samples.batch(self._served.inputs, min(self._served.batch_sizes), self._served.sample)
        self._known = staging.Held(self._shapes.filled(least))
        with ThreadPoolExecutor(len(loaded)) as threads:
            for sample in self._shapes.samples(self._served.sample):
                for size in self._served.batch_sizes:
                    with log.timed("serve", "Warmed up", batch_size=size):
                        batch = samples.batch(self._served.inputs, size, sample)
                        tensors = {name: tf.constant(array) for name, array in batch.items()}
                        list(threads.map(partial(self._call, tensors), loaded))

    def answer(self, slot: Slot) -> None:
        """Answer what comes in a slot, until tritonserver ends."""
        try:
            slot.ready(self._served.batched, max(self._served.batch_sizes))
            while (question := slot.question()) is not None:
                self._answer(question, slot)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has ended already, and nobody waits
        except Exception as error:  # what is not answered would wait for ever, and ends with this process
            end(ServerFailed(f"A request could not be answered: {one_line(error)}"))

    def _answer(self, question: Question, slot: Slot) -> None:
        """Answer a batch, or every request of it with an error: one that it is the cause of, if it is alone."""
        try:
            inputs = self._inputs(question)
        except Refused as refused:
            slot.refuse(Refusal(codes.INVALID_ARGUMENT, f"The request was refused: {refused}."), called=False)
            return
        except Exception as error:
            code = codes.INVALID_ARGUMENT if isinstance(error, Malformed) else codes.INTERNAL
            self._refuse(question, slot, code, f"The request could not be read: {one_line(error)}", called=False)
            return
        try:
            answers = self._answers(inputs, slot)
        except Exception as error:
            self._aborted_calls.release()
            if self._faults.of_the_machine(error):
                self._expect_to_answer(error)
            code = self._faults.code(error)
            what = "The model refused the request" if code == codes.INVALID_ARGUMENT else "The model failed"
            self._refuse(question, slot, code, f"{what}: {one_line(error)}", called=True)
            return
        try:
            slot.answer(answers, question.items)
        except NoSharedMemory as error:
            log.event("serve", "An answer found no room", error=one_line(error))
            slot.no_room()

    def _refuse(self, question: Question, slot: Slot, code: str, message: str, called: bool) -> None:
        if len(question.items) > 1:  # one request's fault is no other's
            slot.apart(called)
        else:
            slot.refuse(Refusal(code, message), called)

    def _inputs(self, question: Question) -> Arrays:
        """The model's own inputs.

        Raises:
            Refused: the engines do not take them.
            Malformed: a text is.
        """
        arrays = {}
        for tensor in self._served.inputs:
            array = question.array(tensor)
            # A vector of the batch travels as a column, and a scalar as a vector of one.
            is_bare = len(tensor.shape) == (1 if self._served.batched else 0)
            arrays[tensor.name] = array[..., 0] if is_bare else array
        if (refusal := self._shapes.refusal(arrays)) is not None:
            raise Refused(refusal)
        return arrays

    def _answers(self, inputs: Arrays, slot: Slot) -> Arrays:
        """The answers as they travel: a vector of the batch as a column, else a scalar as a vector of one."""
        filled = self._shapes.filled(inputs)
        answers = self._seats.compute(filled, slot, self._fetched)
        if self._served.batched:
            expect_batch(answers, batch_size(filled))
            if filled is not inputs:
                answers = {name: array[: batch_size(inputs)] for name, array in answers.items()}
        bare = 1 if self._served.batched else 0
        return {name: array[..., None] if array.ndim == bare else array for name, array in answers.items()}

    def _call(self, tensors: dict[str, Any], stream: Stream) -> Arrays:
        return self._fetched(stream(tensors))

    def _fetched(self, answers: dict[str, Any]) -> Arrays:
        return {
            # A scalar is none of numpy's arrays yet.
            tensor.name: np.asarray(answers[tensor.name].numpy(), numpy_type(tensor.dtype))
            for tensor in self._served.outputs
        }

    def _expect_to_answer(self, error: Exception) -> None:
        """End this process where the model no longer answers what it answered when it was loaded.

        A CUDA error such as an illegal address is every later call's, too: a new process has a new context.
        """
        log.event("serve", "The machine may be at fault: asking the model again", error=one_line(error))
        try:
            with self._seats.one() as seat, seat.turn:
                seat.stream.expect_device()
            if self._known is not None:
                # As any batch is: what brings it to the device may be what is lost.
                self._seats.compute(self._known.arrays, self._known, self._fetched)
        except Exception as again:
            if self._faults.of_the_machine(again):
                end(self._faults.lost(again, on_gpu=self._served.memory_fraction is not None))


class Refused(Exception):  # noqa: N818 - it is said of a request
    """The engines do not take a request."""


def _reserve(fraction: str, peak_bytes: int | None) -> tuple[str, ...]:
    """Reserve the fraction of the device; the names of the devices to load the model on."""
    limit = memory.limit_mib(fraction, cuda.Cuda().free_and_total()[1])
    most = 1 if peak_bytes is None else limits.BATCHES_IN_FLIGHT
    pools = memory.pools(limit, memory.mib(peak_bytes or 0), most)
    devices = memory.reserve(pools, os.environ)
    log.event("serve", "Reserved GPU memory", mebibytes=limit, streams=len(devices))
    return devices


def leave(failure: Failure) -> None:
    """Leave a failure for `tftrt serve`."""
    path = Path(os.environ["TFTRT_FAILURE"])
    written = path.with_suffix(f".{threading.get_ident()}")
    written.write_text(Failed(reason=failure.reason, message=failure.message).model_dump_json())
    written.replace(path)


def end(failure: Failure) -> NoReturn:
    """End this process at once, whatever its other threads do; `tftrt serve` ends the server with the failure."""
    try:
        leave(failure)
    finally:
        os._exit(failure.code)


def checked() -> bool:
    """Whether the model may be loaded, once `tftrt serve` has said so; it has ended, or found a fault, if not."""
    with open(int(os.environ["TFTRT_CHECKED"]), "rb") as said:  # noqa: PTH123 - it is no path
        return bool(said.read(1))


def main() -> int:
    """Serve until tritonserver ends; the exit code."""
    faulthandler.enable()  # a library's crash would end this process without a word
    try:
        served = Served.model_validate_json(Path(os.environ["TFTRT_MODEL"]).read_bytes())
        import tensorflow  # noqa: F401 - for seconds, while `tftrt serve` looks whether the files are what they should be

        if not checked():
            return 0
        model = Model(served)
    except Exception as error:
        failure = (
            error if isinstance(error, Failure) else Internal(f"Unexpected error: {type(error).__name__}: {error}")
        )
        leave(failure)
        return failure.code
    made = [Slot(ends, served.inputs, served.outputs) for ends in slots.told(os.environ["TFTRT_SLOTS"])]
    threads = [Thread(target=model.answer, args=(slot,)) for slot in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # What TensorFlow does when Python ends is of no use, and a crash of it would be told as the server's.
    os._exit(code)
