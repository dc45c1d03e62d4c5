"""A GraphDef of TensorFlow 1 goes through conversion and serving as a SavedModel does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tritonclient.grpc
from tensorflow.core.framework import graph_pb2

from tests.box import Box
from tests.rounding import assert_rounded_alike
from tftrt_runtime.loading import frozen_graph
from tftrt_runtime.loading.messages import ImportRequest

SOURCE = {
    "uri": "pvc://models/frozen/graph.pb",
    "format": "FrozenGraph",
    "signature": "serving_default",
    "inputs": ["net/input:0", "scale:0"],
    "outputs": ["net/logits:0", "halves:1"],
}


def fetched(root: Path, graph: bytes, **source: Any) -> Box:
    """A box after `lookup` and `fetch` of this file."""
    box = Box(root, name="frozen")
    box.spec["source"] = {**SOURCE, **source}
    (box.pvc / "models/frozen").mkdir(parents=True)
    (box.pvc / "models/frozen/graph.pb").write_bytes(graph)
    for step in ("lookup", "fetch"):
        ended = box.run(step)
        assert ended.code == 0, ended.log
    return box


@pytest.fixture
def graph(models: Path) -> bytes:
    return (models / "frozen/graph.pb").read_bytes()


def refusal(box: Box) -> tuple[int, str]:
    ended = box.run("convert")
    return ended.code, ended.message


def test_a_frozen_graph_is_converted_published_and_served(tmp_path: Path, graph: bytes) -> None:
    box = fetched(tmp_path, graph)
    for step in ("convert", "publish"):
        ended = box.run(step)
        assert ended.code == 0, ended.log
    summary = box.manifest["summary"]
    assert [tensor["name"] for tensor in summary["inputs"]] == ["net_input", "scale"]
    assert [(tensor["name"], tensor["shape"]) for tensor in summary["outputs"]] == [
        ("halves_1", [-1, 3]),
        ("net_logits", [-1, 6]),
    ]
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    scale = np.array([[1.0], [2.0], [3.0]], np.float32)
    weights = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
    server = box.serve()
    server.wait_until_ready()
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    asked = []
    for name, value in {"net_input": x, "scale": scale}.items():
        asked.append(tritonclient.grpc.InferInput(name, list(value.shape), "FP32"))
        asked[-1].set_data_from_numpy(value)
    answer = client.infer("frozen", asked)
    assert_rounded_alike(answer.as_numpy("net_logits"), x @ weights * scale + np.float32(0.5), 4 + 2)
    # One is a copy of the other.
    np.testing.assert_array_equal(answer.as_numpy("halves_1"), answer.as_numpy("net_logits")[:, 3:])


def test_a_nodes_name_means_its_first_output(tmp_path: Path, graph: bytes) -> None:
    box = fetched(tmp_path, beside_a_stranger(graph), inputs=["net/input", "scale"], outputs=["net/logits"])
    ended = box.run("convert")
    assert ended.code == 0, ended.log
    conversion = json.loads((box.workspace / "convert.json").read_text())["conversion"]
    found = [(tensor["name"], tensor.get("source")) for tensor in conversion["inputs"] + conversion["outputs"]]
    assert found == [("net_input", "net/input:0"), ("scale", None), ("net_logits", "net/logits:0")]


@pytest.mark.parametrize("bound", ["net/scale", "net/scale:0"])
def test_a_tensor_is_bound_by_its_own_name_beside_others_that_are_served_under_new_ones(
    tmp_path: Path, graph: bytes, bound: str
) -> None:
    parsed = graph_pb2.GraphDef.FromString(graph)
    for node in parsed.node:
        node.name = "net/scale" if node.name == "scale" else node.name
        node.input[:] = ["net/scale" if name == "scale" else name for name in node.input]
        if node.name == "net/scale":
            node.attr["shape"].shape.ClearField("dim")  # a scalar
    values = {bound: 2.0}
    box = fetched(tmp_path, bytes(parsed.SerializeToString()), inputs=["net/input"], values=values)
    ended = box.run("convert")
    assert ended.code == 0, ended.log
    conversion = json.loads((box.workspace / "convert.json").read_text())["conversion"]
    assert [(tensor["name"], tensor["source"]) for tensor in conversion["inputs"]] == [("net_input", "net/input:0")]
    function = tf.saved_model.load(str(box.workspace / "artifact/model")).signatures["serving_default"]
    x = np.random.default_rng(4).normal(size=(3, 4)).astype(np.float32)
    weights = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
    assert_rounded_alike(function(net_input=tf.constant(x))["net_logits"].numpy(), x @ weights * 2 + 0.5, 4 + 2)


@pytest.mark.parametrize(
    ("own", "served"), [("0", "input_0"), ("class", "input_class"), ("self", "input_self"), (".x", "input_x")]
)
def test_an_input_whose_name_no_argument_can_have_is_served_under_another(
    tmp_path: Path, graph: bytes, own: str, served: str
) -> None:
    parsed = graph_pb2.GraphDef.FromString(graph)
    for node in parsed.node:
        node.name = own if node.name == "net/input" else node.name
        node.input[:] = [own if name == "net/input" else name for name in node.input]
    (tmp_path / "source").mkdir()
    (tmp_path / "source/graph.pb").write_bytes(parsed.SerializeToString())
    request = ImportRequest(
        uri="pvc://models/frozen",
        source=str(tmp_path / "source"),
        inputs=(f"{own}:0", "scale:0"),
        outputs=("net/logits:0",),
        values={},
        signature="serving_default",
        target=str(tmp_path / "made"),
    )
    assert frozen_graph.save(request).names == {served: f"{own}:0", "net_logits": "net/logits:0"}
    function = tf.saved_model.load(str(tmp_path / "made")).signatures["serving_default"]
    assert set(function.structured_input_signature[1]) == {served, "scale"}


def beside_a_stranger(graph: bytes) -> bytes:
    """The graph with a node that was to be placed beside another one, which freezing left out."""
    parsed = graph_pb2.GraphDef.FromString(graph)
    for node in parsed.node:
        if node.op == "MatMul":
            node.attr["_class"].list.s.append(b"loc:@net/weights")
    return bytes(parsed.SerializeToString())


def test_a_tensor_that_is_not_there_is_refused_with_its_nearest_names(tmp_path: Path, graph: bytes) -> None:
    code, message = refusal(fetched(tmp_path, graph, outputs=["net/logit:0"]))
    assert code == 14
    assert "no tensor 'net/logit:0', which spec.source.outputs names: did you mean 'net/logits:0'" in message


def test_inputs_that_do_not_lead_to_the_outputs_are_refused(tmp_path: Path, graph: bytes) -> None:
    code, message = refusal(fetched(tmp_path, graph, inputs=["net/input:0"]))
    assert code == 14
    assert "spec.source.inputs" in message


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x01\x12\x00"])
def test_bytes_that_are_no_graph_are_no_model(tmp_path: Path, content: bytes) -> None:
    code, message = refusal(fetched(tmp_path, content))
    assert code == 13
    assert "is no frozen graph" in message


def test_a_graph_with_variables_is_not_frozen(tmp_path: Path, graph: bytes) -> None:
    code, message = refusal(fetched(tmp_path, graph, outputs=["forgotten/read:0"], inputs=["net/input:0"]))
    assert code == 13
    assert "has variables or tables (VariableV2)" in message


def calling_python() -> bytes:
    with tf.Graph().as_default() as made:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        tf.identity(tf.ensure_shape(tf.compat.v1.py_func(lambda value: value, [x], tf.float32), [None, 4]), name="y")
    return bytes(made.as_graph_def().SerializeToString())


def of_its_own() -> bytes:
    made = graph_pb2.GraphDef.FromString(calling_python())
    for node in made.node:
        if node.op == "PyFunc":
            node.op = "MyOwnOp"
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("make", "told", "what_to_do"),
    [
        (calling_python, "uses 'PyFunc', which calls Python code", "Write it with TensorFlow's operations"),
        (of_its_own, "uses the operation 'MyOwnOp', which TensorFlow 2.14.1 does not have", "Export the model without"),
    ],
)
def test_what_cannot_run_is_refused_by_its_name_and_with_what_to_do(
    tmp_path: Path, make: Callable[[], bytes], told: str, what_to_do: str
) -> None:
    code, message = refusal(fetched(tmp_path, make(), inputs=["x"], outputs=["y"]))
    assert code == 13
    assert message.startswith(f"pvc://models/frozen/graph.pb {told}")
    assert what_to_do in message


def test_a_frozen_graph_without_tensor_names_is_a_usage_error(tmp_path: Path) -> None:
    box = Box(tmp_path, name="frozen")
    box.spec["source"] = {**SOURCE, "outputs": []}
    code, message = refusal(box)
    assert code == 2
    assert "needs inputs and outputs" in message
