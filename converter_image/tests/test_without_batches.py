"""Models whose requests cannot be put together: converted, served a request at a time, and asked by real clients.

A fixed batch, no batch, scalars, a table beside the batch, an input of any rank, ragged and sparse inputs, and outputs
that are not of an item.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from tests.box import Box, Server
from tests.made import made_by
from tests.test_convert import fetched
from tests.test_serve import Arrays, ask, clients, reference
from tftrt_runtime.contract.artifact import Part, Sample, Tensor
from tftrt_runtime.convert.rewrites import beside
from tftrt_runtime.report import data
from tftrt_runtime.report.how_to_ask import how_to_ask

Convert = Callable[..., Box]


@pytest.fixture(scope="module")
def odd_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model of `models_without_batches.py`."""
    return made_by("models_without_batches.py", tmp_path_factory.mktemp("models-without-batches"))


@pytest.fixture(scope="module")
def converted_odd(odd_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """A function from a model's name, and changes of its spec's parts, to the box in which it was converted."""

    def convert(name: str, **changes: dict[str, Any]) -> Box:
        box = Box(tmp_path_factory.mktemp(name), name=name, models=odd_models)
        for part, change in changes.items():
            box.spec[part] = {**box.spec[part], **change}
        box.convert_and_publish()
        return box

    return convert


def served(box: Box) -> Server:
    server = box.serve()
    server.wait_until_ready()
    return server


def travelling(arrays: Arrays) -> Arrays:
    """As it is asked for: a scalar is a vector of one."""
    return {name: array.reshape(1) if array.ndim == 0 else array for name, array in arrays.items()}


def expect_answers(server: Server, models: Path, name: str, inputs: Arrays | None = None) -> None:
    """Hold that both protocols answer as the unconverted model does."""
    asked, expected = reference(models, name)
    for module, client in clients(server):
        found = ask(module, client, name, travelling(inputs or asked), list(expected))
        for output, value in travelling(expected).items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(found[output], value, rtol=1e-4, atol=1e-6)
            else:
                np.testing.assert_array_equal(found[output], value)
            assert found[output].shape == value.shape


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("detector", "the first dimension of input 'image', [1, any, any, 3], has a fixed size"),
        ("of-eight", "the first dimension of input 'x', [8, 4], has a fixed size"),
        ("vector", "the first dimension of input 'x', [8], has a fixed size"),
        ("wave", "output 'frames' has the shape [0, 2] for an item, and not an answer for each item"),
        ("example", "input 'serialized' is a scalar; bound in spec.source.values it is no input any more"),
        ("dropout", "input 'keep_prob' is a scalar; bound in spec.source.values it is no input any more"),
        ("table", "the first dimension of input 'table', [7, 4], has a fixed size"),
        ("ragged", "inputs 'args_0', 'args_0_1' are the parts of one ragged tensor, whose first dimensions differ"),
        ("rows", "inputs 'values', 'row_splits' are the parts of one ragged tensor, whose first dimensions differ"),
        ("sparse", "inputs 'args_0', 'args_0_1', 'args_0_2' are the parts of one sparse tensor"),
        ("mean", "output 'mean' has the shape [4], and not an answer for each item"),
    ],
)
def test_a_model_that_takes_no_batches_is_served_a_request_at_a_time(
    converted_odd: Convert, odd_models: Path, name: str, why: str
) -> None:
    # Of an input of any rank nobody could say that it is a scalar.
    change = {"source": {"values": {"phase_train": False}}} if name == "dropout" else {}
    box = converted_odd(name, **change)
    summary = box.manifest["summary"]
    assert (summary["batched"], summary["leftOut"]) == (False, [])
    assert summary["batching"]["mode"] == "Disabled"
    assert summary["batching"]["reason"] == "NoBatches"
    assert summary["batching"]["message"].startswith(why)
    # It has answered, and what it answered is what the unconverted model does.
    assert summary["verification"]["samples"] >= 1
    assert float(summary["verification"]["maxRelativeError"]) < 1e-4
    server = served(box)
    _, client = clients(server)[1]
    assert client.get_model_config(name, as_json=True)["config"].get("max_batch_size", 0) == 0
    inputs, _ = reference(odd_models, name)
    asked = {key: value for key, value in inputs.items() if key != "phase_train"}
    expect_answers(server, odd_models, name, asked)
    assert server.stop().code == 0


def test_a_fixed_batch_counts_its_items(converted_odd: Convert) -> None:
    summary = converted_odd("of-eight").manifest["summary"]
    assert summary["batchSizes"] == [8]
    assert summary["verification"]["top1Agreement"] == "1"
    assert summary["benchmark"]["batchSize"] == 8


def test_requests_of_one_size_are_not_put_together_and_another_one_is_refused(
    converted_odd: Convert, odd_models: Path
) -> None:
    server = served(converted_odd("of-eight"))
    module, client = clients(server)[1]
    with pytest.raises(InferenceServerException, match=r"unexpected shape for input 'x'"):
        ask(module, client, "of-eight", {"x": np.zeros((4, 4), np.float32)}, ["scores"])
    expect_answers(server, odd_models, "of-eight")
    assert server.stop().code == 0


def test_rows_without_a_value_are_answered(converted_odd: Convert) -> None:
    """Nothing is a legitimate text, where the first dimension is no batch."""
    server = served(converted_odd("rows"))
    module, client = clients(server)[1]
    nothing = {"values": np.zeros(0, np.float32), "row_splits": np.array([0, 0, 0])}
    np.testing.assert_array_equal(ask(module, client, "rows", nothing, ["sums"])["sums"], np.zeros(2, np.float32))
    wrong = {"values": np.zeros(3, np.float32), "row_splits": np.array([0, 2])}
    with pytest.raises(InferenceServerException, match="The model refused the request"):
        ask(module, client, "rows", wrong, ["sums"])
    assert server.stop().code == 0


VALUES = {"keep_prob": 0.5, "phase_train": False}


def test_scalars_that_are_bound_are_no_inputs_and_requests_are_put_together(
    converted_odd: Convert, odd_models: Path
) -> None:
    box = converted_odd("dropout", source={"values": VALUES})
    summary = box.manifest["summary"]
    assert (summary["batched"], summary["batching"]["mode"]) == (True, "Dynamic")
    assert [tensor["name"] for tensor in summary["inputs"]] == ["x"]
    assert "<code>phase_train</code> bound to false" in (box.published / "report.html").read_text()
    inputs, _ = reference(odd_models, "dropout")
    server = served(box)
    expect_answers(server, odd_models, "dropout", {"x": inputs["x"]})
    assert server.stop().code == 0


@pytest.mark.parametrize("values", [VALUES, {"keep_prob:0": 0.5, "phase_train:0": False}], ids=["names", "tensors"])
def test_tensors_of_a_frozen_graph_are_bound(converted_odd: Convert, values: dict[str, Any]) -> None:
    source = {"format": "FrozenGraph", "inputs": ["x:0"], "outputs": ["scores:0"], "values": values}
    summary = converted_odd("frozen", source=source).manifest["summary"]
    assert [tensor["name"] for tensor in summary["inputs"]] == ["x"]
    assert summary["batched"]
    assert float(summary["verification"]["maxRelativeError"]) < 1e-4


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"keep_probe": 0.5}, "spec.source.values has 'keep_probe', which is no input .* did you mean 'keep_prob'"),
        ({"phase_train": 0}, "binds the input 'phase_train' .* to 0, and it takes bool: give true or false"),
        ({"keep_prob": "half"}, "binds the input 'keep_prob' .* to 'half', and it takes float32: give a number"),
        ({"keep_prob": True}, "to True, and it takes float32: give a number"),
        ({"x": 1}, "whose shape is .None, 4.: only one of fixed sizes"),
        ({**VALUES, "x": 1}, "binds all inputs .* nothing to ask"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(
    odd_models: Path, tmp_path: Path, values: dict[str, Any], told: str
) -> None:
    box = Box(tmp_path, name="dropout", models=odd_models)
    box.spec["source"]["values"] = values
    ended = fetched(box).run("convert")
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert re.search(told, ended.message), ended.message


def test_an_input_of_any_rank_has_the_shape_that_the_spec_gives(converted_odd: Convert, odd_models: Path) -> None:
    shape = {"min": [5, 6], "opt": [5, 6], "max": [5, 6]}
    box = converted_odd("unranked", conversion={"inputShapes": {"x": shape}})
    summary = box.manifest["summary"]
    assert summary["batched"]
    assert [tensor["shape"] for tensor in summary["inputs"]] == [[-1, 5, 6]]
    server = served(box)
    expect_answers(server, odd_models, "unranked")
    assert server.stop().code == 0


def test_an_input_of_any_rank_without_a_shape_is_refused_with_the_way_out(odd_models: Path, tmp_path: Path) -> None:
    ended = fetched(Box(tmp_path, name="unranked", models=odd_models)).run("convert")
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert "may have any number of dimensions: say in spec.conversion.inputShapes which" in ended.message


def test_outputs_that_are_not_of_an_item_are_left_out_and_told(converted_odd: Convert, odd_models: Path) -> None:
    box = converted_odd("version")
    summary = box.manifest["summary"]
    assert (summary["batched"], summary["batching"]["mode"]) == (True, "Dynamic")
    assert summary["leftOut"] == ["anchors", "largest", "version"]
    assert [tensor["name"] for tensor in summary["outputs"]] == ["scores"]
    assert (
        "<b>Not served:</b> <code>anchors</code>, <code>largest</code>" in (box.published / "report.html").read_text()
    )
    server = served(box)
    inputs, outputs = reference(odd_models, "version")
    module, client = clients(server)[1]
    found = ask(module, client, "version", inputs, ["scores"])
    np.testing.assert_allclose(found["scores"], outputs["scores"], rtol=1e-4)
    with pytest.raises(InferenceServerException, match="unexpected inference output 'version'"):
        module, client = clients(server)[1]
        client.infer("version", asked(module, inputs), outputs=[module.InferRequestedOutput("version")])
    assert server.stop().code == 0


def asked(module: Any, inputs: Arrays) -> list[Any]:
    made = []
    for name, value in inputs.items():
        made.append(module.InferInput(name, list(value.shape), "FP32"))
        made[-1].set_data_from_numpy(value)
    return made


def test_a_largest_batch_of_one_item_has_all_outputs(converted_odd: Convert, odd_models: Path) -> None:
    """No two requests would be put together anyway."""
    box = converted_odd("version", conversion={"batchSizes": [1]})
    summary = box.manifest["summary"]
    assert (summary["batched"], summary["leftOut"]) == (False, [])
    assert summary["batching"]["reason"] == "NoBatches"
    server = served(box)
    module, client = clients(server)[1]
    x = np.ones((1, 4), np.float32)
    found = ask(module, client, "version", {"x": x}, ["scores", "version", "largest", "anchors"])
    assert found["version"].tolist() == [b"1.2"]
    assert found["largest"].tolist() == [0.25]
    assert found["anchors"].shape == (7, 4)
    with pytest.raises(InferenceServerException, match="unexpected shape for input 'x'"):
        ask(module, client, "version", {"x": np.ones((2, 4), np.float32)}, ["scores"])
    assert server.stop().code == 0


def test_a_model_of_200_inputs_is_converted_and_served_at_its_largest_batch(
    converted_odd: Convert,
) -> None:
    """In shared memory as large as the operator makes it of what the termination message tells."""
    box = converted_odd("wide", conversion={"batchSizes": [1, 64]})
    ended = box.run("publish")
    told = ended.termination
    assert ended.code == 0
    assert len((box.root / "termination").read_bytes()) <= 2000
    assert told["inputs"] is told["outputs"] is None
    assert told["signature"] == {"sampleBytes": 2 * 200 * 256 * 4, "texts": False}
    room = 6 * 64 * told["signature"]["sampleBytes"]
    server = Server(box, shared_memory=str(room) if os.geteuid() == 0 else None)
    server.wait_until_ready()
    found: list[bool] = []

    def one(seed: int) -> None:
        generator = np.random.default_rng(seed)
        inputs = {
            f"feature_of_the_customer_{index}": generator.random((64, 256)).astype(np.float32) for index in range(200)
        }
        module, client = clients(server)[1]
        answer = ask(module, client, "wide", inputs, ["features"])["features"]
        found.append(bool(np.array_equal(answer, np.concatenate(list(inputs.values()), axis=1))))

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8, server.log.read_text()
    assert server.stop().code == 0


@pytest.mark.parametrize("name", ["vector", "ragged", "of-eight"])
def test_the_reports_command_asks_a_model_without_batches(converted_odd: Convert, name: str) -> None:
    box = converted_odd(name)
    server = served(box)
    report = data.read(box.published / data.FILE)
    command = how_to_ask(report.spec.model, report.findings.conversion).command
    here = command.replace(f"{name}.default.svc:8000", f"127.0.0.1:{server.http}")
    answer = subprocess.run(["sh", "-c", here], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["outputs"], answer.stdout
    assert server.stop().code == 0


@pytest.mark.parametrize(("name", "length"), [("vector", 8), ("wave", 21)])
def test_the_users_own_samples_are_calls(odd_models: Path, tmp_path: Path, name: str, length: int) -> None:
    """Each as long as it is: the first dimension of a file counts the samples."""
    box = Box(tmp_path, name=name, models=odd_models)
    (box.pvc / "data").mkdir()
    np.savez(box.pvc / "data/samples.npz", x=np.random.default_rng(1).normal(size=(5, length)).astype(np.float32))
    box.spec["verification"] = {"uri": "pvc://data/samples.npz"}
    box.convert_and_publish()
    verification = box.manifest["summary"]["verification"]
    assert (verification["samples"], verification["uri"]) == (5, "pvc://data/samples.npz")


def test_a_graph_that_takes_no_batches_is_asked_calls_beside_its_rewritten_one() -> None:
    """Of one size, with other numbers each time; what says where rows lie stays true."""
    values = Tensor(name="values", dtype="FP32", shape=(-1,))
    splits = Tensor(name="row_splits", dtype="INT64", shape=(-1,))
    parts = {"row_splits": Part(kind="Rows", of="values")}
    sample = Sample(shapes={"values": (6,), "row_splits": (4,)}, batched=False, parts=parts)
    names = {"values": "v:0", "row_splits": "r:0"}
    questions = beside.made_up([values, splits], [sample], names, {})
    assert [question["v:0"].shape for question in questions] == [(6,)] * 3
    assert len({question["v:0"].tobytes() for question in questions}) == 3
    assert any((question["v:0"] < 0).any() for question in questions)
    assert [question["r:0"].tolist() for question in questions] == [[0, 2, 4, 6]] * 3
