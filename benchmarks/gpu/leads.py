"""Times a model on so many streams: `leads.py REQUEST.json ANSWER.json`.

The request names the `model`, its `inputs` and `sample`, `batchSizes`, `seconds` of one measurement, and `streams`,
with so many MiB (`streamMiB`) of the GPU each; the calls in flight go to them in turn. `tf32` switches TF32 on or off.
The answer has rows as `run.py` writes them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import tensorflow as tf
from tftrt_runtime import samples, timers
from tftrt_runtime.artifact import Sample, Tensor
from tftrt_runtime.benchmark import rounds
from tftrt_runtime.cuda import Cuda
from tftrt_runtime.serve import memory, streams

from benchmarks.gpu.rows import row

WARM_UP_CALLS = 10


def load(request: dict[str, Any]) -> tuple[streams.Stream, ...]:
    """The model on its streams; on the processor, where there is no GPU, on one."""
    timers.set_slack()
    tf.config.experimental.enable_tensor_float_32_execution(request["tf32"])
    devices: tuple[str | None, ...] = (None,)
    if tf.config.list_physical_devices("GPU"):
        devices = memory.reserve((request["streamMiB"],) * request["streams"], os.environ)
    loaded: tuple[streams.Stream, ...] = streams.load(Path(request["model"]), devices)
    return loaded


def batch(request: dict[str, Any], size: int) -> samples.Batch:
    """What the model is asked."""
    inputs = [Tensor.model_validate(tensor) for tensor in request["inputs"]]
    return samples.batch(inputs, size, Sample.model_validate(request["sample"]))


def call(stream: streams.Stream, arrays: samples.Batch) -> rounds.Call:
    """A call with its input on the device, which ends when its answers are on the host."""
    tensors = stream.resident(arrays)
    return lambda: [answer.numpy() for answer in stream(tensors).values()]


def main(request: dict[str, Any]) -> dict[str, Any]:
    """One row for each batch size and number of calls in flight, the input on the device; its memory and start."""
    started = time.monotonic()
    loaded = load(request)
    rows: list[dict[str, Any]] = []
    seconds = 0.0  # until the first answer
    for size in request["batchSizes"]:
        arrays = batch(request, size)
        calls = [call(stream, arrays) for stream in loaded]
        for one in calls:
            for _ in range(WARM_UP_CALLS):
                one()
                seconds = seconds or time.monotonic() - started
        for in_flight in rounds.IN_FLIGHT:
            measured = rounds.measure(list(islice(cycle(calls), in_flight)), request["seconds"])
            percentiles = measured.microseconds(50), measured.microseconds(99)
            speed, used = measured.calls_per_second * size, min(in_flight, len(calls))
            rows.append(row(size, "Device", in_flight, used, speed, *percentiles, len(measured.latencies)))
            print(json.dumps(rows[-1]), flush=True)
    return {"rows": rows, "firstAnswerSeconds": round(seconds, 1), "outsideThePoolMiB": _outside(request)}


def _outside(request: dict[str, Any]) -> int | None:
    """What the process takes of the device beside TensorFlow's pools, where there is a device."""
    if not tf.config.list_physical_devices("GPU"):
        return None
    free, total = Cuda().free_and_total()
    return int((total - free) / memory.MIB - request["streams"] * request["streamMiB"])


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
