"""How far models are from one of them on the same input: `part_errors.py REQUEST.json ANSWER.json`.

The request names the SavedModel `exact`, the `others`, and `data`, an .npz of the input. The answer has for each other
the largest error relative to the largest exact value, and the root of the mean square error relative to that of the
exact values.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def main(request: dict[str, Any]) -> dict[str, Any]:
    """All of them, one after the other."""
    # True FP32: TF32 has no more digits than FP16.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    with np.load(request["data"]) as arrays:
        asked = {name: tf.constant(arrays[name]) for name in arrays}
    exact = _answer(request["exact"], asked)
    errors = {name: _answer(folder, asked) - exact for name, folder in request["others"].items()}
    return {
        name: {
            "largest": float(f"{np.abs(error).max() / np.abs(exact).max():.3g}"),
            "meanSquare": float(f"{np.sqrt(np.mean(error**2) / np.mean(exact**2)):.3g}"),
        }
        for name, error in errors.items()
    }


def _answer(folder: str, asked: dict[str, Any]) -> Any:
    model = tf.saved_model.load(folder)  # which the signature does not keep alive
    (answer,) = model.signatures["serving_default"](**asked).values()
    return answer.numpy().astype(np.float64)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
