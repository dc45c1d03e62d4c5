"""A model on several logical devices, here of the processor: each call is computed where its stream is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# For each stream: the devices of two kinds of operations, and the answers.
Found = list[tuple[dict[str, list[str]], list[list[float]]]]

# Logical devices are for the whole process, and made before anything else touches them.
SCRIPT = """
import json, sys, threading
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.eager import context
from tftrt_runtime.model import quick_call
from tftrt_runtime.serve import streams

quick_call.on_gpu = lambda function: sys.argv[2] == "in the calling thread"
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
weights = tf.constant(np.ones((4, 4), np.float32))
table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [2.0]), 0.0)
module = tf.Module()
module.table = table


@tf.function(input_signature=[tf.TensorSpec([None, 4], name="x"), tf.TensorSpec([None, 1], tf.string, name="word")])
def answer(x, word):
    y = tf.matmul(x, weights) * table.lookup(word)
    with tf.device("/CPU:1"):
        return {"y": tf.abs(y)}


tf.saved_model.save(module, sys.argv[1], signatures={"serving_default": answer})
found = []


def call(stream):
    context.enable_run_metadata()
    answers = stream({"x": tf.constant(np.ones((2, 4), np.float32)), "word": tf.constant([["a"], ["b"]])})
    graphs = context.export_run_metadata().function_graphs
    context.disable_run_metadata()
    nodes = [node for graph in graphs for part in graph.partition_graphs for node in part.node]
    kinds = {kind: [node for node in nodes if node.op.endswith(kind)] for kind in ("MatMul", "Abs")}
    devices = {kind: sorted({node.device[-5:] for node in those}) for kind, those in kinds.items()}
    found.append([devices, answers["y"].numpy().tolist()])


for stream in streams.load(sys.argv[1], ["/CPU:0", "/CPU:1"]):
    # From another thread than the one that loaded it, as a server does; a scope of a device is its thread's.
    thread = threading.Thread(target=call, args=[stream])
    thread.start()
    thread.join()
print(json.dumps(found))
"""


@pytest.fixture(scope="module", params=["in all threads", "in the calling thread"])
def found(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Found:
    folder = tmp_path_factory.mktemp("streams")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder / "model"), request.param]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=120)
    assert done.returncode == 0, done.stderr
    made: Found = json.loads(done.stdout)
    return made


def test_each_stream_computes_on_its_own_device(found: Found) -> None:
    assert [devices["MatMul"] for devices, _ in found] == [["CPU:0"], ["CPU:1"]]


def test_what_a_model_puts_on_a_device_is_computed_there(found: Found) -> None:
    assert [devices["Abs"] for devices, _ in found] == [["CPU:1"], ["CPU:1"]]


def test_every_stream_has_its_own_tables_and_answers_the_same(found: Found) -> None:
    assert [answers for _, answers in found] == [[[8.0] * 4, [0.0] * 4]] * 2
