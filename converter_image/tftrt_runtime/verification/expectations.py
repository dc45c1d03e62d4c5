"""What a converted model's answers must be whatever the gates: comparable, finite, and without TensorRT the same.

What differs by precision is for the gates. Without TensorFlow.
"""

from __future__ import annotations

from typing import Any

from tftrt_runtime.contract.errors import AccuracyBelowThreshold, Internal
from tftrt_runtime.verification.agreement import Seen, lost, strange, unlike
from tftrt_runtime.verification.classes import is_discrete
from tftrt_runtime.verification.comparisons import LARGER, Question
from tftrt_runtime.verification.messages import CheckRequest

# Of our own rewriting, which only reorders sums; it says nothing about precisions.
MAX_EXACT_ERROR = 1e-4
# The share of whole numbers, texts and truths that the last bits of a sum may decide otherwise.
MAX_EXACT_SHARE = 1e-3


def expect_comparable(name: str, question: Question, found: Any, expected: Any, request: CheckRequest) -> None:
    """Hold that an answer has the shape and type of the expected one, and numbers where that has some.

    In another precision larger input than is usual may be too large; that is for the figures and the gates, for nobody
    knows whether the model ever meets it.

    Raises:
        Internal: it has not, though nothing was computed in another precision.
        AccuracyBelowThreshold: it has not.
    """
    size = question.size
    if unlike(found, expected):
        if request.exact:
            raise Internal(_differs(name, size, f": it is {_told(found)} instead of {_told(expected)}"))
        raise _of_another_kind(name, size, found, expected)
    gone, other = lost(found, expected), strange(found, expected)
    if request.exact and (gone or other):
        raise Internal(_differs(name, size, f": {gone + other} of {expected.size} values are not finite in one alone"))
    if question.up_to == LARGER:
        return
    if gone:
        raise not_finite(name, size, gone, expected.size, request.precision)
    if other:
        raise AccuracyBelowThreshold(
            f"At batch size {size} output {name!r} of the converted model has other values where the unconverted one's "
            f"are not finite, {other} of {expected.size}. {_way_out(request.precision)}"
        )


def expect_exact(name: str, size: int, each: Seen, request: CheckRequest) -> None:
    """Hold that an output is the same up to the order of sums, all batches of a size together.

    Raises:
        Internal: it is not.
    """
    if each.kind == "f":
        if each.error is not None and not each.error <= MAX_EXACT_ERROR:
            how = f" by {each.error:.2g}, more than {MAX_EXACT_ERROR:.0e}, relative to its largest value"
            raise Internal(_differs(name, size, how))
        return
    differing = each.elements - each.equal
    told = f": {differing} of its {each.elements} elements"
    if not is_discrete(name, each, request.origins):
        if each.near < each.elements:
            far = each.elements - each.near
            raise Internal(_differs(name, size, f"{told}, {far} of them by more than the one step that rounding makes"))
        if differing > max(1, MAX_EXACT_SHARE * each.elements):
            raise Internal(_differs(name, size, f"{told} by one step, more than rounding explains"))
    elif differing > MAX_EXACT_SHARE * each.elements:
        raise Internal(_differs(name, size, told))


def _differs(name: str, size: int, how: str) -> str:
    return f"At batch size {size} output {name!r} of the converted model differs from the unconverted one's{how}."


def _of_another_kind(name: str, size: int, found: Any, expected: Any) -> AccuracyBelowThreshold:
    return AccuracyBelowThreshold(
        f"At batch size {size} output {name!r} of the converted model is {_told(found)}, where the unconverted one's "
        f"is {_told(expected)}: nothing of it can be compared. Raise spec.conversion.minimumSegmentSize to leave that "
        "part to TensorFlow."
    )


def not_finite(name: str, size: int, count: int, of: int, precision: str) -> AccuracyBelowThreshold:
    """The failure where `count` values are no numbers."""
    cause = "" if precision == "FP32" else f": they are too large for {precision}"
    return AccuracyBelowThreshold(
        f"At batch size {size} output {name!r} of the converted model is not finite where the unconverted one's is, "
        f"{count} of {of} values{cause}. {_way_out(precision)}"
    )


def _way_out(precision: str) -> str:
    if precision == "FP32":
        return "Raise spec.conversion.minimumSegmentSize to leave more of the model to TensorFlow."
    return "Set spec.conversion.precision to FP32."


def _told(values: Any) -> str:
    """The type and the shape: `float32 [4, 3]`."""
    return f"{values.dtype} {list(values.shape)}"
