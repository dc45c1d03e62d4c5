"""How far answers lie from those expected: figures over all batches of one size, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 4  # of the decimals in the summary
# By so much the shares of classes may miss 1 together: what rounding takes of a softmax in each type.
SUM_OF_SHARES = {2: 1e-2, 4: 1e-3, 8: 1e-3}


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
    if unlike(found, expected):
        return Deviation(float("inf"))
    if expected.dtype.kind not in "fiu":
        return Deviation(0.0 if np.array_equal(found, expected) else 1.0, 1.0)
    if lost(found, expected) or strange(found, expected):
        return Deviation(float("inf"))
    finite = np.isfinite(found) & np.isfinite(expected)
    found, expected = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    if expected.size == 0:
        return Deviation()
    return Deviation(float(np.max(np.abs(found - expected))), float(np.max(np.abs(expected))))


def unlike(found: Any, expected: Any) -> bool:
    """Whether the answers have other shapes or types, so that nothing of them can be compared."""
    return bool(found.shape != expected.shape or found.dtype != expected.dtype)


def lost(found: Any, expected: Any) -> int:
    """How many values are not finite where the expected ones are; both of one shape and type."""
    if expected.dtype.kind != "f":
        return 0
    return int(np.count_nonzero(np.isfinite(expected) & ~np.isfinite(found)))


def strange(found: Any, expected: Any) -> int:
    """How many values differ from expected ones that are not finite, to which only they themselves are equal."""
    if expected.dtype.kind != "f":
        return 0
    apart = ~np.isfinite(expected)
    same = (found[apart] == expected[apart]) | (np.isnan(found[apart]) & np.isnan(expected[apart]))
    return int(np.count_nonzero(~same))


Channels = Mapping[int, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen of an output in some batches: elements are counted, and compared where both are finite.

    A row is what lies along the last dimension, where that is not the batch's and holds at least two floats.
    """

    kind: str = ""  # numpy's letter for the type
    elements: int = 0
    finite: int = 0  # none of texts and truths, which are no numbers
    equal: int = 0  # values that are not finite are equal to themselves
    near: int = 0  # of whole numbers, those within one step; else as `equal`
    nan: int = 0  # expected to be NaN
    gone: int = 0  # not finite where the expected ones are, or otherwise not finite than those
    deviation: Deviation = field(default_factory=Deviation)
    # By how many channels the last dimension has: the largest differences [0] and the largest magnitudes [1].
    channels: Channels = field(default_factory=dict)
    rows: int = 0
    agreeing: int = 0  # rows whose largest element has the same place
    numbers: int = 0  # rows expected without NaN
    shares: int = 0  # of them those that are shares of 1

    def __or__(self, other: Seen) -> Seen:
        """Of all that either has seen."""
        channels = dict(self.channels)
        for count, values in other.channels.items():
            channels[count] = np.maximum(channels[count], values) if count in channels else values
        return Seen(
            kind=other.kind or self.kind,
            elements=self.elements + other.elements,
            finite=self.finite + other.finite,
            equal=self.equal + other.equal,
            near=self.near + other.near,
            nan=self.nan + other.nan,
            gone=self.gone + other.gone,
            deviation=self.deviation | other.deviation,
            channels=channels,
            rows=self.rows + other.rows,
            agreeing=self.agreeing + other.agreeing,
            numbers=self.numbers + other.numbers,
            shares=self.shares + other.shares,
        )

    @property
    def error(self) -> float | None:
        """The largest difference relative to the largest value; None where nothing was compared, or values are gone."""
        return self.deviation.relative if self.finite and not self.gone else None

    @property
    def channel_error(self) -> tuple[float, int] | None:
        """The largest difference relative to the largest value of its own channel, and that channel's number.

        None where the output has no channels, and where there is no error.
        """
        if self.error is None or not self.channels:
            return None
        each = (
            (Deviation(float(difference), float(largest)).relative, channel)
            for values in self.channels.values()
            for channel, (difference, largest) in enumerate(values.T)
        )
        return max(each, key=lambda found: found[0])

    @property
    def shares_of_one(self) -> bool:
        """Whether every row is shares of 1, as the answers of a classifier are; NaN says nothing of it."""
        return 0 < self.numbers == self.shares


def seen(found: Any, expected: Any) -> Seen:
    """Of one output's answers to a batch, which are of one shape and type."""
    kind = expected.dtype.kind
    if kind not in "fiu":
        equal = int(np.count_nonzero(found == expected))
        return Seen(kind=kind, elements=expected.size, equal=equal, near=equal)
    finite = np.isfinite(found) & np.isfinite(expected)
    equal = int(np.count_nonzero((found == expected) | (np.isnan(found) & np.isnan(expected))))
    differences, magnitudes = np.zeros(expected.shape), np.zeros(expected.shape)
    np.subtract(found, expected, out=differences, where=finite, dtype=np.float64)
    np.abs(expected, out=magnitudes, where=finite, dtype=np.float64)
    np.abs(differences, out=differences)
    rows, agreeing, numbers, shares = _rows(found, expected) if kind == "f" else (0, 0, 0, 0)
    return Seen(
        kind=kind,
        elements=expected.size,
        finite=int(np.count_nonzero(finite)),
        equal=equal,
        near=equal if kind == "f" else int(np.count_nonzero(_steps(found, expected) <= 1)),
        nan=int(np.count_nonzero(np.isnan(expected))),
        gone=lost(found, expected) + strange(found, expected),
        deviation=Deviation(float(np.max(differences, initial=0.0)), float(np.max(magnitudes, initial=0.0))),
        channels=_channels(differences, magnitudes),
        rows=rows,
        agreeing=agreeing,
        numbers=numbers,
        shares=shares,
    )


def _steps(found: Any, expected: Any) -> Any:
    """How many whole numbers lie between two, none of which wraps round."""
    return np.maximum(found, expected).astype(np.uint64) - np.minimum(found, expected).astype(np.uint64)


def _channels(differences: Any, magnitudes: Any) -> Channels:
    if differences.ndim < 2 or differences.shape[-1] < 2 or not differences.size:
        return {}
    axes = tuple(range(differences.ndim - 1))
    return {differences.shape[-1]: np.stack([differences.max(axis=axes), magnitudes.max(axis=axes)])}


def _rows(found: Any, expected: Any) -> tuple[int, int, int, int]:
    """How many rows there are; of how many the largest element has the same place; which are numbers and shares of 1.

    A row with a value that is no number never agrees; infinite ones are how classes are left out.
    """
    if expected.ndim < 2 or expected.shape[-1] < 2 or not expected.size:
        return 0, 0, 0, 0
    found, expected = (values.reshape(-1, values.shape[-1]) for values in (found, expected))
    same = np.argmax(found, axis=1) == np.argmax(expected, axis=1)
    numbers = ~np.isnan(expected).any(axis=1)
    tolerance = SUM_OF_SHARES[expected.dtype.itemsize]
    shares = (expected >= 0).all(axis=1) & (np.abs(expected.sum(axis=1, dtype=np.float64) - 1) <= tolerance)
    agreeing = same & numbers & ~np.isnan(found).any(axis=1)
    counted = [int(np.count_nonzero(each)) for each in (agreeing, numbers, numbers & shares)]
    return len(expected), counted[0], counted[1], counted[2]


def decimal_text(value: float) -> str:
    """The number as a decimal without an exponent: `0.00012`."""
    return f"{Decimal(f'{value:.{DIGITS}g}'):f}"


def share_text(part: int, whole: int) -> str:
    """The share as a decimal, rounded down: only all of them are 1."""
    share = (Decimal(part) / Decimal(whole)).quantize(Decimal(1).scaleb(-DIGITS), ROUND_DOWN)
    return f"{share.normalize():f}"


def some_text(part: int, whole: int) -> str:
    """The share as a decimal, rounded up: only none of them is 0, and only all of them are 1."""
    least = Decimal(1).scaleb(-DIGITS)
    share = (Decimal(part) / Decimal(whole)).quantize(least, ROUND_UP)
    return f"{(share if part == whole else min(share, 1 - least)).normalize():f}"
