"""How far answers are from the exact ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.gpu.operations.operation import Array

DIGITS = 3


def error(found: Mapping[str, Array], exact: Mapping[str, Array]) -> dict[str, Any]:
    """The largest error of all answers, absolute and relative to the largest value of the answer that it is in.

    Elements that are infinite or no number in one of both alone, or are with another sign, are `unlike` and have no
    error. `elements` is how many there are; with `unequal` of them there is any difference. What has another shape has
    no error at all: `shape` tells both.
    """
    told: dict[str, Any] = {"absolute": 0.0, "relative": 0.0, "unlike": 0, "unequal": 0, "elements": 0}
    for name, expected in exact.items():
        answer = found[name]
        if answer.shape != expected.shape:
            return told | {"shape": f"{list(answer.shape)} in place of {list(expected.shape)}"}
        one, other = answer.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(one) & np.isfinite(other)
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        absolute = float(np.max(np.abs(one[finite] - other[finite]), initial=0.0))
        largest = float(np.max(np.abs(other[np.isfinite(other)]), initial=0.0))
        told["absolute"] = max(told["absolute"], absolute)
        # Of an answer that is to be 0 everywhere, the error itself.
        told["relative"] = max(told["relative"], absolute / (largest or 1.0))
        told["unlike"] += int(np.sum(~finite & ~same))
        told["unequal"] += int(np.sum(~same))
        told["elements"] += one.size
    for kind in ("absolute", "relative"):
        told[kind] = float(f"{told[kind]:.{DIGITS}g}")
    return told


def is_within(told: Mapping[str, Any], bound: float) -> bool:
    """Whether an error is no more than this, relative to the largest value, and nothing is unlike."""
    return told["relative"] <= bound and not told["unlike"] and "shape" not in told
