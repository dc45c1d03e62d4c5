"""Times one way of running one SavedModel, in a process of its own: `timing.py REQUEST.json ANSWER.json`.

A process of its own, for TF32 is a switch of the whole process, which TensorRT's builder reads as well. The model is
converted or not: this only loads it, gives it input and copies the result back to the host at every call.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf

WARM_UP_CALLS = 10
ROUNDS = 3  # the median round is told
SEED = 20180327


def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows: one for each batch size, place of the input and number of calls in flight."""
    tf.config.experimental.enable_tensor_float_32_execution(bool(request["tf32"]))
    loaded = tf.saved_model.load(request["model"])
    function = loaded.signatures[request["signature"]]
    ((name, spec),) = function.structured_input_signature[1].items()
    rows = []
    for size in request["batchSizes"]:
        images = np.random.default_rng(SEED).random((size, *spec.shape[1:])).astype(spec.dtype.as_numpy_dtype)
        resident = tf.identity(tf.constant(images))
        for place in ("device", "host"):

            def call(given: Any = resident if place == "device" else images) -> None:
                tensor = tf.constant(given) if isinstance(given, np.ndarray) else given
                for answer in function(**{name: tensor}).values():
                    answer.numpy()

            for _ in range(WARM_UP_CALLS):
                call()
            for in_flight in request["inFlight"]:
                row = {"batchSize": size, "input": place, "inFlight": in_flight}
                rows.append({**row, **measure(call, size, in_flight, request["seconds"])})
                print(json.dumps({"way": request["way"], **rows[-1]}), flush=True)
    return rows


def measure(call: Any, size: int, in_flight: int, seconds: float) -> dict[str, float]:
    """Images a second of the median round, and percentiles of all calls' latencies in milliseconds."""
    rates, latencies = [], []
    for _ in range(ROUNDS):
        rate, took = one_round(call, size, in_flight, seconds)
        rates.append(rate)
        latencies += took
    return {
        "imagesPerSecond": round(median(rates), 1),
        "p50Milliseconds": round(float(np.percentile(latencies, 50)) * 1e3, 3),
        "p99Milliseconds": round(float(np.percentile(latencies, 99)) * 1e3, 3),
        "calls": len(latencies),
    }


def one_round(call: Any, size: int, in_flight: int, seconds: float) -> tuple[float, list[float]]:
    """Calls from as many threads as there are to be in flight, until the time is up."""
    start = time.perf_counter()

    def calls(_: int) -> list[float]:
        took = []
        now = time.perf_counter()
        while now - start < seconds:
            before = now
            call()
            now = time.perf_counter()
            took.append(now - before)
        return took

    with ThreadPoolExecutor(in_flight) as threads:
        latencies = [one for took in threads.map(calls, range(in_flight)) for one in took]
    return len(latencies) * size / (time.perf_counter() - start), latencies


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
