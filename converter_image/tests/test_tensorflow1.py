# mypy: disable-error-code="no-untyped-call"
"""SavedModels of TensorFlow 1, with its own variables, tables, graphs and names, answer as they did in its session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tritonclient.grpc
import tritonclient.http
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tritonclient.utils import np_to_triton_dtype

from tests import answers
from tests.answers import Arrays
from tests.box import Box
from tests.test_refusals import posted
from tftrt_runtime.contract.errors import NotAModel, SignatureNotFound
from tftrt_runtime.loading import freeze, session
from tftrt_runtime.loading.messages import ImportAnswer, SessionRequest
from tftrt_runtime.model import saved_model_file
from tftrt_runtime.model.saved_model_file import MetaGraph

# The roundings one after the other in the deepest of these networks: a convolution, a normalization, a mean of 8 x 8, a
# dense layer, a softmax.
TERMS = 3 * 3 * 3 + 4 + 8 * 8 + 8 + 20


def made(folder: Path, target: Path, signature: str = "serving_default", *, on_gpu: bool = False) -> ImportAnswer:
    """What a SavedModel becomes."""
    request = SessionRequest(
        uri=f"pvc://models/{folder.name}", source=str(folder), signature=signature, target=str(target), on_gpu=on_gpu
    )
    return session.save(request)


def asked(folder: Path, signature: str, inputs: Arrays) -> Arrays:
    """The answers of a SavedModel."""
    function = tf.saved_model.load(str(folder)).signatures[signature]
    found = function(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize(
    "name",
    ["tf1", "tf1-gpu", "tf1-text", "tf1-table", "tf1-table-gpu", "tf1-old-table", "tf1-control-flow", "tf1-names"],
)
def test_a_model_answers_as_in_the_session_that_saved_it(tensorflow1: Path, tmp_path: Path, name: str) -> None:
    names = made(tensorflow1 / name, tmp_path / "made").names
    inputs, expected = answers.of(tensorflow1 / f"{name}.npz")
    served = {next((new for new, own in names.items() if own == key), key): value for key, value in inputs.items()}
    answers.assert_alike(asked(tmp_path / "made", "serving_default", served), expected, TERMS)


@pytest.mark.parametrize("name", ["tf1", "tf1-table", "tf1-table-gpu", "tf1-old-table", "tf1-control-flow"])
def test_what_it_becomes_can_be_frozen_and_keeps_its_answers(tensorflow1: Path, tmp_path: Path, name: str) -> None:
    made(tensorflow1 / name, tmp_path / "made")
    loaded = tf.saved_model.load(str(tmp_path / "made"))
    function = loaded.signatures["serving_default"]
    assert freeze.why_not(loaded, function) is None
    assert freeze.has_tables(loaded, function) == ("table" in name)
    freeze.save(freeze.freeze(loaded, function), function, str(tmp_path / "frozen"), "serving_default")
    del loaded, function
    inputs, expected = answers.of(tensorflow1 / f"{name}.npz")
    answers.assert_alike(asked(tmp_path / "frozen", "serving_default", inputs), expected, TERMS)


@pytest.mark.parametrize(
    ("name", "on_gpu", "tags"),
    [
        ("tf1-both", False, "serve"),
        ("tf1-both", True, "serve-gpu"),
        ("tf1-both-resources", False, "serve"),
        ("tf1-both-resources", True, "serve-gpu"),
        ("tf1-train", False, "serve"),
        ("tf1-train", True, "serve"),
    ],
)
def test_of_several_graphs_the_one_for_serving_is_taken(
    tensorflow1: Path, tmp_path: Path, name: str, on_gpu: bool, tags: str
) -> None:
    made(tensorflow1 / name, tmp_path / "made", on_gpu=on_gpu)
    inputs, expected = answers.of(tensorflow1 / f"{name}-{tags}.npz")
    answers.assert_alike(asked(tmp_path / "made", "serving_default", inputs), expected, TERMS)


def test_what_it_becomes_names_no_device(tensorflow1: Path, tmp_path: Path) -> None:
    """Else a GPU's reference and its benchmark would run where the model was frozen, or trained."""
    made(tensorflow1 / "tf1-both", tmp_path / "made", on_gpu=True)
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "made/saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    assert {node.device for function in functions for node in function.node_def if node.op == "MatMul"} == {""}


def test_of_several_signatures_only_the_one_that_is_asked_for_must_be_fit(tensorflow1: Path, tmp_path: Path) -> None:
    made(tensorflow1 / "tf1-signatures", tmp_path / "made", "scores")
    inputs, expected = answers.of(tensorflow1 / "tf1-signatures.npz")
    answers.assert_alike(asked(tmp_path / "made", "scores", inputs), expected, TERMS)
    with pytest.raises(SignatureNotFound, match="no signature 'score': it has scores, serving_default"):
        made(tensorflow1 / "tf1-signatures", tmp_path / "other", "score")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tf1-counter", r"changes its variables or tables when it is called \(AssignAdd\)"),
        ("tf1-queue", r"reads from FIFOQueueV2, which is filled while a program runs"),
        ("tf1-no-serving", r"has 2 graphs, tagged train; eval, and none of them serve: export one for serving"),
    ],
)
def test_what_no_constant_can_hold_is_refused_by_name(tensorflow1: Path, tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(NotAModel, match=told):
        made(tensorflow1 / name, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_text_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/saved_model.pbtxt").write_text("meta_graphs { nonsense }")
    with pytest.raises(NotAModel, match=r"pvc://models/model is no SavedModel: saved_model.pbtxt: ParseError"):
        made(tmp_path / "model", tmp_path / "made")


def test_a_model_of_tensorflow_2_as_text_is_taken_as_it_is(models: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    source.mkdir()
    (source / "variables").symlink_to(models / "two/variables")
    parsed = saved_model_pb2.SavedModel.FromString((models / "two/saved_model.pb").read_bytes())
    (source / "saved_model.pbtxt").write_text(text_format.MessageToString(parsed))
    assert made(source, tmp_path / "made").names == {}
    inputs, expected = answers.of(models / "two.npz")
    answers.assert_alike(asked(tmp_path / "made", "serving_default", inputs), expected, 8)


class TestWhatTheFileSays:
    def graph(self, *tags: str, **signatures: tuple[str, ...]) -> MetaGraph:
        return MetaGraph(frozenset(tags), frozenset({"MatMul"}), signatures, of_tensorflow_2=False)

    def test_is_read_without_tensorflow(self, tensorflow1: Path, models: Path) -> None:
        (graph,) = saved_model_file.meta_graphs(tensorflow1 / "tf1-names") or ()
        assert graph.tags == {"serve"}
        assert {"VariableV2", "MatMul", "Placeholder"} <= graph.operations
        assert graph.signatures["serving_default"] == ("image/flat", "scale:0")
        assert not graph.of_tensorflow_2
        (graph,) = saved_model_file.meta_graphs(models / "two") or ()
        assert graph.of_tensorflow_2
        assert graph.signatures["serving_default"] == ("extra", "ids", "unused")

    @pytest.mark.parametrize("content", [b"no protobuf", b"\x12\xff\x01", b"\xff" * 12, b"\x12\x04\x0a\x20ab"])
    def test_is_left_to_tensorflow_where_it_is_no_message(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "saved_model.pb").write_bytes(content)
        assert saved_model_file.meta_graphs(tmp_path) is None
        assert saved_model_file.loads_as_it_is((), "serving_default")

    def test_tells_which_graph_is_for_serving(self) -> None:
        plain, gpu, tpu = self.graph("serve"), self.graph("serve", "gpu"), self.graph("serve", "tpu")
        scores = self.graph("serve", "gpu", scores=("x",))
        for graphs, on_gpu, expected in [
            ((tpu, gpu, plain), False, plain),
            ((tpu, gpu, plain), True, gpu),
            ((tpu, gpu), False, gpu),
            ((tpu, plain), True, plain),
            ((self.graph(),), False, self.graph()),
            ((plain, scores), False, scores),
        ]:
            assert saved_model_file.for_serving(graphs, "scores", "uri", on_gpu=on_gpu) == expected


@pytest.fixture
def box(tmp_path: Path, tensorflow1: Path) -> Any:
    def make(name: str, **source: Any) -> Box:
        made = Box(tmp_path, name=name, models=tensorflow1)
        made.spec["source"].update(source)
        return made

    return make


def test_names_that_tensorflow_2_cannot_have_are_served_under_others(box: Any, tensorflow1: Path) -> None:
    converted = box("tf1-names")
    converted.convert_and_publish()
    summary = converted.manifest["summary"]
    assert [(tensor["name"], tensor["source"]) for tensor in summary["inputs"]] == [
        ("image_flat", "image/flat"),
        ("scale", "scale:0"),
    ]
    assert [tensor["name"] for tensor in summary["outputs"]] == ["best:0", "scores/all"]
    assert "source" not in summary["outputs"][0]
    assert "the model's <code>image/flat</code>" in (converted.published / "report.html").read_text()
    server = converted.serve()
    server.wait_until_ready()
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    inputs, expected = answers.of(tensorflow1 / "tf1-names.npz")
    tensors = []
    for tensor in summary["inputs"]:
        value = inputs[tensor["source"]]
        tensors.append(tritonclient.grpc.InferInput(tensor["name"], list(value.shape), np_to_triton_dtype(value.dtype)))
        tensors[-1].set_data_from_numpy(value)
    answer = client.infer("tf1-names", tensors)
    answers.assert_alike(
        {"best:0": answer.as_numpy("best:0")[:, 0], "scores/all": answer.as_numpy("scores/all")}, expected, TERMS
    )
    # And over HTTP, where a name may not be taken for a part of an address: by a client, and by hand in JSON.
    by_http, asked_for = [], []
    for tensor in summary["inputs"]:
        value = inputs[tensor["source"]]
        by_http.append(tritonclient.http.InferInput(tensor["name"], list(value.shape), np_to_triton_dtype(value.dtype)))
        by_http[-1].set_data_from_numpy(value)
        asked_for.append({"name": tensor["name"], "shape": value.shape, "datatype": "FP32", "data": value.tolist()})
    names = list(expected)
    of_http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.http}").infer(
        "tf1-names", by_http, outputs=[tritonclient.http.InferRequestedOutput(name) for name in names]
    )
    status, by_hand = posted(server, "tf1-names", asked_for, outputs=[{"name": name} for name in names])
    assert status == 200, by_hand
    data = {one["name"]: np.array(one["data"], np.float32).reshape(one["shape"]) for one in by_hand["outputs"]}
    for found in ({name: of_http.as_numpy(name) for name in names}, data):
        found["best:0"] = found["best:0"][:, 0]
        answers.assert_alike(found, expected, TERMS)


@pytest.mark.parametrize("phase", ["phase/train", "phase_train"])
def test_scalars_are_bound_under_the_models_own_names(box: Any, tensorflow1: Path, phase: str) -> None:
    bound = box("tf1-phase", values={phase: False, "keep_prob": 0.5})
    bound.convert_and_publish()
    summary = bound.manifest["summary"]
    assert [(tensor["name"], tensor["source"], tensor["shape"]) for tensor in summary["inputs"]] == [
        ("image_flat", "image/flat", [-1, 4])
    ]
    inputs, expected = answers.of(tensorflow1 / "tf1-phase.npz")
    found = asked(bound.published / "model", "serving_default", {"image_flat": inputs["image/flat"]})
    answers.assert_alike(found, expected, TERMS)


def test_a_scalar_of_another_type_is_refused_before_anything_is_written(box: Any) -> None:
    refused = box("tf1-phase", values={"phase/train": "no", "keep_prob": 0.5})
    for step in ("lookup", "fetch"):
        assert refused.run(step).code == 0
    ended = refused.run("convert")
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert "binds the input 'phase_train'" in ended.message  # the name that it would be served under
    assert "to 'no', and it takes bool: give true or false" in ended.message


def test_a_model_that_nothing_here_can_run_is_refused_before_it_is_converted(box: Any) -> None:
    refused = box("tf1-python")
    for step in ("lookup", "fetch"):
        assert refused.run(step).code == 0
    ended = refused.run("convert")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert "uses 'PyFunc', which calls Python code of the process that exported the model" in ended.message
    assert "Write it with TensorFlow's operations, or export the model without it." in ended.message


@pytest.mark.parametrize(("name", "tags"), [("tf1-table", ""), ("tf1-both", "-serve")])
def test_a_table_and_a_model_of_two_graphs_go_all_the_way(box: Any, tensorflow1: Path, name: str, tags: str) -> None:
    converted = box(name)
    ended = converted.convert_and_publish()
    assert ended.termination["verification"]["samples"] > 0
    inputs, expected = answers.of(tensorflow1 / f"{name}{tags}.npz")
    answers.assert_alike(asked(converted.published / "model", "serving_default", inputs), expected, TERMS)
