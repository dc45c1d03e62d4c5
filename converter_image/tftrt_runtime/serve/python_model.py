"""The model in the process of Triton's Python backend: loads the artifact, warms it up, answers requests."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore
from typing import TYPE_CHECKING, Any

# The backend's own module, which only exists in its process.
import triton_python_backend_utils as pb_utils

from tftrt_runtime import cuda, log, tensorrt, timers
from tftrt_runtime.child import one_line
from tftrt_runtime.dtypes import numpy_type
from tftrt_runtime.errors import Failure, Internal
from tftrt_runtime.serve import limits, memory
from tftrt_runtime.serve.batching import batch_size, joined, same_shapes, split
from tftrt_runtime.serve.engine_shapes import EngineShapes
from tftrt_runtime.serve.messages import Failed, Served

if TYPE_CHECKING:  # it imports TensorFlow, which must not happen before its memory is limited
    from tftrt_runtime.serve.streams import Stream


class TritonPythonModel:
    """The class that Triton's Python backend looks for; it calls `initialize` once and then `execute`.

    A few batches are worked on at a time, each in a thread, so that one is copied while another one is computed; and on
    a stream of its own where the memory allows, so that two are computed at a time.
    """

    def initialize(self, _arguments: dict[str, str]) -> None:
        """Load and warm up. A failure is left in a file for `tftrt serve`, as Triton keeps only its text."""
        faulthandler.enable()  # a library's crash would end this process without a word
        try:
            self._load(Served.model_validate_json(Path(os.environ["TFTRT_MODEL"]).read_bytes()))
        except Exception as error:
            known = (
                error if isinstance(error, Failure) else Internal(f"Unexpected error: {type(error).__name__}: {error}")
            )
            failed = Failed(reason=known.reason, message=known.message)
            Path(os.environ["TFTRT_FAILURE"]).write_text(failed.model_dump_json())
            raise
        self._threads = ThreadPoolExecutor(limits.BATCHES_IN_FLIGHT)
        self._idle: SimpleQueue[Stream] = SimpleQueue()  # a stream for each thread, which may be another's, too
        for stream in islice(cycle(self._streams), limits.BATCHES_IN_FLIGHT):
            self._idle.put(stream)
        self._free = Semaphore(limits.BATCHES_IN_FLIGHT - 1)  # threads without a batch, but for the next batch's

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

        from tftrt_runtime import samples
        from tftrt_runtime.serve import streams

        self._constant = tf.constant
        self._served = served
        self._shapes = EngineShapes(
            served.dynamic_shapes, served.batch_sizes, served.input_shapes, may_fill=served.may_fill
        )
        with log.timed("serve", "Loaded the artifact", model=served.saved_model):
            self._streams = streams.load(Path(served.saved_model), devices)
        if served.sample is None:
            log.event("serve", "No warm-up: the model takes no made-up input")
            return
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
        self._threads.submit(self._answer_all, requests)
        self._free.acquire()

    def finalize(self) -> None:
        """Answer what is being worked on."""
        self._threads.shutdown()

    def _answer_all(self, requests: Sequence[Any]) -> None:
        """Send each request its response; an error is the response of its request alone."""
        senders = {index: request.get_response_sender() for index, request in enumerate(requests)}
        stream = self._idle.get()

        def send(index: int, response: Any) -> None:
            senders.pop(index).send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

        try:
            inputs = [self._inputs(request) for request in requests]
            for together in same_shapes(inputs):
                for index, response in zip(together, self._respond([inputs[index] for index in together], stream)):
                    send(index, response)
        except Exception as error:  # a request without any response would wait for ever
            log.event("serve", "A batch could not be answered", error=one_line(error))
            told = pb_utils.TritonError(f"The request could not be answered: {one_line(error)}")
            for index in list(senders):
                send(index, pb_utils.InferenceResponse(error=told))
        finally:
            self._idle.put(stream)
            self._free.release()

    def _respond(self, inputs: Sequence[dict[str, Any]], stream: Stream) -> list[Any]:
        """Responses to requests of the same shapes, from one call of the model."""
        refusal = self._shapes.refusal(inputs[0])
        if refusal:
            told = pb_utils.TritonError(f"The request was refused: {refusal}.", pb_utils.TritonError.INVALID_ARG)
            return [pb_utils.InferenceResponse(error=told) for _ in inputs]
        try:
            answers = self._answer(joined(inputs), stream)
            parts = split(answers, [batch_size(one) for one in inputs])
            return [pb_utils.InferenceResponse([pb_utils.Tensor(*item) for item in part.items()]) for part in parts]
        except Exception as error:
            if len(inputs) > 1:  # one request's fault is no other's
                return [response for one in inputs for response in self._respond([one], stream)]
            told = pb_utils.TritonError(f"The model refused the request: {one_line(error)}")
            return [pb_utils.InferenceResponse(error=told)]

    def _inputs(self, request: Any) -> dict[str, Any]:
        return {
            tensor.name: pb_utils.get_input_tensor_by_name(request, tensor.name).as_numpy()
            for tensor in self._served.inputs
        }

    def _answer(self, inputs: dict[str, Any], stream: Stream) -> dict[str, Any]:
        filled = self._shapes.filled(inputs)
        answers = stream({name: self._constant(value) for name, value in filled.items()})
        found = {
            tensor.name: answers[tensor.name].numpy().astype(numpy_type(tensor.dtype), copy=False)
            for tensor in self._served.outputs
        }
        if filled is inputs:
            return found
        return split(found, [batch_size(inputs), batch_size(filled) - batch_size(inputs)])[0]
