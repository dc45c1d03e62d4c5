"""Times a converted model's engines alone, layer by layer too: `saved_engine.py REQUEST.json ANSWER.json`.

The request names the converted `model`, `batchSizes` and the `seconds` of one measurement. The answer has `rows` as
`run.py` writes them, one stream for each call in flight, and `layers`: for each batch size the microseconds that each
of the engine's layers takes, from TensorRT's profiler. What a call of the model takes more than this is TensorFlow's.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorrt as trt
from tftrt_runtime.benchmark import rounds
from tftrt_runtime.convert import engine_files

from benchmarks.gpu.onnx_engine import DEVICE_TO_HOST, WARM_UP_CALLS, Cuda
from benchmarks.gpu.rows import row

PROFILED_CALLS = 20
# `trt.nptype` of TensorRT 8.5 fails with NumPy 1.24 and later, which have no `np.bool`.
DTYPES = {trt.float32: np.float32, trt.float16: np.float16, trt.int32: np.int32, trt.int8: np.int8, trt.bool: np.bool_}


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
            array = np.zeros(shape, DTYPES[engine.get_binding_dtype(index)])
            pointer = cuda.allocate(array.nbytes)
            self.bindings.append(pointer.value)
            if not engine.binding_is_input(index):
                self.answers.append((array, pointer))

    def __call__(self) -> None:
        """Run and copy the results back."""
        if self.implicit:
            self.context.execute_async(self.size, self.bindings, self.stream.value)
        else:
            self.context.execute_async_v2(self.bindings, self.stream.value)
        for array, pointer in self.answers:
            target, size = array.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(array.nbytes)
            self.cuda.MemcpyAsync(target, pointer, size, DEVICE_TO_HOST, self.stream)
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


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Each batch size's engine, of a model that is one engine.

    Raises:
        ValueError: it is more than one.
    """
    tf.config.set_visible_devices([], "GPU")  # it only reads the file
    (file,) = Path(request["model"], "assets").glob(f"{engine_files.PREFIX}*")
    engines = dict(engine_files.engines(Path(request["model"]), file.name.removeprefix(engine_files.PREFIX)))
    cuda, rows, layers = Cuda(), [], {}
    logger = trt.Logger(trt.Logger.ERROR)
    trt.init_libnvinfer_plugins(logger, "")
    runtime = trt.Runtime(logger)
    for size in request["batchSizes"]:
        engine = runtime.deserialize_cuda_engine(engines[size])
        callers = [Caller(cuda, engine, size) for _ in range(max(rounds.IN_FLIGHT))]
        for caller in callers:
            for _ in range(WARM_UP_CALLS):
                caller()
        for in_flight in rounds.IN_FLIGHT:
            measured = rounds.measure(callers[:in_flight], request["seconds"])
            percentiles = measured.microseconds(50), measured.microseconds(99)
            speed = measured.calls_per_second * size
            rows.append(row(size, "Device", in_flight, speed, *percentiles, len(measured.latencies)))
            print(json.dumps(rows[-1]), flush=True)
        layers[size] = callers[0].layers()
    return {"rows": rows, "layers": layers}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
