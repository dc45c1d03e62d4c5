"""Times one way of running one SavedModel, in a process of its own: `timing.py REQUEST.json ANSWER.json`.

A process of its own, for TF32 is a switch of the whole process, which TensorRT's builder reads as well. The model is
converted or not: this only loads it, gives it input and copies the result back to the host at every call.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.gpu import rounds


def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows: one for each batch size, place of the input and number of calls in flight."""
    tf.config.experimental.enable_tensor_float_32_execution(bool(request["tf32"]))
    loaded = tf.saved_model.load(request["model"])
    function = loaded.signatures[request["signature"]]
    ((name, spec),) = function.structured_input_signature[1].items()
    rows = []
    for size in request["batchSizes"]:
        images = np.random.default_rng(rounds.SEED).random((size, *spec.shape[1:])).astype(spec.dtype.as_numpy_dtype)
        resident = tf.identity(tf.constant(images))
        for place in ("device", "host"):

            def call(given: Any = resident if place == "device" else images) -> None:
                tensor = tf.constant(given) if isinstance(given, np.ndarray) else given
                for answer in function(**{name: tensor}).values():
                    answer.numpy()

            for _ in range(rounds.WARM_UP_CALLS):
                call()
            for in_flight in request["inFlight"]:
                row = {"batchSize": size, "input": place, "inFlight": in_flight}
                rows.append({**row, **rounds.measure([call] * in_flight, size, request["seconds"])})
                print(json.dumps({"way": request["way"], **rows[-1]}), flush=True)
    return rows


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
