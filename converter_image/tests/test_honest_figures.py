# mypy: disable-error-code="misc, no-untyped-call"
"""What is said of a model that is not the one it was converted from: nothing is better than it was seen to be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.test_alone import Ended, tftrt
from tftrt_runtime.contract.artifact import Verification
from tftrt_runtime.contract.errors import AccuracyBelowThreshold, Internal, SignatureNotFound
from tftrt_runtime.report.data import Comparison
from tftrt_runtime.verification import check, origins, reference
from tftrt_runtime.verification.messages import CheckAnswer, CheckRequest, ComparisonData, ReferenceRequest

Function = Callable[..., dict[str, Any]]
VALUES = tf.TensorSpec([None, 4], tf.float32)
PIXELS = tf.TensorSpec([None, 512, 512, 3], tf.float32)
NAN = float("nan")


def save(folder: Path, function: Function, spec: tf.TensorSpec = VALUES) -> Path:
    """A SavedModel of the function."""
    module = tf.Module()
    module.serve = tf.function(function, input_signature=[tf.TensorSpec(spec.shape, spec.dtype, name="x")])
    tf.saved_model.save(module, str(folder / "model"), signatures={"serving_default": module.serve})
    return folder / "model"


def compare(
    folder: Path,
    before: Function,
    after: Function,
    spec: tf.TensorSpec = VALUES,
    *,
    exact: bool = False,
    precision: str = "FP16",
    batch_sizes: Sequence[int] = (2,),
    data: ComparisonData | None = None,
    top1_output: str | None = None,
) -> CheckAnswer:
    """Hold the model `after` against the model `before`, as if it had been made of it."""
    for name in ("before", "after", "references"):
        (folder / name).mkdir()
    asked = ReferenceRequest(
        uri="pvc://models/m",
        source=str(save(folder / "before", before, spec)),
        signature="serving_default",
        tensorflow=tf.__version__,
        batch_sizes=tuple(batch_sizes),
        input_shapes={},
        references=str(folder / "references"),
        data=data,
        events=str(folder / "events"),
        top1_output=top1_output,
    )
    answer = reference.ask(asked)[1]
    return check.check(
        CheckRequest(
            model=str(save(folder / "after", after, spec)),
            signature="serving_default",
            references=asked.references,
            compared=answer.compared,
            not_compared=answer.not_compared,
            origins=answer.origins,
            top1_output=top1_output,
            precision=precision,
            data=data,
            events=asked.events,
            inputs=answer.inputs,
            outputs=answer.outputs,
            left_out=answer.left_out,
            batched=answer.batched,
            batch_sizes=answer.batch_sizes,
            samples=answer.samples,
            finite=answer.finite,
            exact=exact,
            engines=False,
        )
    )


def rows(answer: CheckAnswer) -> dict[str, Comparison]:
    """The row of each output, for the usual size of input."""
    return {row.output: row for row in answer.comparisons if row.inputUpTo == 1}


def picture(pixels: int = 0, steps: int = 0, classes: int = 0) -> Function:
    """A picture of bytes and the brightest colour of each place; so many of either are others."""

    def function(x: Any) -> dict[str, Any]:
        bytes_ = tf.cast(tf.round(tf.clip_by_value(x, 0.1, 0.9) * 255.0), tf.uint8)
        first = tf.reshape(tf.range(tf.size(bytes_)), tf.shape(bytes_))
        bytes_ += tf.cast(tf.where(first < pixels, steps, 0), tf.uint8)
        colours = tf.argmax(x, axis=3)
        place = tf.reshape(tf.range(tf.size(colours)), tf.shape(colours))
        return {"picture": bytes_, "colours": tf.where(place < classes, 5 - colours, colours)}

    return function


def test_a_byte_that_rounding_put_a_step_off_is_told_and_is_no_failure(tmp_path: Path) -> None:
    """One of 786,432, by 1: reported of a super resolution network."""
    found = compare(tmp_path, picture(), picture(1, 1, 1), PIXELS, exact=True, batch_sizes=(1,))
    shown = rows(found)
    assert (shown["picture"].equalElements, shown["picture"].withinOneStep) == ("0.9999", "1")
    assert float(shown["picture"].maxRelativeError or NAN) == pytest.approx(1 / 230, rel=0.01)
    assert shown["picture"].top1Agreement is None
    # The colours are another kind of whole number: right or not.
    assert (shown["colours"].maxRelativeError, shown["colours"].withinOneStep) == (None, None)
    assert shown["colours"].equalElements == shown["colours"].top1Agreement == "0.9999"
    assert found.verification.equalElements == found.verification.top1Agreement == "0.9999"


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (picture(1, 2), r"'picture'.*1 of its 786432 elements, 1 of them by more than the one step"),
        (picture(5000, 1), r"'picture'.*5000 of its 786432 elements by one step, more than rounding explains"),
        (picture(classes=2000), r"'colours'.*2000 of its 262144 elements"),
    ],
)
def test_more_than_a_few_and_more_than_a_step_are_a_failure_without_tensorrt(
    tmp_path: Path, after: Function, told: str
) -> None:
    with pytest.raises(Internal, match=told):
        compare(tmp_path, picture(), after, PIXELS, exact=True, batch_sizes=(1,))


def test_with_tensorrt_class_maps_are_judged_by_the_share_that_is_equal(tmp_path: Path) -> None:
    found = compare(tmp_path, picture(), picture(classes=26215), PIXELS, batch_sizes=(1,))
    assert rows(found)["colours"].equalElements == "0.8999"


def test_classes_of_whole_numbers_that_are_all_wrong_agree_in_none(tmp_path: Path) -> None:
    def best(offset: int) -> Function:
        return lambda x: {"class": tf.argmax(x, axis=1) + 998 + offset}

    found = compare(tmp_path, best(1), best(0)).verification
    assert (found.top1Agreement, found.equalElements, found.maxRelativeError) == ("0", "0", None)


def test_nothing_but_nan_has_no_error_and_is_told(tmp_path: Path) -> None:
    def nan(x: Any) -> dict[str, Any]:
        return {"y": x * NAN, "right": x}

    for exact in (False, True):
        (folder := tmp_path / str(exact)).mkdir()
        found = compare(folder, nan, nan, exact=exact)
        assert (rows(found)["y"].maxRelativeError, rows(found)["y"].notFinite) == (None, "1")
        assert rows(found)["right"].maxRelativeError == "0"
        assert (found.verification.maxRelativeError, found.verification.notFinite) == (None, "1")


def test_what_is_finite_beside_nan_is_compared_and_the_rest_is_told(tmp_path: Path) -> None:
    def part(x: Any) -> dict[str, Any]:
        return {"y": tf.concat([x, x[:, :1] * NAN], 1)}

    found = compare(tmp_path, part, part).verification
    assert (found.maxRelativeError, found.notFinite, found.notANumber) == ("0", "0.2", "0.2")


def test_what_is_infinite_on_purpose_is_no_nan(tmp_path: Path) -> None:
    def part(x: Any) -> dict[str, Any]:
        return {"y": tf.concat([x, x[:, :1] - np.inf], 1)}

    found = compare(tmp_path, part, part).verification
    assert (found.maxRelativeError, found.notFinite, found.notANumber) == ("0", "0.2", None)


def test_a_small_quantity_beside_a_large_one_is_seen(tmp_path: Path) -> None:
    def with_time(probability: float) -> Function:
        return lambda x: {"y": tf.stack([x[:, 0] * 0.0 + 1.6e9, x[:, 0] * 0.0 + probability], 1)}

    found = compare(tmp_path, with_time(1.0), with_time(0.0))
    assert float(found.verification.maxRelativeError or NAN) < 1e-9
    assert found.verification.maxChannelError == "1"
    assert rows(found)["y"].channel == 1


def through_half(x: Any) -> dict[str, Any]:
    """As an engine of FP16 computes it."""
    return {"y": tf.cast(tf.cast(x, tf.float16) * 800.0, tf.float32)}


def in_full(x: Any) -> dict[str, Any]:
    return {"y": x * 800.0}


def test_half_precision_that_overflows_at_what_a_byte_holds_is_told_and_has_no_error_there(tmp_path: Path) -> None:
    found = compare(tmp_path, in_full, through_half)
    larger = next(row for row in found.comparisons if row.inputUpTo == 255)
    assert (larger.maxRelativeError, larger.maxChannelError, larger.notFinite) == (None, None, None)
    # Those above 65,504 / 800 = 81.9 are four of eight.
    assert found.verification.largerInputGone == larger.gone == "0.5"
    assert found.verification.largerInputError is None
    assert 0 < float(found.verification.maxRelativeError or NAN) < 1e-3


def test_half_precision_that_overflows_at_the_usual_size_is_a_failure(tmp_path: Path) -> None:
    def larger(function: Function) -> Function:
        return lambda x: function(x * 255.0)

    told = r"output 'y' .*not finite.* of 8 values: they are too large for FP16. Set spec.conversion.precision to FP32"
    with pytest.raises(AccuracyBelowThreshold, match=told):
        compare(tmp_path, larger(in_full), larger(through_half))


def masked(lost: bool) -> Function:
    """Places that are left out by an infinite score, which half precision makes NaN of."""
    return lambda x: {"y": tf.where(x[:, :1] > 25.0, NAN if lost else -np.inf, -np.inf) + tf.zeros_like(x)}


def test_what_is_otherwise_not_finite_at_larger_input_is_told_as_well(tmp_path: Path) -> None:
    def both(lost: bool) -> Function:
        return lambda x: {**masked(lost)(x), "x": x}

    found = compare(tmp_path, both(lost=False), both(lost=True))
    larger = next(row for row in found.comparisons if row.inputUpTo == 255 and row.output == "y")
    assert found.verification.largerInputGone == larger.gone == "0.5"


def test_data_says_what_the_model_meets_and_nothing_larger_is_asked(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/x.npy", np.random.default_rng(3).random((4, 4)).astype(np.float32))
    data = ComparisonData(uri="pvc://data", folder=str(tmp_path / "data"))
    found = compare(tmp_path, in_full, through_half, data=data)
    assert [row.inputUpTo for row in found.comparisons] == [None]
    assert 0 < float(found.verification.maxRelativeError or NAN) < 1e-3


def test_without_data_both_sizes_of_made_up_input_have_a_row_and_a_figure(tmp_path: Path) -> None:
    def worse_at(limit: float) -> Function:
        return lambda x: {"y": tf.where(x > limit, x * 1.25, x)}

    found = compare(tmp_path, lambda x: {"y": x * 1.0}, worse_at(1.0))
    assert {row.inputUpTo: row.maxRelativeError for row in found.comparisons} == {1: "0", 255: "0.25"}
    assert (found.verification.maxRelativeError, found.verification.samples) == ("0", 2)
    assert found.verification.largerInputError == "0.25"


def test_another_shape_has_a_sentence_of_its_own(tmp_path: Path) -> None:
    told = r"'y' of the converted model is float32 \[2, 3\], where the unconverted one's is float32 \[2, 4\]"
    with pytest.raises(AccuracyBelowThreshold, match=told) as failure:
        compare(tmp_path, lambda x: {"y": x * 1.0}, lambda x: {"y": x[:, :3] * 1.0})
    assert "finite" not in str(failure.value)


def test_top1_is_of_the_output_that_is_named(tmp_path: Path) -> None:
    def two(wrong: bool) -> Function:
        return lambda x: {"p": tf.nn.softmax(x), "embedding": x[:, ::-1] if wrong else x * 1.0}

    for named, expected in ((None, "1"), ("p", "1"), ("embedding", "0")):
        (folder := tmp_path / str(named)).mkdir()
        found = compare(folder, two(wrong=False), two(wrong=True), top1_output=named).verification
        assert (found.top1Agreement, found.top1Output) == (expected, named)


@pytest.mark.parametrize(
    ("named", "told"),
    [("scorse", r"is no output of pvc://models/m: did you mean 'scores'"), ("one", r"has shape \[2\].*at least two")],
)
def test_an_output_that_cannot_be_of_classes_is_refused_with_what_there_is(
    tmp_path: Path, named: str, told: str
) -> None:
    def function(x: Any) -> dict[str, Any]:
        return {"scores": x * 1.0, "one": x[:, 0]}

    with pytest.raises(SignatureNotFound, match=told):
        compare(tmp_path, function, function, top1_output=named)


def test_a_pixel_is_a_sample_of_its_classes(tmp_path: Path) -> None:
    def pixels(turned: int) -> Function:
        def function(x: Any) -> dict[str, Any]:
            each = tf.stack([x, x + 1.0], 2)  # [batch, 4, 2]
            return {"p": tf.nn.softmax(tf.concat([each[:, :turned, ::-1], each[:, turned:]], 1))}

        return function

    assert compare(tmp_path, pixels(0), pixels(1)).verification.top1Agreement == "0.75"


def noise(x: Any) -> dict[str, Any]:
    return {"y": x + tf.random.normal(tf.shape(x))}


def test_a_model_that_draws_random_numbers_says_that_one_reason(tmp_path: Path) -> None:
    found = compare(tmp_path, noise, noise)
    assert found.comparisons == ()
    assert found.verification == Verification(
        samples=0, top1Agreement=None, maxRelativeError=None, notCompared="AnswersDiffer"
    )


def boxes_in_pixels(x: Any) -> Any:
    boxes = tf.reshape(x, [-1, 1, 1, 4]) * 640.0
    return tf.image.combined_non_max_suppression(boxes, boxes[..., 0], 5, 5, clip_boxes=False)


ORIGINS: dict[str, tuple[Function, str]] = {
    "rounded": (lambda x: {"y": tf.cast(tf.round(x * 255.0), tf.uint8)}, "rounded"),
    "rounded and clipped": (lambda x: {"y": tf.clip_by_value(tf.cast(x * 9.0, tf.int32), 0, 7)[:, ::-1]}, "rounded"),
    "a class": (lambda x: {"y": tf.cast(tf.argmax(x, axis=1), tf.int32)}, "decided"),
    "a class that was a float": (lambda x: {"y": tf.cast(tf.cast(tf.argmax(x, 1), tf.float32), tf.int64)}, "decided"),
    "a class by its index": (lambda x: {"y": tf.math.top_k(x, 2).indices}, "decided"),
    "the largest values, rounded": (lambda x: {"y": tf.cast(tf.math.top_k(x, 2).values * 1.0, tf.int32)}, "rounded"),
    "the largest values as they are": (lambda x: {"y": tf.cast(tf.math.top_k(x, 2).values, tf.int32)}, "rounded"),
    "boxes in pixels": (lambda x: {"y": tf.cast(boxes_in_pixels(x).nmsed_boxes, tf.int32)}, "rounded"),
    "classes of boxes": (lambda x: {"y": tf.cast(boxes_in_pixels(x).nmsed_classes, tf.int32)}, "decided"),
    "a threshold": (lambda x: {"y": tf.cast(x > 0.5, tf.int32)}, "decided"),
    "a threshold by where": (lambda x: {"y": tf.cast(tf.where(x > 0.5, 1.0, 0.0), tf.int32)}, "decided"),
    "rounded where it is large": (lambda x: {"y": tf.where(x > 0.5, tf.cast(x * 9.0, tf.int32), 0)}, "rounded"),
    "a constant": (lambda x: {"y": tf.zeros_like(x, tf.int32)[:, :2] + 7}, "decided"),
    "its own input in parts": (lambda x: {"y": tf.concat(tf.split(x, 2, axis=1)[::-1], 1)}, "moved"),
    "a label": (lambda x: {"y": tf.gather(tf.constant([5, 6, 7, 8]), tf.argmax(x, axis=1))}, "decided"),
    "a float": (lambda x: {"y": x * 2.0}, "decided"),
    "its own input": (lambda x: {"y": tf.reshape(x, [-1, 2, 2])}, "moved"),
}


@pytest.mark.parametrize("which", ORIGINS)
def test_the_graph_tells_where_numbers_come_from(tmp_path: Path, which: str) -> None:
    function, expected = ORIGINS[which]
    loaded = tf.saved_model.load(str(save(tmp_path, function)))
    found = origins.origins(loaded.signatures["serving_default"])
    is_ = [kind for kind, names in (("rounded", found.rounded), ("moved", found.moved)) if "y" in names]
    assert (is_ or ["decided"]) == [expected]


def by_hand(folder: Path, function: Function, *gates: object) -> Ended:
    model = save(folder, function)
    return tftrt("convert", model, folder / "converted", "-b", "2", *gates)


def test_rounded_numbers_are_told_with_both_shares_on_the_page_and_on_the_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The converted model is exchanged for one whose picture has a byte that is a step off, and a class that is not."""
    monkeypatch.setenv("COLUMNS", "200")  # of the terminal: no heading takes two lines
    spec = tf.TensorSpec([None, 64, 64, 3], tf.float32)
    model = save(tmp_path, picture(), spec)
    ended = tftrt("convert", model, tmp_path / "converted", "-b", "1")
    assert ended.code == 0, ended.told
    assert re.search(r"Rounded numbers: +1 are equal, and 1 within one step \(output 'picture'\)", ended.output)
    shutil.rmtree(tmp_path / "converted/model")
    (tmp_path / "other").mkdir()
    save(tmp_path / "other", picture(1, 1, 1), spec).rename(tmp_path / "converted/model")
    again = tftrt("verify", tmp_path / "converted")
    assert again.code == 0, again.told
    headings, *shown = [line.split() for line in again.output.splitlines()]
    assert " ".join(headings).endswith("Equal Within one step Top-1 agreement")
    found = {line[0]: line[-3:] for line in shown[:4]}
    assert found == {"colours": ["0.9997", "-", "0.9997"], "picture": ["0.9999", "1", "-"]}
    assert re.search(r"Rounded numbers: +0.9999 are equal, and 1 within one step \(output 'picture'\)", again.output)
    page = re.sub(r"<[^>]*>", " ", (tmp_path / "converted/report.html").read_text())
    assert re.search(r"Equal\s+Within one step", page)
    row = r"picture\s+1\s+1\s+1\s+0\s+0 \(0\)\s+1\s+1\s+-"
    assert re.search(row, page), "batch, input up to, samples; errors; both shares"


def test_a_model_that_answers_nan_passes_no_gate(tmp_path: Path) -> None:
    ended = by_hand(tmp_path, lambda x: {"y": x * NAN}, "--max-relative-error", "0.0001")
    assert ended.code == 17, ended.told
    assert "1 of an output is NaN in either model on made-up input" in ended.told
    assert "Largest relative error" not in ended.output
    assert "Not finite" in ended.output


def test_a_person_is_told_why_nothing_was_compared(tmp_path: Path) -> None:
    ended = by_hand(tmp_path, noise)
    assert ended.code == 0, ended.told
    assert "not compared: the model answers the same input differently each time" in ended.output
    page = (tmp_path / "converted/report.html").read_text()
    assert "Not compared: the model answers the same input differently each time." in page
    assert "takes no made-up input" not in page
    again = tftrt("verify", tmp_path / "converted", "--max-relative-error", "1")
    assert again.code == 17
    assert "the model answers the same input differently each time" in again.told


def of_eight(*, wrong: bool = False, table: bool = False) -> Function:
    """Shares and classes of a batch of eight; beside them, if there is a `table`, those of its four columns."""

    def function(x: Any) -> dict[str, Any]:
        answers = {"scores": tf.nn.softmax(x), "labels": tf.argmax(x, axis=1)}
        if table:
            columns = -x if wrong else x
            answers |= {"columns": tf.nn.softmax(tf.transpose(columns)), "best": tf.argmax(columns, axis=0)}
        return answers

    return function


EIGHT = tf.TensorSpec([8, 4], tf.float32)


def test_items_of_a_fixed_batch_have_classes(tmp_path: Path) -> None:
    found = compare(tmp_path, of_eight(), of_eight(), EIGHT)
    assert (found.verification.samples, found.verification.top1Agreement) == (8, "1")
    assert [rows(found)[name].top1Agreement for name in ("labels", "scores")] == ["1", "1"]


def test_rows_that_may_be_of_anything_are_no_classes_but_where_they_are_named(tmp_path: Path) -> None:
    """Nothing says which of the two first dimensions is the items'."""
    before, after = of_eight(table=True), of_eight(table=True, wrong=True)
    (tmp_path / "unnamed").mkdir()
    found = compare(tmp_path / "unnamed", before, after, EIGHT)
    assert (found.verification.samples, found.verification.top1Agreement) == (1, None)
    assert {row.top1Agreement for row in found.comparisons} == {None}
    assert float(found.verification.maxRelativeError or NAN) > 0.1
    (tmp_path / "named").mkdir()
    named = compare(tmp_path / "named", before, after, EIGHT, top1_output="scores")
    assert named.verification.top1Agreement == "1"
