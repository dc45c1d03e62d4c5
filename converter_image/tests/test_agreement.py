"""How far answers lie from those expected, in figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tftrt_runtime.verification.agreement import Deviation, decimal_text, deviation, share_text, top1_agreements

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


def test_classes_that_are_left_out_by_an_infinite_score_do_not_disagree() -> None:
    masked = [np.array([[1.0, -INF, 2.0], [3.0, -INF, 2.0]], np.float32)]
    assert top1_agreements(masked, masked) == 2


def test_a_score_that_is_no_number_never_agrees() -> None:
    found, expected = np.array([[NAN, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert top1_agreements([found], [expected]) == 1
    assert top1_agreements([found], [found]) == 1


@pytest.mark.parametrize("expected", [[np.zeros((2, 1))], [np.zeros((2, 3, 4))], [np.zeros((2, 3))] * 2])
def test_what_is_no_classifier_has_no_agreement(expected: list[Any]) -> None:
    assert top1_agreements(expected, expected) is None


def test_one_sample_of_a_million_that_differs_is_not_hidden_by_rounding() -> None:
    assert share_text(999_999, 1_000_000) == "0.9999"
    assert share_text(1_000_000, 1_000_000) == "1"


def test_a_small_number_has_no_exponent() -> None:
    assert decimal_text(1.23456e-7) == "0.0000001235"
