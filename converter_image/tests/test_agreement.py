"""How far answers lie from those expected, in figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tftrt_runtime.verification.agreement import Deviation, decimal_text, deviation, seen, share_text, some_text
from tftrt_runtime.verification.classes import is_discrete, of_classes, same_classes
from tftrt_runtime.verification.messages import Origins

INF, NAN = float("inf"), float("nan")


def relative(found: Any, expected: Any) -> float:
    return deviation(np.array(found, np.float32), np.array(expected, np.float32)).relative


def test_an_error_is_relative_to_the_largest_value_of_the_output() -> None:
    assert relative([3.0, 0.5], [4.0, 0.5]) == 0.25
    assert (deviation(np.array([1.0]), np.array([2.0])) | deviation(np.array([8.0]), np.array([8.0]))).relative == 0.125


def test_something_where_nothing_is_expected_is_an_error_of_one() -> None:
    assert relative([0.0, 1e-4], [0.0, 0.0]) == 1
    assert relative([0.0, 0.0], [0.0, 0.0]) == 0


@pytest.mark.parametrize(
    ("found", "expected"),
    [(NAN, 1.0), (INF, 1.0), (1.0, NAN), (NAN, -INF), (INF, -INF), (NAN, INF)],
)
def test_what_is_not_finite_equals_only_itself(found: float, expected: float) -> None:
    assert relative([found, 0.0], [expected, 0.0]) == INF
    assert relative([expected, 0.0], [expected, 0.0]) == 0


def test_other_shapes_and_types_are_infinitely_far() -> None:
    assert deviation(np.zeros((2, 1)), np.zeros((1, 2))).relative == INF
    assert deviation(np.zeros(2, np.float16), np.zeros(2, np.float32)).relative == INF


def test_texts_and_truths_are_the_same_or_not() -> None:
    assert deviation(np.array([b"a"], object), np.array([b"a"], object)).relative == 0
    assert deviation(np.array([True]), np.array([False])).relative == 1


def test_whole_numbers_do_not_wrap_round() -> None:
    assert deviation(np.array([0], np.uint8), np.array([255], np.uint8)) == Deviation(255, 255)


def test_what_was_compared_is_counted_and_where_nothing_is_finite_there_is_no_error() -> None:
    expected = np.array([[1.0, NAN, INF], [2.0, 4.0, -INF]], np.float32)
    some = seen(expected + np.array([[0.0], [1.0]], np.float32), expected)
    assert (some.elements, some.finite, some.error) == (6, 3, 0.25)
    none = seen(np.full((2, 3), NAN), np.full((2, 3), NAN))
    assert (none.elements, none.finite, none.error, none.channel_error) == (6, 0, None, None)
    assert seen(np.zeros((2, 0)), np.zeros((2, 0))).error is None
    assert (some | none).elements == 12


def test_a_small_quantity_beside_a_large_one_has_an_error_of_its_own() -> None:
    """A time of day beside a probability: relative to the whole output nothing is wrong."""
    expected = np.array([[1.6e9, 0.0], [1.6e9, 1.0]])
    found = np.array([[1.6e9, 1.0], [1.6e9, 1.0]])
    wrong = seen(found, expected)
    assert wrong.error == pytest.approx(1 / 1.6e9)
    assert wrong.channel_error == (1.0, 1)
    assert seen(expected[:, 0], expected[:, 0]).channel_error is None


def test_channels_are_those_of_all_batches_and_a_last_dimension_of_any_length_is_no_fault() -> None:
    first = seen(np.array([[1.0, 0.5]]), np.array([[1.0, 0.25]]))
    then = seen(np.array([[2.0, 1.0]]), np.array([[2.0, 1.0]]))
    assert (first | then).channel_error == (0.25, 1)
    longer = seen(np.ones((1, 3)), np.ones((1, 3)))
    assert (first | longer).channel_error == (1.0, 1)


def test_whole_numbers_are_counted_as_equal_and_as_within_one_step() -> None:
    found, expected = np.array([0, 255, 7, 9], np.uint8), np.array([255, 255, 8, 7], np.uint8)
    numbers = seen(found, expected)
    assert (numbers.elements, numbers.equal, numbers.near) == (4, 1, 2)
    ends = np.iinfo(np.int64)
    assert seen(np.array([ends.min]), np.array([ends.max])).near == 0
    assert seen(np.array([-1], np.int8), np.array([0], np.int8)).near == 1


def test_texts_and_truths_are_counted_where_they_are_the_same() -> None:
    texts = seen(np.array([b"a", b"b"], object), np.array([b"a", b"c"], object))
    assert (texts.elements, texts.equal, texts.error) == (2, 1, None)
    assert seen(np.array([True]), np.array([False])).equal == 0


SCORES = [[0.25, 0.75], [0.5, 0.5]]
PLAIN = Origins()


def classes(outputs: dict[str, Any], origins: Origins = PLAIN, named: str | None = None) -> set[str]:
    arrays = {name: np.array(values) for name, values in outputs.items()}
    return of_classes({name: seen(values, values) for name, values in arrays.items()}, origins, named)


def test_rows_that_are_shares_of_one_are_of_classes_at_any_rank() -> None:
    assert classes({"a": SCORES, "pixels": [SCORES, SCORES], "b": [[0.25, 0.5]]}) == {"a", "pixels"}
    assert classes({"half": np.array(SCORES, np.float16), "negative": [[-1.0, 2.0]], "one": [[1.0]]}) == {"half"}


def test_embeddings_and_boxes_are_of_no_classes_unless_the_signature_calls_them_so() -> None:
    rows = [[3.0, 4.0], [1.0, -2.0]]
    assert classes({"embedding": rows, "boxes": [rows], "detection_scores": rows, "problem": rows}) == set()
    assert classes({"scores": rows, "class_scores": rows}) == {"scores", "class_scores"}
    assert classes({"logits": rows, "head/logits": rows, "class_probabilities": rows, "probs": [1.0, 2.0]}) == {
        "logits",
        "head/logits",
        "class_probabilities",
    }


def test_the_output_that_the_user_names_is_the_one() -> None:
    assert classes({"embedding": [[3.0, 4.0]], "a": SCORES}, named="embedding") == {"embedding"}


def test_whole_numbers_texts_and_truths_are_classes_where_the_model_decides_them() -> None:
    outputs = {"label": [1, 2], "map": [[[1, 2]]], "word": np.array([b"a"], object), "is": [True], "id": [7]}
    origins = Origins(moved=("id",))
    assert classes(outputs, origins) == {"label", "map", "word", "is"}
    assert classes({"picture": [[1, 2]]}, Origins(rounded=("picture",))) == set()


def test_every_answer_wrong_is_a_share_of_none_however_near_the_numbers_are() -> None:
    found, expected = np.array([998, 500, 17]), np.array([999, 501, 18])
    wrong = seen(found, expected)
    assert is_discrete("classes", wrong, PLAIN)
    same = same_classes(wrong)
    assert same is not None
    assert (same.part, same.whole) == (0, 3)


def test_classes_that_are_left_out_by_an_infinite_score_do_not_disagree() -> None:
    masked = np.array([[1.0, -INF, 2.0], [3.0, -INF, 2.0]], np.float32)
    assert seen(masked, masked).agreeing == 2


def test_a_score_that_is_no_number_never_agrees() -> None:
    found, expected = np.array([[NAN, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert seen(found, expected).agreeing == 1
    assert seen(found, found).agreeing == 1
    assert seen(found, found).shares_of_one
    assert not seen(found * NAN, found * NAN).shares_of_one


def test_what_has_no_rows_has_no_class() -> None:
    for values in (np.zeros((2, 1)), np.zeros(3), np.zeros((0, 4)), np.zeros((2, 0))):
        assert same_classes(seen(values, values)) is None


def test_one_sample_of_a_million_that_differs_is_not_hidden_by_rounding() -> None:
    assert share_text(999_999, 1_000_000) == "0.9999"
    assert share_text(1_000_000, 1_000_000) == "1"


def test_a_share_of_few_is_not_none_of_them() -> None:
    assert some_text(1, 1_000_000) == "0.0001"
    assert some_text(999_999, 1_000_000) == "0.9999"
    assert (some_text(0, 4), some_text(4, 4)) == ("0", "1")


def test_a_small_number_has_no_exponent() -> None:
    assert decimal_text(1.23456e-7) == "0.0000001235"
