"""Some graphs of the table of operations, made, rewritten and compared with float64 on the CPU, as `--cpu` does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# One of each way to make a graph and its reference: TensorFlow in float64, NumPy, a layer of Keras, numbers in half,
# whole numbers, several answers, a loop, and what the product rewrites.
GRAPHS = (
    "conv2d-padded",
    "bilinear",
    "dense",
    "half-softmax",
    "int32-large",
    "split",
    "while",
    "einsum-values",
    "layer-normalization",
)


def test_graphs_are_answered_as_float64_does_with_fixed_and_with_dynamic_shapes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu.operations", "--cpu", "--workers", "1", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--only", *GRAPHS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "operations.jsonl").read_text().splitlines()]
    assert sorted((row["operation"], row["shapes"]) for row in rows) == sorted(
        (name, shapes) for name in GRAPHS for shapes in ("fixed", "dynamic")
    )
    assert all(row["right"] for row in rows)
    assert {row["reference"] for row in rows} == {"the same graph in float64", "NumPy in float64"}

    again = subprocess.run([*command, "--only", *GRAPHS], cwd=ROOT, capture_output=True, text=True)
    assert f"0 of {2 * len(GRAPHS)} to be measured" in again.stdout  # what is known is not done again
    assert again.returncode == 0
