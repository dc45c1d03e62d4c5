"""How often a classifier is right on held-out data, alone: `accuracy.py MODEL DATA.npz BATCH ANSWER.json`.

The data has one array by the input's name, and `labels`. Batches are as large as the model's largest engine.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def main(model: str, held_out: str, batch_size: int) -> dict[str, Any]:
    """The share of right answers, and of how many."""
    # True FP32 for the unconverted model: TF32 would be one more precision to compare with.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    loaded = tf.saved_model.load(model)
    (function,) = loaded.signatures.values()
    (name,) = function.structured_input_signature[1]
    with np.load(held_out) as arrays:
        images, labels = arrays[name], arrays["labels"]
    right = 0
    for start in range(0, len(labels), batch_size):
        (answer,) = function(**{name: tf.constant(images[start : start + batch_size])}).values()
        right += int(np.sum(np.argmax(answer.numpy(), axis=1) == labels[start : start + batch_size]))
    return {"accuracy": round(right / len(labels), 4), "right": right, "samples": len(labels)}


if __name__ == "__main__":
    Path(sys.argv[4]).write_text(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
