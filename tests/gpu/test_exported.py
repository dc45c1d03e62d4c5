"""Models of TensorFlow 1, and models as people export them, on a GPU: engines for what is arithmetic, the same answers.

The bounds are those of `test_models_and_precisions.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gpu.test_models_and_precisions import FIT, ask, converted, published, served


def answers(models: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a model was asked when it was made, and what it answered."""
    with np.load(models / f"{name}.npz", allow_pickle=True) as arrays:
        inputs = {key.removeprefix("input "): arrays[key] for key in arrays if key.startswith("input ")}
        outputs = {key.removeprefix("output "): arrays[key] for key in arrays if key.startswith("output ")}
    return inputs, outputs


def expect_served(box: Any, models: Path, name: str, output: str, bound: float) -> None:
    """Ask a server for what the model was asked when it was made."""
    inputs, outputs = answers(models, name)
    sent = {key: value[:, None] if value.ndim == 1 else value for key, value in inputs.items()}
    running = served(box)
    np.testing.assert_allclose(ask(running, box.name, sent, output), outputs[output], atol=bound)
    assert running.stop().code == 0


def blockers(box: Any) -> set[str]:
    return {blocker["operation"] for segment in box.manifest["segments"] for blocker in segment["blockers"]}


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("tf1", "classes"),
        ("tf1-gpu", "classes"),
        ("tf1-text", "classes"),
        ("tf1-table", "scores"),
        ("tf1-table-gpu", "scores"),
    ],
)
def test_a_model_of_tensorflow_1_has_engines(new_box: Callable[..., Any], models: Path, name: str, output: str) -> None:
    box = new_box(name, precision="FP16")
    summary = published(box)
    assert summary["engines"] == 1
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.02")
    largest = np.abs(answers(models, name)[1][output]).max()
    expect_served(box, models, name, output, 0.02 * largest)


def test_of_two_graphs_the_one_for_a_gpu_is_taken(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("tf1-both", precision="FP32", minimumSegmentSize=1)
    published(box)
    inputs, outputs = answers(models, "tf1-both-serve-gpu")
    running = served(box)
    np.testing.assert_allclose(ask(running, "tf1-both", inputs, "y"), outputs["y"], atol=0.01)
    assert running.stop().code == 0


def test_files_of_pictures_have_engines_for_what_is_behind_them(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("pictures", precision="FP16")
    assert published(box)["engines"] >= 1
    assert "DecodeJpeg" in blockers(box)
    assert "Conv2D" not in blockers(box)
    expect_served(box, models, "pictures", "scores", 0.01)


def test_the_users_own_pictures_are_what_engines_are_built_with(new_box: Callable[..., Any]) -> None:
    box = new_box("pictures", precision="FP16")
    box.spec["verification"] = {"uri": "pvc://models/data/pictures.npz"}
    summary = published(box)
    assert summary["engines"] >= 1
    assert summary["verification"]["uri"] == "pvc://models/data/pictures.npz"


def test_examples_have_engines_for_what_is_behind_them(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("examples", precision="FP16")
    assert published(box)["engines"] >= 1
    assert "Conv2D" not in blockers(box)
    expect_served(box, models, "examples", "scores", 0.03)


@pytest.mark.parametrize("name", ["jitted", "jitted-whole", "jitted-twice"])
def test_what_xla_would_compile_is_one_engine(new_box: Callable[..., Any], models: Path, name: str) -> None:
    box = new_box(name, precision="FP16")
    assert published(box)["engines"] == 1
    expect_served(box, models, name, "scores", 0.01)


def test_what_xla_would_compile_in_a_loop_is_converted(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("jitted-loop", precision="FP16", minimumSegmentSize=1)
    assert published(box)["engines"] >= 1
    expect_served(box, models, "jitted-loop", "scores", 0.02)


def test_control_flow_has_engines_round_it(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("flowing", precision="FP32")
    assert published(box)["engines"] >= 1
    expect_served(box, models, "flowing", "scores", 0.01)


def test_a_network_in_mixed_precision_has_engines(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("half", precision="FP16")
    assert published(box)["engines"] >= 1
    expect_served(box, models, "half", "scores", 0.02)


@pytest.mark.parametrize(("precision", "bound"), [("FP32", "0.02"), ("FP16", "0.05")])
def test_a_network_trained_with_quantization_is_one_engine_in_every_precision(
    new_box: Callable[..., Any], models: Path, precision: str, bound: str
) -> None:
    """A value in the middle between two steps may go to either: a step is 1 / 42 of the first activations' unit."""
    box = new_box("quantized", precision=precision)
    summary = published(box)
    assert summary["engines"] == 1
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal(bound)
    assert not {operation for operation in blockers(box) if operation.startswith("FakeQuant")}
    assert "computed as it has them" in (box.published / "report.html").read_text()
    expect_served(box, models, "quantized", "scores", float(bound))


def test_int8_needs_no_data_where_the_graph_has_ranges(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("quantized", precision="INT8")
    summary = published(box)
    assert summary["engines"] >= 1
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.2")
    assert "INT8 by 4 ranges" in (box.published / "report.html").read_text()
    expect_served(box, models, "quantized", "scores", 0.1)


@pytest.mark.parametrize("scale", [1, 1e-3])
def test_int8_with_data_keeps_the_ranges_of_the_graph(new_box: Callable[..., Any], models: Path, scale: float) -> None:
    """Also where the samples are far smaller than what the model was trained with: by them all would be cut."""
    box = new_box("quantized", precision="INT8", calibration={**FIT, "uri": "pvc://samples"})
    (box.pvc / "samples").mkdir()
    image = np.random.default_rng(9).normal(0, scale, (64, 32, 32, 3)).astype(np.float32)
    np.savez(box.pvc / "samples/a.npz", image=image)
    assert published(box)["engines"] >= 1
    told = "INT8 by 4 ranges that the graph has of its own, and by the calibration data where it has none"
    assert told in (box.published / "report.html").read_text()
    expect_served(box, models, "quantized", "scores", 0.1)


@pytest.mark.parametrize("name", ["random", "augmented"])
def test_a_random_layer_is_refused_for_that_reason(new_box: Callable[..., Any], name: str) -> None:
    ended = converted(new_box(name, precision="FP16"))
    assert (ended.code, ended.termination["reason"]) == (16, "NothingConvertible")
    assert "answers the same input differently each time" in ended.message


def test_int8_needs_data_where_the_graph_has_no_ranges(new_box: Callable[..., Any]) -> None:
    ended = converted(new_box("jitted", precision="INT8"))
    assert (ended.code, ended.termination["reason"]) == (15, "CalibrationDataUnfit")
    assert "spec.conversion.calibration" in ended.message


@pytest.mark.parametrize("tensorflow", ["2-16-2", "2-21-0"])
def test_an_export_of_keras_3_has_engines(new_box: Callable[..., Any], models: Path, tensorflow: str) -> None:
    name = f"keras-tensorflow-{tensorflow}"
    tokens = {"tokens": {"min": [7], "opt": [7], "max": [7]}}
    box = new_box(name, precision="FP16", inputShapes=tokens)
    assert published(box)["engines"] >= 1
    assert "Conv2D" not in blockers(box)
    expect_served(box, models, name, "topic", 0.02)


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("tf1-python", "PyFunc"),
        ("python", "PyFunc"),
        ("eager-python", "EagerPyFunc"),
        ("jax-tensorflow-2-18-1", "XlaCallModule"),
    ],
)
def test_what_no_server_can_run_is_refused_by_the_operations_name(
    new_box: Callable[..., Any], name: str, operation: str
) -> None:
    ended = converted(new_box(name, precision="FP16"))
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert operation in ended.message
