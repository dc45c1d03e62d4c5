"""How far answers lie from those expected: figures over all batches of one size, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

import numpy as np

DIGITS = 4  # of the decimals in the summary


@dataclass(frozen=True)
class Deviation:
    """The largest difference that was seen, and the largest magnitude that was expected."""

    difference: float = 0.0
    largest: float = 0.0

    def __or__(self, other: Deviation) -> Deviation:
        """Of all that either has seen."""
        return Deviation(max(self.difference, other.difference), max(self.largest, other.largest))

    @property
    def relative(self) -> float:
        """The difference over the magnitude; 1 where anything but nothing was answered and nothing expected."""
        if self.difference == 0 or np.isinf(self.difference):
            return self.difference
        return self.difference / self.largest if self.largest else 1.0


def deviation(found: Any, expected: Any) -> Deviation:
    """Of one output's answers to a batch.

    Infinite for other shapes and types, and where values that are not finite differ; 1 of 1 where texts or truths do.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return Deviation(float("inf"))
    if expected.dtype.kind not in "fiu":
        return Deviation(0.0 if np.array_equal(found, expected) else 1.0, 1.0)
    finite = np.isfinite(found) & np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return Deviation(float("inf"))
    found, expected = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    if expected.size == 0:
        return Deviation()
    return Deviation(float(np.max(np.abs(found - expected))), float(np.max(np.abs(expected))))


def top1_agreements(found: list[Any], expected: list[Any]) -> int | None:
    """In how many samples the largest class is the same; None for what is no classifier with one output of classes.

    A sample with an answer that is no number never agrees; infinite ones are how classes are left out.
    """
    if len(expected) != 1 or expected[0].dtype.kind != "f" or expected[0].ndim != 2 or expected[0].shape[1] < 2:
        return None
    if found[0].shape != expected[0].shape:
        return 0
    same = np.argmax(found[0], axis=1) == np.argmax(expected[0], axis=1)
    return int(np.sum(same & ~np.isnan(found[0]).any(axis=1)))


def decimal_text(value: float) -> str:
    """The number as a decimal without an exponent: `0.00012`."""
    return f"{Decimal(f'{value:.{DIGITS}g}'):f}"


def share_text(part: int, whole: int) -> str:
    """The share as a decimal, rounded down: only all of them are 1."""
    share = (Decimal(part) / Decimal(whole)).quantize(Decimal(1).scaleb(-DIGITS), ROUND_DOWN)
    return f"{share.normalize():f}"
