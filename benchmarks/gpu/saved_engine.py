"""Times a converted model's engines alone, layer by layer too: `saved_engine.py REQUEST.json ANSWER.json`.

The request names the converted `model`, `batchSizes` and the `seconds` of one measurement. The answer has `rows` as
`run.py` writes them, one stream for each call in flight, and `layers`: for each batch size the microseconds that each
of the engine's layers takes, from TensorRT's profiler. What a call of the model takes more than this is TensorFlow's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf
from tftrt_runtime.convert import engine_files

from benchmarks.gpu import engine


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Each batch size's engine, of a model that is one engine.

    Raises:
        ValueError: it is more than one.
    """
    tf.config.set_visible_devices([], "GPU")  # it only reads the file
    (file,) = Path(request["model"], "assets").glob(f"{engine_files.PREFIX}*")
    engines = dict(engine_files.engines(Path(request["model"]), file.name.removeprefix(engine_files.PREFIX)))
    rows, layers = [], {}
    for size in request["batchSizes"]:
        found, layers[size] = engine.timed(engines[size], size, request["seconds"])
        rows += found
    return {"rows": rows, "layers": layers}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
