"""Times a TensorRT engine without TensorFlow, whole and layer by layer."""

from __future__ import annotations

import ctypes
import json
from collections import defaultdict
from typing import Any

import numpy as np
import tensorrt as trt
from tftrt_runtime.benchmark import rounds

from benchmarks.gpu.rows import row

HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
WARM_UP_CALLS = 10
PROFILED_CALLS = 20
SEED = 20180327
# `trt.nptype` of TensorRT 8.5 fails with NumPy 1.24 and later, which have no `np.bool`.
DTYPES = {trt.float32: np.float32, trt.float16: np.float16, trt.int32: np.int32, trt.int8: np.int8, trt.bool: np.bool_}


class Cuda:
    """The few calls of CUDA's runtime that are needed; each raises where it fails."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcudart.so.11.0")

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, f"cuda{name}")

        def call(*arguments: object) -> None:
            code = function(*arguments)
            if code:
                raise RuntimeError(f"cuda{name} failed with {code}")

        return call

    def allocate(self, size: int) -> ctypes.c_void_p:
        """So many bytes of the device."""
        pointer = ctypes.c_void_p()
        self.Malloc(ctypes.byref(pointer), ctypes.c_size_t(size))
        return pointer


class Profiler(trt.IProfiler):  # type: ignore[misc]  # TensorRT has no types
    """Adds up the time of each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.milliseconds: dict[str, float] = defaultdict(float)

    def report_layer_time(self, layer: str, milliseconds: float) -> None:
        """TensorRT calls this after each run."""
        self.milliseconds[layer] += milliseconds


class Caller:
    """One execution context of an engine for exactly `size` items, with buffers and a stream of its own."""

    def __init__(self, cuda: Cuda, engine: Any, size: int) -> None:
        self.cuda, self.size, self.implicit = cuda, size, engine.has_implicit_batch_dimension
        self.context = engine.create_execution_context()
        self.stream = ctypes.c_void_p()
        cuda.StreamCreate(ctypes.byref(self.stream))
        self.answers, self.bindings = [], []
        for index in range(engine.num_bindings):
            shape = tuple(engine.get_binding_shape(index))
            shape = (size, *shape) if self.implicit else shape
            dtype = DTYPES[engine.get_binding_dtype(index)]
            array: Any = np.random.default_rng(SEED).random(shape).astype(dtype)
            pointer = cuda.allocate(array.nbytes)
            self.bindings.append(pointer.value)
            if engine.binding_is_input(index):
                source, length = array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes)
                cuda.Memcpy(pointer, source, length, HOST_TO_DEVICE)
            else:
                self.answers.append((array, pointer))

    def __call__(self) -> None:
        """Run and copy the results back."""
        if self.implicit:
            self.context.execute_async(self.size, self.bindings, self.stream.value)
        else:
            self.context.execute_async_v2(self.bindings, self.stream.value)
        for array, pointer in self.answers:
            target, length = array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes)
            self.cuda.MemcpyAsync(target, pointer, length, DEVICE_TO_HOST, self.stream)
        self.cuda.StreamSynchronize(self.stream)

    def layers(self) -> dict[str, float]:
        """Microseconds by layer, the longest first, over a few runs."""
        profiler = Profiler()
        self.context.profiler = profiler
        for _ in range(PROFILED_CALLS):
            if self.implicit:
                self.context.execute(self.size, self.bindings)
            else:
                self.context.execute_v2(self.bindings)
        found = {name: 1000 * spent / PROFILED_CALLS for name, spent in profiler.milliseconds.items()}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def timed(serialized: bytes, size: int, seconds: float) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """A row for each number of calls in flight, one stream for each, and the microseconds of each layer.

    The input lies on the device, and the result is copied back at every call.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    trt.init_libnvinfer_plugins(logger, "")
    engine = trt.Runtime(logger).deserialize_cuda_engine(serialized)
    cuda, rows = Cuda(), []
    callers = [Caller(cuda, engine, size) for _ in range(max(rounds.IN_FLIGHT))]
    for caller in callers:
        for _ in range(WARM_UP_CALLS):
            caller()
    for in_flight in rounds.IN_FLIGHT:
        measured = rounds.measure(callers[:in_flight], seconds)
        percentiles = measured.microseconds(50), measured.microseconds(99)
        speed = measured.calls_per_second * size
        rows.append(row(size, "Device", in_flight, in_flight, speed, *percentiles, len(measured.latencies)))
        print(json.dumps(rows[-1]), flush=True)
    return rows, callers[0].layers()
