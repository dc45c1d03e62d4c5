"""What a model was asked when it was made, and what it answered: an archive of `input NAME` and `output NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.rounding import assert_rounded_alike

Arrays = dict[str, Any]


def of(archive: Path) -> tuple[Arrays, Arrays]:
    """The inputs and the answers, by name."""
    with np.load(archive, allow_pickle=True) as arrays:
        parts = [
            {name.removeprefix(f"{part} "): arrays[name] for name in arrays if name.startswith(f"{part} ")}
            for part in ("input", "output")
        ]
    return parts[0], parts[1]


def assert_alike(found: Arrays, expected: Arrays, terms: int) -> None:
    """Assert that these are the same answers, but for `terms` roundings one after the other of those that are floats.

    Raises:
        AssertionError: they are not.
    """
    assert set(found) == set(expected)
    for name, value in expected.items():
        if value.dtype.kind == "f":
            assert_rounded_alike(found[name], value, terms)
        else:
            np.testing.assert_array_equal(found[name], value)
