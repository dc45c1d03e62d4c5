"""Promises about models and precisions that only a GPU can keep: INT8, ranges of shapes, tables, frozen graphs.

How far answers may lie from the unconverted model's: FP16 has a unit of u = 2 ** -11, and an engine rounds what each
layer answers to it, so that k layers with a softmax behind them, whose answers are at most 1, stay within about 2 k u:
0.01 for ten layers, and 0.02 for the twenty operations of a recurrent model's or a table's way. INT8 has 127 steps to
the largest value that was seen: 0.1 is a dozen of them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

FIT = {"uri": "pvc://models/calibration/fit", "samples": 64, "batchSize": 8}
STEPS = {"steps": {"min": [4, 8], "opt": [10, 8], "max": [16, 8]}}
STRATEGIES = ["Range", "Optimal", "Range+Optimal"]


def converted(box: Any) -> Any:
    """The end of `convert` after a lookup and a fetch."""
    for step in ("lookup", "fetch"):
        ended = box.run(step)
        assert ended.code == 0, ended.log
    return box.run("convert")


def published(box: Any) -> dict[str, Any]:
    """The summary of a model that went all the way."""
    box.convert_and_publish()
    summary: dict[str, Any] = box.manifest["summary"]
    print(summary)
    return summary


def ask(running: Any, name: str, inputs: dict[str, Any], output: str) -> Any:
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}")
    tensors = []
    for key, value in inputs.items():
        tensors.append(tritonclient.grpc.InferInput(key, list(value.shape), np_to_triton_dtype(value.dtype)))
        tensors[-1].set_data_from_numpy(value)
    return client.infer(name, tensors).as_numpy(output)


def served(box: Any) -> Any:
    import tftrt_box

    running = tftrt_box.Server(box, memory_fraction="0.05")
    running.wait_until_ready()
    return running


def answers(models: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(models / f"{name}-answers.npz", allow_pickle=True) as arrays:
        inputs = {key.removeprefix("input "): arrays[key] for key in arrays if key.startswith("input ")}
        outputs = {key.removeprefix("output "): arrays[key] for key in arrays if key.startswith("output ")}
    return inputs, outputs


def expect_int8(summary: dict[str, Any], batch_sizes: list[int]) -> None:
    """One engine for these batch sizes, near the unconverted model and not the same."""
    assert summary["engines"] == 1
    assert summary["batchSizes"] == batch_sizes
    assert Decimal(summary["verification"]["top1Agreement"]) >= Decimal("0.8")
    assert Decimal(0) < Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.2")


@pytest.mark.parametrize("batch_sizes", [[8, 16], [2, 8, 32]])
def test_int8_engines_are_those_asked_for_whatever_size_calibration_had(
    new_box: Callable[..., Any], batch_sizes: list[int]
) -> None:
    """`convert` itself fails where the saved engines are others than the batch sizes."""
    expect_int8(published(new_box("cnn", precision="INT8", calibration=FIT, batchSizes=batch_sizes)), batch_sizes)


def test_int8_with_smaller_batches_than_calibration_is_served_close_to_the_unconverted_model(
    new_box: Callable[..., Any], models: Path
) -> None:
    box = new_box("cnn", precision="INT8", calibration=FIT, batchSizes=[1, 4])
    expect_int8(published(box), [1, 4])
    running = served(box)
    with np.load(models / "cnn.npz") as arrays:
        for rows in (1, 2, 3):
            found = ask(running, "cnn", {"image": arrays["image"][:rows]}, "classes")
            np.testing.assert_allclose(found, arrays["classes"][:rows], atol=0.1)
    assert running.stop().code == 0


def test_calibration_data_that_does_not_fit_is_refused_before_the_gpu_converts(new_box: Callable[..., Any]) -> None:
    unfit = {**FIT, "uri": "pvc://models/calibration/unfit"}
    ended = converted(new_box("cnn", precision="INT8", calibration=unfit))
    assert (ended.code, ended.termination["reason"]) == (15, "CalibrationDataUnfit")
    assert "'image'" in ended.message
    assert "Asked the unconverted model" not in ended.log


def test_too_few_calibration_samples_are_refused(new_box: Callable[..., Any]) -> None:
    ended = converted(new_box("cnn", precision="INT8", calibration={**FIT, "samples": 100}))
    assert ended.code == 15
    assert "100 samples" in ended.message


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_open_dimensions_become_one_engine_for_all_shapes(
    new_box: Callable[..., Any], models: Path, strategy: str
) -> None:
    box = new_box("sequence", precision="FP16", dynamicShapes=strategy, inputShapes=STEPS)
    assert published(box)["engines"] == 1
    running = served(box)
    inputs, outputs = answers(models, "sequence")
    for rows in (1, 2, 3):  # 1 and 4 were built
        found = ask(running, "sequence", {"steps": inputs["steps"][:rows]}, "scores")
        np.testing.assert_allclose(found, outputs["scores"][:rows], atol=0.02)
    short = inputs["steps"][:, :7]
    if strategy == "Optimal":
        with pytest.raises(InferenceServerException, match="exactly the sizes"):
            ask(running, "sequence", {"steps": short}, "scores")
    else:
        assert ask(running, "sequence", {"steps": short}, "scores").shape == (3, 4)
    with pytest.raises(InferenceServerException, match="the engines take"):
        ask(running, "sequence", {"steps": np.zeros((1, 17, 8), np.float32)}, "scores")
    assert running.stop().code == 0


def test_a_fixed_batch_becomes_an_engine_and_is_served_a_request_at_a_time(
    new_box: Callable[..., Any], models: Path
) -> None:
    box = new_box("of-one", precision="FP16")
    summary = published(box)
    assert (summary["engines"], summary["batched"], summary["batchSizes"]) == (1, False, [1])
    running = served(box)
    inputs, outputs = answers(models, "of-one")
    np.testing.assert_allclose(ask(running, "of-one", inputs, "classes"), outputs["classes"], atol=0.01)
    assert running.stop().code == 0


def test_a_fixed_batch_is_calibrated_with_one_call_after_the_other(new_box: Callable[..., Any]) -> None:
    unfit = {**FIT, "batchSize": 1}  # samples of the whole shape [1, 32, 32, 3], which these are not
    ended = converted(new_box("of-one", precision="INT8", calibration=unfit))
    assert (ended.code, ended.termination["reason"]) == (15, "CalibrationDataUnfit")
    summary = published(new_box("of-one", precision="INT8", calibration={**FIT, "uri": "pvc://models/calibration/one"}))
    assert (summary["engines"], summary["batched"]) == (1, False)


def test_a_scalar_beside_the_batch_has_an_engine_for_given_sizes_or_is_bound(
    new_box: Callable[..., Any], models: Path
) -> None:
    inputs, outputs = answers(models, "kept")
    sizes = {"image": {"min": [3, 32, 32, 3], "opt": [3, 32, 32, 3], "max": [3, 32, 32, 3]}}
    apart = new_box("kept", precision="FP16", inputShapes=sizes)
    assert published(apart)["batched"] is False
    running = served(apart)
    found = ask(running, "kept", {**inputs, "keep_prob": inputs["keep_prob"].reshape(1)}, "classes")
    np.testing.assert_allclose(found, outputs["classes"], atol=0.01)
    assert running.stop().code == 0

    bound = new_box("kept", precision="FP16")
    bound.spec["source"]["values"] = {"keep_prob": 0.5}
    summary = published(bound)
    assert (summary["engines"], summary["batched"]) == (1, True)
    running = served(bound)
    np.testing.assert_allclose(
        ask(running, "kept", {"image": inputs["image"]}, "classes"), outputs["classes"], atol=0.01
    )
    assert running.stop().code == 0


def test_layer_normalization_is_a_part_of_the_engine(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("normalized", precision="FP16", dynamicShapes="Range", inputShapes=STEPS)
    assert published(box)["engines"] == 1
    told = {blocker["operation"] for segment in box.manifest["segments"] for blocker in segment["blockers"]}
    assert "FusedBatchNormV3" not in told
    running = served(box)
    inputs, outputs = answers(models, "normalized")
    np.testing.assert_allclose(ask(running, "normalized", inputs, "scores"), outputs["scores"], atol=0.02)
    assert running.stop().code == 0


def test_spelled_out_layer_normalization_has_no_rows_of_zeros(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("spelled-out", precision="FP16", dynamicShapes="Range", inputShapes=STEPS)
    assert published(box)["engines"] == 1
    running = served(box)
    inputs, outputs = answers(models, "spelled-out")
    np.testing.assert_allclose(ask(running, "spelled-out", inputs, "scores"), outputs["scores"], atol=0.02)
    assert running.stop().code == 0


def test_what_is_rewritten_in_a_loop_is_converted_and_answers_the_same(
    new_box: Callable[..., Any], models: Path
) -> None:
    box = new_box("repeated", precision="FP16", batchSizes=[1, 4])
    ended = converted(box)
    assert ended.code == 0, ended.log
    assert "Dropped a rewrite" not in ended.log
    assert box.run("publish").code == 0
    assert box.manifest["summary"]["engines"] >= 1
    running = served(box)
    inputs, outputs = answers(models, "repeated")
    np.testing.assert_allclose(ask(running, "repeated", inputs, "scores"), outputs["scores"], atol=0.02)
    assert running.stop().code == 0


def test_attention_is_answered_rightly_by_one_engine(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("attended", precision="FP16", dynamicShapes="Range", inputShapes=STEPS)
    summary = published(box)
    assert summary["engines"] == 1
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.01")
    running = served(box)
    inputs, outputs = answers(models, "attended")
    for name, expected in outputs.items():
        found = ask(running, "attended", inputs, name)
        np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())
    assert running.stop().code == 0


def test_a_reshape_that_keeps_the_batch_is_a_part_of_the_engine(new_box: Callable[..., Any]) -> None:
    box = new_box("excited", precision="FP16", batchSizes=[1, 4])
    summary = published(box)
    assert summary["engines"] == 1
    assert Decimal(summary["verification"]["maxRelativeError"]) < Decimal("0.01")
    told = {blocker["operation"] for segment in box.manifest["segments"] for blocker in segment["blockers"]}
    assert told.isdisjoint({"Shape", "StridedSlice", "Pack", "Reshape"})


def test_a_range_takes_smaller_batches_than_the_smallest(new_box: Callable[..., Any], models: Path) -> None:
    box = new_box("cnn", precision="FP16", dynamicShapes="Range", batchSizes=[4, 8])
    assert published(box)["engines"] == 1
    running = served(box)
    with np.load(models / "cnn.npz") as arrays:
        found = ask(running, "cnn", {"image": arrays["image"][:1]}, "classes")
        np.testing.assert_allclose(found, arrays["classes"][:1], atol=0.01)
    assert running.stop().code == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_int8_calibrates_in_a_range_of_shapes_too(new_box: Callable[..., Any], strategy: str) -> None:
    calibration = {"uri": "pvc://models/calibration/steps", "samples": 64, "batchSize": 4}
    box = new_box("sequence", precision="INT8", calibration=calibration, dynamicShapes=strategy, inputShapes=STEPS)
    assert published(box)["engines"] == 1


def test_one_length_needs_no_dynamic_shapes(new_box: Callable[..., Any], models: Path) -> None:
    fixed = {"steps": {"min": [10, 8], "opt": [10, 8], "max": [10, 8]}}
    box = new_box("sequence", precision="FP16", inputShapes=fixed)
    assert published(box)["engines"] == 1
    running = served(box)
    inputs, outputs = answers(models, "sequence")
    np.testing.assert_allclose(ask(running, "sequence", inputs, "scores"), outputs["scores"], atol=0.02)
    assert running.stop().code == 0


def test_open_dimensions_without_sizes_are_refused_with_what_to_set(new_box: Callable[..., Any]) -> None:
    ended = converted(new_box("sequence", precision="FP16"))
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert "spec.conversion.inputShapes" in ended.message


def test_words_go_through_a_table_in_tensorflow_and_an_engine_in_tensorrt(
    new_box: Callable[..., Any], models: Path
) -> None:
    box = new_box("vocabulary", precision="FP16")
    assert published(box)["engines"] == 1
    told = {blocker["operation"] for segment in box.manifest["segments"] for blocker in segment["blockers"]}
    assert "LookupTableFindV2" in told
    running = served(box)
    inputs, outputs = answers(models, "vocabulary")
    words = inputs["words"].astype(np.object_)
    np.testing.assert_allclose(ask(running, "vocabulary", {"words": words}, "scores"), outputs["scores"], atol=0.02)
    assert running.stop().code == 0


def test_a_frozen_graph_is_converted_as_a_saved_model_is(new_box: Callable[..., Any]) -> None:
    box = new_box("frozen", precision="FP16")
    box.spec["source"] = {
        "uri": "pvc://models/frozen/graph.pb",
        "format": "FrozenGraph",
        "signature": "serving_default",
        "inputs": ["net/input:0"],
        "outputs": ["net/features:0"],
    }
    summary = published(box)
    assert summary["engines"] == 1
    assert [tensor["name"] for tensor in summary["outputs"]] == ["net_features"]


@pytest.mark.parametrize(("name", "kept"), [("convolved", set()), ("large-groups", {"Conv2D"})])
@pytest.mark.parametrize("precision", ["FP16", "FP32"])
def test_convolutions_of_which_tensorrt_would_build_no_engine_have_one(
    new_box: Callable[..., Any], models: Path, name: str, kept: set[str], precision: str
) -> None:
    """Grouped, dilated and transposed ones; grouped ones whose dense kernel would be too large stay with TensorFlow."""
    box = new_box(name, precision=precision)
    assert published(box)["engines"] >= 1
    blockers = {blocker["operation"] for segment in box.manifest["segments"] for blocker in segment["blockers"]}
    print(blockers)
    convolutions = {"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "SpaceToBatchND", "ArgMax"}
    assert blockers & convolutions == kept
    inputs, outputs = answers(models, name)
    running = served(box)
    np.testing.assert_allclose(ask(running, name, inputs, "scores"), outputs["scores"], atol=0.01)
    np.testing.assert_array_equal(ask(running, name, inputs, "class"), outputs["class"])
    assert running.stop().code == 0


@pytest.mark.parametrize(("precision", "pixels"), [("FP32", 0.1), ("FP16", 1.0)])
def test_a_detector_finds_the_same_boxes(
    new_box: Callable[..., Any], models: Path, precision: str, pixels: float
) -> None:
    """FP16 has steps of half a pixel at 512, where the boxes end."""
    box = new_box("boxes", precision=precision)
    assert published(box)["engines"] >= 1
    print([blocker for segment in box.manifest["segments"] for blocker in segment["blockers"]])
    inputs, outputs = answers(models, "boxes")
    running = served(box)
    found = {name: ask(running, "boxes", inputs, name) for name in outputs}
    assert running.stop().code == 0
    np.testing.assert_array_equal(found["count"], outputs["count"])
    np.testing.assert_array_equal(found["classes"], outputs["classes"])
    np.testing.assert_allclose(found["boxes"], outputs["boxes"], atol=pixels)
    np.testing.assert_allclose(found["scores"], outputs["scores"], atol=0.01)


@pytest.mark.parametrize(("precision", "share"), [("FP16", 0.99), ("INT8", 0.9)])
def test_a_map_of_classes_is_judged_by_the_share_that_is_equal(
    new_box: Callable[..., Any], models: Path, precision: str, share: float
) -> None:
    data = {"calibration": FIT} if precision == "INT8" else {}
    box = new_box("class-map", precision=precision, batchSizes=[8], **data)
    summary = published(box)
    assert summary["engines"] >= 1
    assert Decimal(summary["verification"]["equalElements"]) >= Decimal(str(share))
    inputs, outputs = answers(models, "class-map")
    running = served(box)
    assert np.mean(ask(running, "class-map", inputs, "map") == outputs["map"]) >= share
    assert running.stop().code == 0
