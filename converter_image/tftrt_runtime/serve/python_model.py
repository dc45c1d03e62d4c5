"""The model in the process of Triton's Python backend: loads the artifact, warms it up, answers requests."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from queue import SimpleQueue
from threading import Barrier, Semaphore
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

# The backend's own module, which only exists in its process.
import triton_python_backend_utils as pb_utils

from tftrt_runtime import log
from tftrt_runtime.contract.errors import Failure, Internal, ServerFailed
from tftrt_runtime.device import cuda, tensorrt
from tftrt_runtime.model.dtypes import numpy_type
from tftrt_runtime.processes import timers
from tftrt_runtime.processes.child import one_line
from tftrt_runtime.serve import codes, lifeline, limits, memory
from tftrt_runtime.serve.asked import Asked, Unanswerable, response_of
from tftrt_runtime.serve.batching import Arrays, batch_size, joined, same_shapes, split
from tftrt_runtime.serve.engine_shapes import EngineShapes
from tftrt_runtime.serve.messages import Failed, Served
from tftrt_runtime.serve.metrics import Called, InFlight, Metrics

if TYPE_CHECKING:  # it imports TensorFlow, which must not happen before its memory is limited
    from tftrt_runtime.serve.streams import Stream

# After waiting so long for each request of a batch, it is asked whether somebody still waits for the answer.
WAIT_SECONDS = 0.001


class TritonPythonModel:
    """The class that Triton's Python backend looks for; it calls `initialize` once and then `execute`.

    A few batches are worked on at a time, each in a thread, so that one is copied while another one is computed; and on
    a stream of its own where the memory allows, so that two are computed at a time.
    """

    def initialize(self, arguments: dict[str, str]) -> None:
        """Load and warm up. A failure is left in a file for `tftrt serve`, as Triton keeps only its text."""
        faulthandler.enable()  # a library's crash would end this process without a word
        self._lifeline = lifeline.Backend(Path(os.environ["TFTRT_LIFELINE"]))
        try:
            self._load(Served.model_validate_json(Path(os.environ["TFTRT_MODEL"]).read_bytes()))
            self._idle: SimpleQueue[Stream] = SimpleQueue()  # a stream for each thread, which may be another's, too
            for stream in islice(cycle(self._streams), limits.BATCHES_IN_FLIGHT):
                self._idle.put(stream)
            self._free = Semaphore(limits.BATCHES_IN_FLIGHT - 1)  # threads without a batch, but for the next batch's
            self._waited = 0.0  # seconds, before a thread was free for the next batch
            self._threads = _started(limits.BATCHES_IN_FLIGHT)
            self._metrics = Metrics(arguments["model_name"], max(self._served.batch_sizes))
        except Exception as error:
            _leave(
                error if isinstance(error, Failure) else Internal(f"Unexpected error: {type(error).__name__}: {error}")
            )
            raise
        self._lifeline.loaded()

    def _load(self, served: Served) -> None:
        timers.set_slack()
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if "TFTRT_CUDA_VISIBLE_DEVICES" in os.environ:
            os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["TFTRT_CUDA_VISIBLE_DEVICES"]
        devices: tuple[str | None, ...] = (None,)
        if served.memory_fraction is not None:
            cuda.expect_product(served.product, cuda.Cuda().name)
            devices = self._reserve(served.memory_fraction, served.peak_bytes)
            tensorrt.expect(served.tensorrt, tensorrt.version())

        import tensorflow as tf

        from tftrt_runtime.model import samples
        from tftrt_runtime.serve import aborted_calls, faults, streams

        self._constant = tf.constant
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
            self._streams = streams.load(Path(served.saved_model), devices)
        self._known: Arrays | None = None
        if served.sample is None:
            log.event("serve", "No warm-up: the model takes no made-up input")
            return
        self._known = samples.batch(served.inputs, min(served.batch_sizes), served.sample)
        for sample in self._shapes.samples(served.sample):
            for size in served.batch_sizes:
                with log.timed("serve", "Warmed up", batch_size=size):
                    for stream in self._streams:
                        self._answer(samples.batch(served.inputs, size, sample), stream)

    def _reserve(self, fraction: str, peak_bytes: int | None) -> tuple[str, ...]:
        """Reserve the fraction of the device; the names of the devices to load the model on."""
        limit = memory.limit_mib(fraction, cuda.Cuda().free_and_total()[1])
        most = 1 if peak_bytes is None else limits.BATCHES_IN_FLIGHT
        pools = memory.pools(limit, memory.mib(peak_bytes or 0), most)
        devices = memory.reserve(pools, os.environ)
        log.event("serve", "Reserved GPU memory", mebibytes=limit, streams=len(devices))
        return devices

    def execute(self, requests: Sequence[Any]) -> None:
        """Have a batch of requests answered, and return when there is a thread for the next one.

        Not sooner, for Triton goes on collecting requests into the next batch for as long as this takes.
        """
        since = time.monotonic()
        # Who waited may have given up. To ask takes 0.05 ms a request, so it is worth it after a wait that was longer.
        worth_asking = self._waited > WAIT_SECONDS * len(requests)
        self._threads.submit(self._answer_all, requests, since, worth_asking)
        self._free.acquire()
        self._waited = time.monotonic() - since

    def finalize(self) -> None:
        """Answer what is being worked on."""
        self._threads.shutdown()
        self._lifeline.told_to_end()
        self._metrics.close()

    def _answer_all(self, requests: Sequence[Any], since: float, worth_asking: bool) -> None:
        """Send each request its response; an error is the response of its request alone. They came at `since`."""
        self._metrics.tell(InFlight(1))
        stream = self._idle.get()
        try:
            asked = [Asked(request, since, self._metrics) for request in requests]
            self._answer_each([one for one in asked if not (worth_asking and one.given_up())], stream)
        except Exception as error:  # what cannot be answered would wait for ever, and ends with this process
            _end(ServerFailed(f"A request could not be answered: {one_line(error)}"))
        finally:
            self._idle.put(stream)
            self._metrics.tell(InFlight(-1))
            self._free.release()

    def _answer_each(self, asked: Sequence[Asked], stream: Stream) -> None:
        taken = [(one, inputs) for one in asked if (inputs := self._taken(one)) is not None]
        try:
            apart = [[index] for index in range(len(taken))]
            for together in same_shapes([inputs for _, inputs in taken]) if self._served.batched else apart:
                self._respond([taken[index] for index in together], stream)
        except Unanswerable:
            raise
        except Exception as error:
            log.event("serve", "A batch could not be answered", error=one_line(error))
            for one, _ in taken:
                one.refuse(codes.INTERNAL, f"The request could not be answered: {one_line(error)}")

    def _taken(self, asked: Asked) -> Arrays | None:
        """The inputs of a request; None where it was refused, which is no matter to those beside it."""
        try:
            inputs = self._inputs(asked.request)
            refusal = self._shapes.refusal(inputs)
        except Exception as error:
            log.event("serve", "A request could not be read", error=one_line(error))
            asked.refuse(codes.INTERNAL, f"The request could not be read: {one_line(error)}")
            return None
        if refusal is None:
            return inputs
        asked.refuse(codes.INVALID_ARGUMENT, f"The request was refused: {refusal}.")
        return None

    def _respond(self, taken: Sequence[tuple[Asked, Arrays]], stream: Stream) -> None:
        """Answer requests with inputs of the same shapes by one call of the model; one where it takes no batches."""
        try:
            responses = self._responses([inputs for _, inputs in taken], stream)
        except Exception as error:
            self._aborted_calls.release()
            if self._faults.of_the_machine(error):
                self._expect_to_answer(error, stream)
            if len(taken) > 1:  # one request's fault is no other's
                for one in taken:
                    self._respond([one], stream)
                return
            code = self._faults.code(error)
            what = "The model refused the request" if code == codes.INVALID_ARGUMENT else "The model failed"
            taken[0][0].refuse(code, f"{what}: {one_line(error)}")
            return
        for (asked, _), response in zip(taken, responses):
            asked.answer(response)

    def _responses(self, inputs: Sequence[Arrays], stream: Stream) -> list[Any]:
        if not self._served.batched:
            self._metrics.tell(Called(self._served.batch_sizes[0]))
            return [response_of(self._answer(one, stream), batched=False) for one in inputs]
        sizes = [batch_size(one) for one in inputs]
        self._metrics.tell(Called(sum(sizes)))
        return [response_of(part, batched=True) for part in split(self._answer(joined(inputs), stream), sizes)]

    def _expect_to_answer(self, error: Exception, stream: Stream) -> None:
        """End this process where the model no longer answers what it answered when it was loaded.

        A CUDA error such as an illegal address is every later call's, too: a new process has a new context.
        """
        log.event("serve", "The machine may be at fault: asking the model again", error=one_line(error))
        try:
            if self._known is None:
                stream.expect_device()
            else:
                self._answer(self._known, stream)
        except Exception as again:
            if self._faults.of_the_machine(again):
                _end(self._faults.lost(again, on_gpu=self._served.memory_fraction is not None))

    def _inputs(self, request: Any) -> Arrays:
        arrays = {}
        for tensor in self._served.inputs:
            array = pb_utils.get_input_tensor_by_name(request, tensor.name).as_numpy()
            # A vector of the batch travels as a column, and a scalar as a vector of one.
            is_bare = len(tensor.shape) == (1 if self._served.batched else 0)
            arrays[tensor.name] = array[..., 0] if is_bare else array
        return arrays

    def _answer(self, inputs: Arrays, stream: Stream) -> Arrays:
        filled = self._shapes.filled(inputs)
        answers = stream({name: self._constant(value) for name, value in filled.items()})
        found = {
            # A scalar is none of numpy's arrays yet.
            tensor.name: np.asarray(answers[tensor.name].numpy(), numpy_type(tensor.dtype))
            for tensor in self._served.outputs
        }
        if filled is inputs:
            return found
        return split(found, [batch_size(inputs), batch_size(filled) - batch_size(inputs)])[0]


def _started(count: int) -> ThreadPoolExecutor:
    """Threads that run already: none is missing when a request comes."""
    threads = ThreadPoolExecutor(count)
    together = Barrier(count)
    for task in [threads.submit(together.wait) for _ in range(count)]:
        task.result()
    return threads


def _leave(failure: Failure) -> None:
    """Leave a failure for `tftrt serve`."""
    path = Path(os.environ["TFTRT_FAILURE"])
    written = path.with_suffix(f".{threading.get_ident()}")
    written.write_text(Failed(reason=failure.reason, message=failure.message).model_dump_json())
    written.replace(path)


def _end(failure: Failure) -> NoReturn:
    """End this process at once, whatever its other threads do; `tftrt serve` ends the server with the failure."""
    try:
        _leave(failure)
    finally:
        os._exit(failure.code)
