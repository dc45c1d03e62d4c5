"""Times a converted model in one of the ways that might make it faster: `leads.py REQUEST.json ANSWER.json`.

The request names the `model`, its `inputs` and `sample`, `batchSizes`, `seconds` of one measurement and the lead:
`streams` logical devices with so many MiB (`streamMiB`) of the GPU each, hence so many CUDA streams, the calls in
flight going to them in turn; `timerSlack` in nanoseconds; `config`, a ConfigProto as text; and the `executor` of
functions. The answer has rows as `run.py` writes them. What a lead sets in the environment is set by who starts this.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow.python.eager import context
from tftrt_runtime import samples, timers
from tftrt_runtime.artifact import Sample, Tensor
from tftrt_runtime.benchmark import rounds
from tftrt_runtime.cuda import Cuda
from tftrt_runtime.serve.memory import MIB

from benchmarks.gpu.rows import row

WARM_UP_CALLS = 10


def prepare(request: dict[str, Any]) -> list[str]:
    """Set what the process is to have, and make its devices; their names."""
    timers.set_slack(request["timerSlack"])
    if request["config"]:
        tf.compat.v1.enable_eager_execution(text_format.Parse(request["config"], config_pb2.ConfigProto()))
    names = devices(request["streams"], request["streamMiB"])
    context.context().function_call_options.executor_type = request["executor"]
    return names


def devices(count: int, mebibytes: int) -> list[str]:
    """The names of so many logical devices on the first GPU, or CPU where there is none."""
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    limit = {"memory_limit": mebibytes} if kind == "GPU" else {}
    logical = [tf.config.LogicalDeviceConfiguration(**limit) for _ in range(count)]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices(kind)[0], logical)
    return [f"/{kind}:{index}" for index in range(count)]


def placed(model: Path, device: str, target: Path) -> Path:
    """A copy of the SavedModel whose operations lie on this device where they lay on the first GPU."""
    shutil.copytree(model, target)
    file = target / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for meta_graph in message.meta_graphs:
        graph = meta_graph.graph_def
        for node in (*graph.node, *(node for function in graph.library.function for node in function.node_def)):
            node.device = node.device.replace("/device:GPU:0", f"/device:{device.strip('/')}")
    file.write_bytes(message.SerializeToString())
    return target


def caller(model: Path, device: str) -> tuple[Any, Callable[[dict[str, Any]], dict[str, Any]]]:
    """The loaded model, which must be kept, and a call of it on the device."""
    with tf.device(device):
        loaded = tf.saved_model.load(str(model))
    (function,) = loaded.signatures.values()

    def call(tensors: dict[str, Any]) -> dict[str, Any]:
        with tf.device(device):
            return dict(function(**tensors))

    return loaded, call


def main(request: dict[str, Any]) -> dict[str, Any]:
    """One row for each batch size and number of calls in flight, the input on the device; its memory and start."""
    started = time.monotonic()
    names = prepare(request)
    inputs = [Tensor.model_validate(tensor) for tensor in request["inputs"]]
    made, kept = [], []
    with tempfile.TemporaryDirectory() as folder:
        for index, name in enumerate(names):
            model = (
                Path(request["model"]) if index == 0 else placed(Path(request["model"]), name, Path(folder, str(index)))
            )
            loaded, call = caller(model, name)
            kept.append(loaded)
            made.append(call)
    rows: list[dict[str, Any]] = []
    seconds = 0.0  # until the first answer
    for size in request["batchSizes"]:
        batch = samples.batch(inputs, size, Sample.model_validate(request["sample"]))
        calls = [on_host(call, resident(batch, name)) for call, name in zip(made, names, strict=True)]
        for call in calls:
            for _ in range(WARM_UP_CALLS):
                call()
                seconds = seconds or time.monotonic() - started
        for in_flight in rounds.IN_FLIGHT:
            callers = [calls[index % len(calls)] for index in range(in_flight)]
            measured = rounds.measure(callers, request["seconds"])
            percentiles = measured.microseconds(50), measured.microseconds(99)
            speed = measured.calls_per_second * size
            rows.append(row(size, "Device", in_flight, speed, *percentiles, len(measured.latencies)))
            print(json.dumps(rows[-1]), flush=True)
    return {"rows": rows, "firstAnswerSeconds": round(seconds, 1), "outsideThePoolMiB": _outside(request)}


def _outside(request: dict[str, Any]) -> int | None:
    """What the process takes of the device beside TensorFlow's pools, where there is a device."""
    if not tf.config.list_physical_devices("GPU"):
        return None
    free, total = Cuda().free_and_total()
    return int((total - free) / MIB - request["streams"] * request["streamMiB"])


def resident(batch: samples.Batch, device: str) -> dict[str, Any]:
    """The batch as tensors on the device."""
    with tf.device(device):
        return {name: tf.identity(tf.constant(value)) for name, value in batch.items()}


def on_host(call: Callable[[dict[str, Any]], dict[str, Any]], tensors: dict[str, Any]) -> rounds.Call:
    """A call that ends when its answers are on the host."""
    return lambda: [answer.numpy() for answer in call(tensors).values()]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
