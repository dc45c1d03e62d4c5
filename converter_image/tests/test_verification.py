# mypy: disable-error-code="no-untyped-call"
"""Converted against unconverted: on which batches, with what figures, and again on other data without a conversion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.box import Box
from tests.rounding import TERMS, relative_bound
from tests.test_convert import fetched, message
from tftrt_runtime.contract.artifact import Sample, Tensor, parse_manifest
from tftrt_runtime.contract.errors import AccuracyBelowThreshold, CalibrationDataUnfit
from tftrt_runtime.model.quick_call import Call
from tftrt_runtime.report import data, page
from tftrt_runtime.verification import check, comparisons, figures
from tftrt_runtime.verification.messages import REFERENCE, CheckRequest, ComparisonData

X = Tensor(name="x", dtype="FP32", shape=(-1, 2))
URI = "pvc://data/held-out"


def given(folder: Path, count: int) -> ComparisonData:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "samples.npz", x=np.arange(2 * count, dtype=np.float32).reshape(count, 2))
    return ComparisonData(uri=URI, folder=str(folder))


def sizes(made: ComparisonData | None, *batch_sizes: int, every: tuple[Sample, ...] = ()) -> list[int]:
    return [question.size for question in comparisons.questions([X], batch_sizes, every, made)]


def test_the_largest_batch_sees_all_data_and_the_others_some(tmp_path: Path) -> None:
    assert sizes(given(tmp_path, 1000), 1, 100) == [1] * 128 + [100] * 10


def test_a_batch_that_the_data_does_not_fill_is_left_out(tmp_path: Path) -> None:
    assert sizes(given(tmp_path, 7), 2, 4, 8) == [2] * 3 + [4]


def test_data_that_fills_no_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationDataUnfit, match=r"verification data has 3 samples.*smallest batch of 4"):
        sizes(given(tmp_path, 3), 4, 8)


SHORT, LONG = Sample(shapes={"x": (2,)}), Sample(shapes={"x": (5,)})


def test_without_data_one_made_up_batch_of_each_size_and_shape_is_compared() -> None:
    whole = [Tensor(name="x", dtype="INT32", shape=(-1, -1))]
    asked = [question.batch["x"].shape for question in comparisons.questions(whole, (1, 8), (SHORT, LONG), None)]
    assert asked == [(1, 2), (1, 5), (8, 2), (8, 5)]
    assert sizes(None, 1, 8) == []


def test_floats_that_are_made_up_have_two_sizes_for_nobody_knows_which_a_network_takes() -> None:
    asked = list(comparisons.questions([X], (8,), (SHORT,), None))
    assert [question.up_to for question in asked] == [1, 255]
    usual, larger = (question.batch["x"].astype(np.float64) for question in asked)
    assert usual.max() < 1
    assert 200 < larger.max() < 255
    np.testing.assert_allclose(larger, 255 * usual, rtol=1e-6)


def test_data_is_asked_as_it_is(tmp_path: Path) -> None:
    asked = list(comparisons.questions([X], (4,), (SHORT,), given(tmp_path, 4)))
    assert [question.up_to for question in asked] == [None]
    assert asked[0].batch["x"].max() == 7


def compared(folder: Path, expected: list[Any], call: Call) -> Any:
    """Compare the model with answers to batches of one and of three samples; None is one that was not saved."""
    made = given(folder / "data", 3)
    (folder / "references").mkdir()
    for number, answers in enumerate(expected):
        if answers is not None:
            np.savez(folder / "references" / REFERENCE.format(number), output0=np.array(answers, np.float32))
    request = CheckRequest(
        model="m",
        signature="s",
        references=str(folder / "references"),
        compared=len(expected),
        data=made,
        events="e",
        inputs=(X,),
        outputs=(),
        batch_sizes=(1, 3),
        samples=(),
        exact=False,
        engines=True,
    )
    found = check._compare(call, request)
    return figures.verification(found, figures.comparisons(found, request), request)


A, B = [4.0, 0.0], [0.0, 4.0]


def answering(first: list[float], *others: list[float]) -> Call:
    """A model with these answers to the three samples."""
    answers = [first, *others]
    return lambda asked: {"logits": tf.constant([answers[int(sample[0]) // 2] for sample in asked["x"].numpy()])}


def test_the_agreement_is_over_all_samples_and_the_error_is_the_largest(tmp_path: Path) -> None:
    expected = [[A], [B], [A], [A, B, A]]
    found = compared(tmp_path, expected, answering([3.0, 0.0], B, [1.0, 2.0]))
    assert (found.samples, found.top1Agreement, found.maxRelativeError) == (6, "0.6666", "0.75")
    assert found.uri == URI


def test_small_answers_count_beside_the_large_ones_of_other_batches(tmp_path: Path) -> None:
    """Relative to the output's largest value, not to that of the batch that the sample happens to be in."""
    expected = [[A], [[0.0, 0.01]], [A], [A, [0.0, 0.01], A]]
    found = compared(tmp_path, expected, answering(A, [0.0, 0.02], A))
    assert (found.top1Agreement, found.maxRelativeError) == ("1", "0.0025")


def test_batches_whose_answers_were_not_kept_are_left_out(tmp_path: Path) -> None:
    found = compared(tmp_path, [[A], None, None, [A, B, A]], answering(A, B, A))
    assert (found.samples, found.top1Agreement) == (4, "1")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_answers_that_are_not_finite_never_pass(tmp_path: Path, bad: float) -> None:
    with pytest.raises(AccuracyBelowThreshold, match=r"'logits'.*is not finite where.*1 of 2 values"):
        compared(tmp_path, [[A], [B]], answering(A, [bad, 0.0], A))


@pytest.fixture
def cnn(tmp_path: Path, models: Path) -> Box:
    """A box with held-out samples for its model."""
    box = Box(tmp_path, name="cnn", models=models)
    images = np.random.default_rng(3).random((10, 16, 16, 3)).astype(np.float32)
    (box.pvc / "data/held-out").mkdir(parents=True)
    np.savez(box.pvc / "data/held-out/images.npz", images=images)
    box.spec["verification"] = {"uri": URI}
    return box


def test_the_users_data_is_what_is_compared(cnn: Box) -> None:
    cnn.convert_and_publish()
    verification = cnn.manifest["summary"]["verification"]
    assert verification["uri"] == URI
    assert verification["samples"] == 10 + 8
    assert float(verification["maxRelativeError"]) <= relative_bound(TERMS["cnn"])
    findings = data.read(cnn.published / data.FILE).findings
    assert [(found.batchSize, found.samples) for found in findings.comparisons] == [(1, 10), (4, 8)]


def test_data_of_another_shape_is_refused_before_anything_is_converted(cnn: Box) -> None:
    np.savez(cnn.pvc / "data/held-out/images.npz", images=np.zeros((10, 8, 8, 3), np.float32))
    ended = fetched(cnn).run("convert")
    assert (ended.code, ended.termination["reason"]) == (15, "CalibrationDataUnfit")
    assert "[8, 8, 3]" in ended.message
    assert not (cnn.workspace / "convert.json").exists()


def test_a_published_artifact_is_compared_on_other_data_without_a_conversion(
    converted: Callable[..., Box], cnn: Box
) -> None:
    (cnn.pvc / "store").rmdir()
    (cnn.pvc / "store").symlink_to(converted("cnn").pvc / "store")
    cnn.build = "build-2"
    assert cnn.manifest["summary"]["verification"]["uri"] is None
    ended = fetched(cnn).run("convert")
    assert ended.code == 0, ended.log
    assert message(ended.lines, "Compared the artifact with the unconverted model on other data")
    assert not (cnn.workspace / "artifact").exists()
    summary = cnn.run("publish").termination
    assert (summary["result"], summary["build"]) == ("Reused", "build-1")
    assert (summary["verification"]["uri"], summary["verification"]["samples"]) == (URI, 18)
    assert summary["batching"]["message"].startswith(f"8 samples of {URI} are answered alike")


def test_another_output_of_classes_is_compared_without_a_conversion(converted: Callable[..., Box], cnn: Box) -> None:
    (cnn.pvc / "store").rmdir()
    (cnn.pvc / "store").symlink_to(converted("cnn").pvc / "store")
    cnn.build = "build-2"
    cnn.spec["verification"] = {"uri": None, "top1Output": "classes"}
    ended = fetched(cnn).run("convert")
    assert ended.code == 0, ended.log
    assert message(ended.lines, "Compared the artifact with the unconverted model on other data")
    summary = cnn.run("publish").termination
    assert (summary["result"], summary["build"]) == ("Reused", "build-1")
    assert summary["verification"]["top1Output"] == "classes"
    assert "top1Output" not in cnn.manifest["summary"]["verification"]


def test_an_output_of_classes_that_is_not_there_is_refused_before_anything_is_converted(cnn: Box) -> None:
    cnn.spec["verification"] = {"uri": None, "top1Output": "clases"}
    ended = fetched(cnn).run("convert")
    assert (ended.code, ended.termination["reason"]) == (14, "SignatureNotFound")
    assert "did you mean 'classes'" in ended.message


OLDER = {"samples": 5, "top1Agreement": None, "maxRelativeError": "0", "uri": None}


def test_a_manifest_of_before_is_read_and_what_is_not_known_is_not_written(converted: Callable[..., Box]) -> None:
    written = converted("cnn").manifest
    written["summary"]["verification"] = OLDER
    read = parse_manifest(json.dumps(written).encode(), "manifest.json").summary.verification
    assert read is not None
    assert (read.maxChannelError, read.equalElements, read.notCompared) == (None, None, None)
    assert read.model_dump() == OLDER


def test_a_report_of_before_is_read_and_shown(converted: Callable[..., Box], tmp_path: Path) -> None:
    written = json.loads((converted("cnn").published / data.FILE).read_text())
    row = {"output": "classes", "batchSize": 1, "samples": 1, "maxRelativeError": "0", "top1Agreement": "1"}
    written["findings"]["comparisons"] = [row]
    written["findings"]["conversion"]["verification"] = OLDER
    (tmp_path / data.FILE).write_text(json.dumps(written))
    assert "made-up input" in page.render(data.read(tmp_path / data.FILE))
