"""TensorFlow keeps nothing of what a model on a GPU refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REFUSED = 200
# In a process of its own, for it takes its device with it; a function's inputs come from the host.
SCRIPT = """
import sys
import numpy as np
import tensorflow as tf
from tftrt_runtime.serve.aborted_calls import AbortedCalls

tf.config.experimental.set_memory_growth(tf.config.list_physical_devices("GPU")[0], True)
model = tf.saved_model.load(sys.argv[1])
classify = model.signatures["serving_default"]
good, bright = np.zeros((1, 32, 32, 3), np.float32), np.full((1, 32, 32, 3), 1000, np.float32)
before = classify(image=tf.constant(good))["classes"]
assert "GPU" in before.device, before.device
calls = AbortedCalls()
calls.release()
for _ in range(int(sys.argv[2])):
    try:
        classify(image=tf.constant(bright))
    except tf.errors.InvalidArgumentError:
        continue
    raise SystemExit("not refused")
kept, released = calls.count, calls.release()
same = np.array_equal(classify(image=tf.constant(good))["classes"], before)
print("counted", kept, released, calls.count, same)
"""


def test_what_tensorflow_keeps_of_a_refused_call_is_given_back(models: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(models / "refusing"), str(REFUSED)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("counted")]
    kept, released, left, same = line.split()[1:]
    assert int(kept) >= REFUSED, "what this is for"
    assert (released, left, same) == (kept, "0", "True")
