"""A slice of the random graphs round the patterns that are rewritten; `make random-graphs` draws thousands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.random_graphs.patterns import PATTERNS
from tests.random_graphs.run import draw, trials
from tftrt_runtime.convert.rewrites import einsum, padding, pooling, quantization, reshapes, scaled_rows

EACH = 20  # graphs of a pattern
FIRST = 100_000  # seeds that the long run has not
NO_ROOT = SimpleNamespace(sqrt=float)


def of_fifty_steps(_: Any, least: Any, most: Any) -> quantization.Steps:
    return quantization.Steps(least, most, (most - least) / 50, 50 / (most - least), np.float32(0))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_rewrite_changes_an_answer(pattern: str) -> None:
    done = list(trials(range(FIRST, FIRST + EACH), pattern))
    assert {trial.seed: trial.mismatches for trial in done if trial.mismatches} == {}
    assert sum(bool(trial.rewritten) for trial in done) >= 0.4 * EACH


@pytest.mark.parametrize(
    ("pattern", "module", "part", "wrong"),
    [
        pytest.param("fused normalization", scaled_rows, "math", NO_ROOT, id="fused normalization"),
        pytest.param("spelled out normalization", scaled_rows, "math", NO_ROOT, id="spelled out normalization"),
        pytest.param("einsum", einsum, "_transpose", lambda *_: None, id="einsum"),
        pytest.param("reshape", reshapes, "_inner", lambda *_: [-1], id="reshape"),
        pytest.param("pooling", pooling, "NOT_NEGATIVE", {"Elu", "Relu"}, id="pooling"),
        pytest.param("convolution", padding, "is_same", lambda *_: True, id="convolution"),
        pytest.param("quantization", quantization, "_steps", of_fifty_steps, id="quantization"),
    ],
)
def test_a_rewrite_that_is_wrong_shows(
    pattern: str, module: Any, part: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, part, wrong)
    assert any(trial.mismatches for trial in trials(range(FIRST, FIRST + 2 * EACH), pattern))


def test_the_same_seed_draws_the_same_graph() -> None:
    one, other = draw(FIRST), draw(FIRST)
    assert one.fetched == other.fetched
    for question, again in zip(one.questions, other.questions, strict=True):
        for name, value in question.items():
            np.testing.assert_array_equal(value, again[name])
