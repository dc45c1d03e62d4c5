"""Times a converted model that is called by its signature: `signature_calls.py REQUEST.json ANSWER.json`.

The request is that of `trace.py`, with the `seconds` of one measurement. The answer has `rows` as `run.py` writes
them, all calls on one stream. What they take more than calls of `tftrt_runtime.quick_call` is Python's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf
from tftrt_runtime import samples, timers
from tftrt_runtime.artifact import Sample, Tensor
from tftrt_runtime.benchmark import rounds, timing

from benchmarks.gpu.rows import row


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Each batch size with one, two and three calls in flight, its input on the device."""
    timers.set_slack()
    loaded = tf.saved_model.load(request["model"])
    (function,) = loaded.signatures.values()
    inputs = [Tensor.model_validate(tensor) for tensor in request["inputs"]]
    sample = Sample.model_validate(request["sample"])
    rows = []
    for size in request["batchSizes"]:
        batch = samples.batch(inputs, size, sample)
        # A constant lies on the host; what an operation makes of it lies on the device.
        resident = {name: tf.identity(tf.constant(value)) for name, value in batch.items()}

        def call(resident: dict[str, Any] = resident) -> list[Any]:
            return [answer.numpy() for answer in function(**resident).values()]

        timing.warm_up(call)
        for in_flight in rounds.IN_FLIGHT:
            measured = rounds.measure([call] * in_flight, request["seconds"])
            speed = measured.calls_per_second * size
            p50, p99 = measured.microseconds(50), measured.microseconds(99)
            rows.append(row(size, "Device", in_flight, 1, speed, p50, p99, len(measured.latencies)))
    return {"rows": rows}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
