"""Times a pure TensorRT engine, built from the same SavedModel through ONNX: `onnx_engine.py REQUEST.json ANSWER.json`.

The request names the `model`, its `signature`, where the `onnx` file goes, `workspaceBytes`, `batchSizes` and the
`seconds` of one measurement; the answer is a list of rows as `run.py` writes them.

This is what TF-TRT is held against: the same TensorRT, precision and workspace, one engine for each batch size, its
input on the device and its result copied back at every call, with one stream for each call in flight.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
from tftrt_runtime.benchmark import rounds

from benchmarks.gpu.rows import row

HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
OPSET = 13
WARM_UP_CALLS = 10
SEED = 20180327


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


def export(model: str, signature: str, target: Path) -> None:
    """The SavedModel as ONNX, once."""
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", model, "--signature_def", signature]
    command += ["--output", str(target), "--opset", str(OPSET)]
    if not target.exists():
        # On the processor, for TensorFlow would take the whole device.
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})


def build(onnx: Path, size: int, workspace: int) -> bytes:
    """A serialized FP16 engine for exactly this batch size."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        raise RuntimeError("; ".join(str(parser.get_error(index)) for index in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.set_flag(trt.BuilderFlag.FP16)
    network.get_input(0).shape = (size, *list(network.get_input(0).shape)[1:])
    return bytes(builder.build_serialized_network(network, config))


class Caller:
    """One execution context with buffers and a stream of its own."""

    def __init__(self, cuda: Cuda, engine: Any, images: Any) -> None:
        self.cuda, self.context = cuda, engine.create_execution_context()
        self.answer = np.empty(tuple(self.context.get_binding_shape(1)), np.float32)
        self.stream = ctypes.c_void_p()
        cuda.StreamCreate(ctypes.byref(self.stream))
        self.input, self.output = cuda.allocate(images.nbytes), cuda.allocate(self.answer.nbytes)
        source = images.ctypes.data_as(ctypes.c_void_p)
        cuda.Memcpy(self.input, source, ctypes.c_size_t(images.nbytes), HOST_TO_DEVICE)

    def __call__(self) -> None:
        """Run and copy the result back."""
        self.context.execute_async_v2([self.input.value, self.output.value], self.stream.value)
        target, size = self.answer.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(self.answer.nbytes)
        self.cuda.MemcpyAsync(target, self.output, size, DEVICE_TO_HOST, self.stream)
        self.cuda.StreamSynchronize(self.stream)


def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each batch size and number of calls in flight, with the seconds that the build took."""
    cuda, rows = Cuda(), []
    onnx = Path(request["onnx"])
    export(request["model"], request["signature"], onnx)
    for size in request["batchSizes"]:
        started = time.monotonic()
        serialized = build(onnx, size, request["workspaceBytes"])
        seconds = round(time.monotonic() - started, 1)
        engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(serialized)
        shape = (size, *tuple(engine.get_binding_shape(0))[1:])
        images = np.random.default_rng(SEED).random(shape).astype(np.float32)
        callers = [Caller(cuda, engine, images) for _ in range(max(rounds.IN_FLIGHT))]
        for caller in callers:
            for _ in range(WARM_UP_CALLS):
                caller()
        for in_flight in rounds.IN_FLIGHT:
            measured = rounds.measure(callers[:in_flight], request["seconds"])
            percentiles = measured.microseconds(50), measured.microseconds(99)
            made = row(
                size, "Device", in_flight, measured.calls_per_second * size, *percentiles, len(measured.latencies)
            )
            rows.append({**made, "buildSeconds": seconds})
            print(json.dumps(rows[-1]), flush=True)
    return rows


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
