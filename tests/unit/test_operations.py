"""The table of operations: what is measured next, what a process that ends costs, and what the page says."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import operations_results
from benchmarks.gpu.operations.__main__ import is_left, tasks
from benchmarks.gpu.operations.errors import error, is_within
from benchmarks.gpu.operations.graphs import FAMILIES, OPERATIONS, RARE
from benchmarks.gpu.operations.pool import STARTS, Pool
from benchmarks.gpu.operations.record import LINES, VARIANTS, Lines, Row, Task, Variant, key, known, results

ROOT = Path(__file__).parents[2]
FP16_FIXED, FP32_FIXED, FP16_DYNAMIC, FP32_DYNAMIC = VARIANTS
GPU = {"device": "NVIDIA H200", "driver": "1", "tensorflow": "2.14.1", "tensorrt": "8.5.3.1"}
RIGHT = {"absolute": 1.5e-3, "relative": 5e-4, "unlike": 0, "unequal": 9, "elements": 64}

# Answers as `worker.py` does, but for what the names of graphs ask for.
WORKER = """
import json, os, sys, time
print(json.dumps({"device": "D", "tensorrt": "8"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    if task["operation"] == "aborts":
        os.abort()
    if task["operation"] == "hangs":
        time.sleep(60)
    print(json.dumps({**task, "process": os.getpid(), "last": task["operation"] == "poisons"}), flush=True)
"""


def row(operation: str, variant: Variant, **changes: Any) -> Row:
    return {
        "operation": operation,
        "precision": variant.precision,
        "shapes": variant.shapes,
        "machine": GPU,
        "engines": 1,
        "kept": {},
        "layers": {"FP16": 1},
        "error": RIGHT,
        "tensorflow": {**RIGHT, "absolute": 0.0, "relative": 0.0},
        **changes,
    }


def written(folder: Path, *rows: Row) -> Path:
    """A file of results with these rows."""
    made = results({key(one): one for one in rows}, OPERATIONS)
    (folder / operations_results.FILE).write_text(json.dumps(made))
    return folder


def line(page: str, operation: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(f"| `{operation}` |"))


class TestGraphs:
    def test_each_has_a_name_of_its_own(self) -> None:
        assert len(OPERATIONS) == sum(len(family) for family in FAMILIES.values())

    def test_some_150_are_common(self) -> None:
        assert set(OPERATIONS) >= RARE
        assert 150 <= len(OPERATIONS) - len(RARE) <= 200

    def test_they_are_described_where_there_is_no_tensorflow(self) -> None:
        assert "tensorflow" not in sys.modules


class TestOrder:
    def test_fp16_with_fixed_shapes_comes_first_for_all_and_dynamic_shapes_last(self) -> None:
        order = [task.variant for task in tasks([str(variant) for variant in VARIANTS], [])]
        assert list(dict.fromkeys(order)) == [FP16_FIXED, FP32_FIXED, FP16_DYNAMIC, FP32_DYNAMIC]
        assert order == sorted(order, key=VARIANTS.index)

    def test_in_each_the_common_ones_come_before_the_rare_ones(self) -> None:
        order = [task.operation in RARE for task in tasks([str(FP16_FIXED)], [])]
        assert order == sorted(order)
        assert len(order) == len(OPERATIONS)

    def test_what_is_known_is_not_done_again_but_where_it_failed_and_that_is_asked_for(self) -> None:
        done = {
            Task("dense", FP16_FIXED): row("dense", FP16_FIXED),
            Task("lstm", FP16_FIXED): row("lstm", FP16_FIXED, failed="AbortedError"),
            Task("gru", FP16_FIXED): row("gru", FP16_FIXED, ended="The process ended with -6"),
        }
        names = ("dense", "lstm", "gru", "while")
        for again, left in ((False, ["while"]), (True, ["lstm", "gru", "while"])):
            assert [name for name in names if is_left(Task(name, FP16_FIXED), done, again)] == left


class TestRecord:
    def test_a_line_that_was_cut_is_not_known(self, tmp_path: Path) -> None:
        lines = tmp_path / LINES
        lines.write_text(json.dumps(row("dense", FP16_FIXED)) + "\n" + json.dumps(row("lstm", FP16_FIXED))[:40])
        assert list(known([lines])) == [Task("dense", FP16_FIXED)]

    def test_what_is_added_comes_in_the_place_of_what_was_known(self, tmp_path: Path) -> None:
        written(tmp_path, row("dense", FP16_FIXED), row("conv2d-same", FP32_FIXED))
        lines = tmp_path / LINES
        other = {**GPU, "device": "NVIDIA H100"}
        lines.write_text(json.dumps(row("dense", FP16_FIXED, engines=2, machine=other)) + "\n")
        assert operations_results.add([lines], tmp_path) == 2
        found = known([tmp_path / operations_results.FILE])
        assert list(found) == [Task("conv2d-same", FP32_FIXED), Task("dense", FP16_FIXED)]  # as the page has them
        assert found[Task("dense", FP16_FIXED)]["engines"] == 2
        assert [one["machine"]["device"] for one in found.values()] == ["NVIDIA H200", "NVIDIA H100"]

    def test_rows_of_a_machine_without_tensorrt_are_no_results(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="without TensorRT"):
            written(tmp_path, row("dense", FP32_FIXED, machine={**GPU, "tensorrt": ""}))


class TestError:
    def test_it_is_absolute_and_relative_to_the_largest_value_of_its_answer(self) -> None:
        exact = {"y0": np.array([1.0, -4.0]), "y1": np.array([1000.0])}
        told = error({"y0": np.array([1.0, -3.0]), "y1": np.array([999.0])}, exact)
        assert (told["absolute"], told["relative"], told["unequal"], told["elements"]) == (1.0, 0.25, 2, 3)

    def test_infinite_and_no_number_are_alike_only_where_both_are(self) -> None:
        exact = {"y0": np.array([np.inf, np.nan, 1.0, 2.0])}
        assert error(exact, exact)["unlike"] == 0
        told = error({"y0": np.array([-np.inf, np.nan, np.inf, 2.0])}, exact)
        assert told["unlike"] == 2
        assert not is_within(told, 1.0)

    def test_what_has_another_shape_is_never_within(self) -> None:
        told = error({"y0": np.zeros((2, 3))}, {"y0": np.zeros((3, 2))})
        assert told["shape"] == "[2, 3] in place of [3, 2]"
        assert not is_within(told, 1.0)


class TestPool:
    def run(self, folder: Path, *names: str, worker: str = WORKER, limit: float = 30.0, workers: int = 2) -> list[Row]:
        script = folder / "worker.py"
        script.write_text(worker)
        self.pool = Pool(
            [sys.executable, str(script)],
            folder,
            Lines(folder / LINES),
            {"commit": "c"},
            limit,
            time.monotonic() + 60,
        )
        rows = self.pool.run([Task(name, FP16_FIXED) for name in names], workers)
        assert list(known([folder / LINES]).values()) == rows  # all were written
        return rows

    def test_every_graph_gets_a_row_that_says_where_it_was_made(self, tmp_path: Path) -> None:
        rows = self.run(tmp_path, "a", "b", "c")
        assert sorted(one["operation"] for one in rows) == ["a", "b", "c"]
        assert all(one["machine"]["device"] == "D" and one["commit"] == "c" for one in rows)

    def test_a_process_that_ends_loses_its_graph_alone(self, tmp_path: Path) -> None:
        rows = self.run(tmp_path, "a", "aborts", "b", workers=1)
        assert [one["operation"] for one in rows] == ["a", "aborts", "b"]
        assert rows[1]["ended"].startswith("The process ended with -6")
        assert "ended" not in rows[2]
        assert rows[0]["process"] != rows[2]["process"]

    def test_a_process_that_says_so_is_asked_nothing_more(self, tmp_path: Path) -> None:
        rows = self.run(tmp_path, "poisons", "a", workers=1)
        assert [one["operation"] for one in rows] == ["poisons", "a"]
        assert rows[0]["process"] != rows[1]["process"]
        assert all("ended" not in one and "last" not in one for one in rows)

    def test_a_graph_that_takes_too_long_is_ended_and_told(self, tmp_path: Path) -> None:
        rows = self.run(tmp_path, "hangs", "a", limit=1.0, workers=1)
        assert rows[0]["ended"] == "It took longer than 1 s."
        assert rows[1]["operation"] == "a"

    def test_when_the_time_is_over_the_graph_that_is_being_measured_has_no_row(self, tmp_path: Path) -> None:
        script = tmp_path / "worker.py"
        script.write_text(WORKER)
        end = time.monotonic() + 2
        pool = Pool([sys.executable, str(script)], tmp_path, Lines(tmp_path / LINES), {}, 30, end)
        rows = pool.run([Task("a", FP16_FIXED), Task("hangs", FP16_FIXED), Task("b", FP16_FIXED)], 1)
        assert [one["operation"] for one in rows] == ["a"]
        assert pool.failed_starts == []

    def test_a_process_that_never_starts_is_given_up(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "a", "b", worker="raise SystemExit(1)", workers=1) == []
        assert len(self.pool.failed_starts) == STARTS


class TestPage:
    def test_it_is_that_of_the_file(self) -> None:
        page = operations_results.page(ROOT / "benchmarks" / "results")
        assert operations_results.PAGE.read_text() == page

    def test_what_no_run_has_reached_is_not_measured(self, tmp_path: Path) -> None:
        page = operations_results.page(written(tmp_path, row("dense", FP16_FIXED)))
        cells = line(page, "dense").split(" | ")
        assert cells[3:7] == ["1", "not measured", "not measured", "not measured"]
        assert line(page, "lstm").count("not measured") == 4

    def test_the_larger_error_counts_relative_and_absolute(self, tmp_path: Path) -> None:
        worse = {**RIGHT, "relative": 2e-3, "absolute": 4e-3}
        folder = written(tmp_path, row("dense", FP16_FIXED), row("dense", FP16_DYNAMIC, error=worse))
        assert "| 0.002 (0.004) |" in line(operations_results.page(folder), "dense")

    def test_it_says_where_tensorrt_took_fp32(self, tmp_path: Path) -> None:
        folder = written(
            tmp_path,
            row("dense", FP16_FIXED, layers={"FP32": 2}),
            row("dense", FP32_FIXED, layers={"FP32": 2}),
            row("conv2d-same", FP16_FIXED, layers={"FP16": 1, "FP32": 1}),
        )
        page = operations_results.page(folder)
        assert "| 1, in FP32 | 1 |" in line(page, "dense")
        assert "| 1 | not measured |" in line(page, "conv2d-same")

    def test_it_says_what_is_kept_and_why_and_when(self, tmp_path: Path) -> None:
        kept = {"ResizeBilinear": ["half_pixel_centers is only supported by ResizeNearest | or not."]}
        left: dict[str, Any] = {"engines": 0, "kept": kept, "layers": {}}
        page = operations_results.page(
            written(tmp_path, row("bilinear", FP16_FIXED, **left), row("bilinear", FP16_DYNAMIC))
        )
        told = line(page, "bilinear")
        assert "| TensorFlow |" in told
        assert "ResizeBilinear (fixed): half_pixel_centers is only supported by ResizeNearest \\| or not." in told

    def test_answers_that_are_off_are_told_first(self, tmp_path: Path) -> None:
        wrong, infinite = {**RIGHT, "relative": 0.5}, {**RIGHT, "unlike": 3}
        folder = written(
            tmp_path,
            row("dense", FP16_FIXED),
            row("einsum-values", FP16_FIXED, error=wrong),
            row("edge-exp", FP16_FIXED, error=infinite),
        )
        page = operations_results.page(folder)
        told = page.partition("## Answers that are off")[2].partition("## Convolutions")[0]
        assert "| `einsum-values` | FP16, fixed | 0.5 (0.0015) |" in told
        assert "| `edge-exp` | FP16, fixed | infinite or no number in 3 of 64 |" in told
        assert "`dense`" not in told

    def test_what_failed_is_told_below_the_table(self, tmp_path: Path) -> None:
        failed = {"failed": "AbortedError: no engine | Could not find any implementation"}
        folder = written(
            tmp_path,
            row("conv2d-grouped", FP16_FIXED, **failed),
            row("conv2d-grouped", FP32_FIXED, **failed),
            {**Task("lstm", FP16_FIXED).asked(), "machine": GPU, "ended": "The process ended with -6: free()"},
        )
        page = operations_results.page(folder)
        assert "| **failed** | **failed** |" in line(page, "conv2d-grouped")
        words = "AbortedError: no engine \\| Could not find any implementation"
        assert f"- `conv2d-grouped`, FP16 fixed, FP32 fixed: {words}" in page
        assert "- `lstm`, FP16 fixed: The process ended with -6: free()" in page

    def test_every_operation_is_found_by_tensorflows_name(self, tmp_path: Path) -> None:
        names = operations_results.page(tmp_path).partition("## By TensorFlow's name")[2]
        assert "| `FusedBatchNormV3` | [Normalizations](#normalizations) |" in names
        assert "[Products, einsum and attention](#products-einsum-and-attention)" in names
        for anchor in {part.partition(")")[0] for part in names.split("(#")[1:]}:
            assert anchor in {name.lower().replace(",", "").replace(" ", "-") for name in FAMILIES}
