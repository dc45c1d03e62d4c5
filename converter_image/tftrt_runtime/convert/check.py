"""A child process that loads the converted model afresh, as a server will, and compares it with the unconverted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime import child, samples
from tftrt_runtime.convert.messages import REFERENCE, CheckAnswer, CheckRequest
from tftrt_runtime.errors import Internal

# Of our own rewriting, which only reorders sums; it says nothing about precisions.
MAX_RELATIVE_ERROR = 1e-4


def check(request: CheckRequest) -> CheckAnswer:
    """Load, ask for every batch size, compare.

    Raises:
        Internal: the converted model is not the unconverted one.
    """
    loaded = tf.saved_model.load(request.model)
    if list(loaded.signatures) != [request.signature]:
        raise Internal(
            f"The converted model has the signatures {sorted(loaded.signatures)}, not {request.signature!r} alone."
        )
    function = loaded.signatures[request.signature]
    _expect_names("inputs", function.structured_input_signature[1], [tensor.name for tensor in request.inputs])
    _expect_names("outputs", function.structured_outputs, [tensor.name for tensor in request.outputs])
    if request.sample is None:
        return CheckAnswer(relative_error=None)
    worst: float | None = None
    for size in request.batchSizes:
        batch = samples.batch(request.inputs, size, request.sample.openDimension)
        answers = function(**{name: tf.constant(value) for name, value in batch.items()})
        with np.load(Path(request.references, REFERENCE.format(size)), allow_pickle=True) as references:
            for index, name in enumerate(sorted(answers)):
                error = relative_error(np.asarray(answers[name].numpy()), references[f"output{index}"])
                if not error <= MAX_RELATIVE_ERROR:
                    raise Internal(
                        f"At batch size {size} output {name!r} of the converted model differs from the unconverted "
                        f"one's by {error:.2g}, more than {MAX_RELATIVE_ERROR:.0e}, relative to its largest value."
                    )
                worst = max(worst or 0.0, error)
    return CheckAnswer(relative_error=worst)


def relative_error(found: Any, expected: Any) -> float:
    """The largest difference over the largest expected magnitude; infinite where anything but floats differs."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(found, expected) else float("inf")
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return float("inf")
    finite = np.isfinite(expected)
    found, expected = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    if expected.size == 0:
        return 0.0
    largest = float(np.max(np.abs(expected)))
    return float(np.max(np.abs(found - expected))) / max(largest, float(np.finfo(np.float32).tiny))


def _expect_names(what: str, found: dict[str, Any], expected: list[str]) -> None:
    if sorted(found) != sorted(expected):
        raise Internal(f"The converted model has the {what} {sorted(found)} instead of {sorted(expected)}.")


if __name__ == "__main__":
    child.answer(CheckRequest, check)
