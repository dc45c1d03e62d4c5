"""What a model on a GPU refuses is refused as on the CPU, and TensorFlow keeps nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.gpu.test_gpu import server

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


def counted(model: Path) -> list[str]:
    """Entries that TensorFlow kept, how many were given back, how many are left, and whether it answers as before."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(model), str(REFUSED)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("counted")]
    return line.split()[1:]


@pytest.fixture(scope="module")
def refusing(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A box in which `refusing` was converted to FP16, and published."""
    from tests.gpu.conftest import gpu_box

    box = gpu_box(tmp_path_factory.mktemp("refusing") / "box", "refusing", models)
    box.spec["conversion"]["precision"] = "FP16"
    box.convert_and_publish()
    return box


def test_what_tensorflow_keeps_of_a_refused_call_is_given_back(models: Path) -> None:
    kept, released, left, same = counted(models / "refusing")
    assert int(kept) >= REFUSED, "what this is for"
    assert (released, left, same) == (kept, "0", "True")


def test_what_tensorflow_keeps_of_a_refused_call_of_engines_is_given_back(refusing: Any) -> None:
    build = refusing.manifest["build"]
    kept, released, left, same = counted(refusing.product / "builds" / build / "model")
    assert int(kept) >= REFUSED
    assert (released, left, same) == (kept, "0", "True")


def test_a_refusal_is_an_invalid_argument_and_others_are_answered(refusing: Any) -> None:
    running = server(refusing, "0.02", "refusing")
    running.wait_until_ready()
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}")

    def ask(brightness: float) -> Any:
        image = np.full((1, 32, 32, 3), brightness, np.float32)
        tensor = tritonclient.grpc.InferInput("image", list(image.shape), "FP32")
        tensor.set_data_from_numpy(image)
        return client.infer("refusing", [tensor]).as_numpy("classes")

    known = ask(0.5)
    for _ in range(REFUSED):
        with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*too bright"):
            ask(1000.0)
    np.testing.assert_array_equal(ask(0.5), known)
    assert "leave memory behind" not in running.log.read_text()
    assert running.stop().code == 0
