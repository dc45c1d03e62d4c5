"""Measures the graphs that it is told to, one after the other: `worker.py [--cpu] FOLDER`.

Each line of standard input is a task, and gets a line of standard output: the row, but for what `pool.py` adds. The
first line that it writes is about the machine. A row with `last` is its last one: the device is lost to it. FOLDER gets
its log, which has all that TensorFlow and TensorRT say.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from benchmarks.gpu.operations.record import LOG

REPORT = "report.csv"


def main(folder: Path, cpu: bool) -> None:
    """Answer until there is nothing more to read."""
    answers = _log_all_else(folder / LOG)
    os.environ["TF_TRT_SHOW_DETAILED_REPORT"] = str(folder / REPORT)
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    with ExitStack() as stack:
        if cpu:
            from benchmarks.gpu.operations.conversion import without_tensorrt

            tf.config.set_visible_devices([], "GPU")
            stack.enter_context(without_tensorrt())
        _write(answers, machine(cpu))
        for line in sys.stdin:
            task = json.loads(line)
            started = time.monotonic()
            try:
                row = measured(folder, task, cpu)
            except Exception as error:  # whatever a graph does, the next one is measured
                traceback.print_exc()
                row = {"failed": f"{type(error).__name__}: {error}"[:1500]}
            # An engine that read what is not its own has lost the device for all that comes after it.
            is_last = "failed" in row and not is_well()
            told = {"last": True} if is_last else {}
            _write(answers, {**task, **row, **told, "seconds": round(time.monotonic() - started, 2)})
            if is_last:
                return
            gc.collect()  # functions hold themselves, and engines with them


def is_well() -> bool:
    """Whether this process can still compute."""
    import tensorflow as tf

    try:
        return float(tf.reduce_sum(tf.ones([64]) * 2.0)) == 128.0
    except tf.errors.OpError:
        traceback.print_exc()
        return False


def machine(cpu: bool) -> dict[str, Any]:
    """What is measured on."""
    from tftrt_runtime.device import devices, messages

    seen = None if cpu else devices.look(messages.DevicesRequest())
    if seen is not None and not seen.gpus:
        raise RuntimeError("TensorFlow sees no GPU: check the driver and CUDA_VISIBLE_DEVICES, or try --cpu")
    return {
        "device": seen.name if seen else "CPU",
        "driver": seen.driver if seen else "",
        "tensorflow": importlib.metadata.version("tensorflow-cpu" if cpu else "tensorflow"),
        "tensorrt": seen.tensorrt if seen else "",
    }


def measured(folder: Path, task: dict[str, str], cpu: bool) -> dict[str, Any]:
    """What is told of one graph in one precision, with fixed or dynamic shapes."""
    import tensorflow as tf

    from benchmarks.gpu.operations import errors
    from benchmarks.gpu.operations.conversion import ask, convert
    from benchmarks.gpu.operations.graphs import OPERATIONS
    from benchmarks.gpu.operations.network import SIGNATURE, Network

    network = Network(OPERATIONS[task["operation"]], task["shapes"] == "dynamic")
    exact, reference = network.exact()
    row: dict[str, Any] = {"reference": reference}
    with tempfile.TemporaryDirectory() as source:
        network.save(Path(source))
        model = tf.saved_model.load(source)  # which the signature does not keep alive
        own = ask(model.signatures[SIGNATURE], network.asked())
        row["tensorflowDefault"] = errors.error(own, exact)  # with TF32, where the device has it
        tf.config.experimental.enable_tensor_float_32_execution(False)
        row["tensorflow"] = errors.error(ask(model.signatures[SIGNATURE], network.asked()), exact)
        # TensorRT's builder reads the same switch: engines are built as the product builds them.
        tf.config.experimental.enable_tensor_float_32_execution(True)
        found = convert(network, Path(source), task["precision"], folder / REPORT, folder / LOG)
    if found.answers is not None:
        row["error"] = errors.error(found.answers, exact)
    if found.failure is not None:
        row["failed"] = found.failure
    if cpu:
        bound = network.operation.bound if network.operation.computed_in != "float16" else 2e-2
        answers = [row["tensorflow"], row.get("error", {"relative": float("inf")})]
        return row | {"right": all(errors.is_within(one, bound) for one in answers)}
    return row | {
        "engines": found.engines,
        "inEngines": found.in_engines,
        "operations": found.operations,
        "kept": {name: list(reasons) for name, reasons in found.kept.items()},
        "layers": found.layers,
        "buildSeconds": found.build_seconds,
    }


def _log_all_else(log: Path) -> TextIO:
    """Have what is written to standard output and standard error go to the log; the old standard output."""
    answers = os.fdopen(os.dup(1), "w")
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    return answers


def _write(answers: TextIO, row: dict[str, Any]) -> None:
    answers.write(json.dumps(row) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[-1]), "--cpu" in sys.argv[1:-1])
