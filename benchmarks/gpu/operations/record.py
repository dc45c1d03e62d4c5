"""The rows that were measured: one line of JSON each, written at once, and the file of all that are known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

Row = dict[str, Any]

LINES = "operations.jsonl"
LOG = "log.txt"  # of a process that measures, in its folder


@dataclasses.dataclass(frozen=True)
class Variant:
    """A precision, and whether shapes are `fixed` or `dynamic`."""

    precision: str
    shapes: str

    def __str__(self) -> str:
        return f"{self.precision}-{self.shapes}"


# In the order in which they are measured.
VARIANTS = tuple(Variant(precision, shapes) for shapes in ("fixed", "dynamic") for precision in ("FP16", "FP32"))


@dataclasses.dataclass(frozen=True)
class Task:
    """A graph in one variant."""

    operation: str
    variant: Variant

    def asked(self) -> dict[str, str]:
        """The task as a worker is told it, and as the row has it."""
        return {"operation": self.operation, **dataclasses.asdict(self.variant)}


def key(row: Row) -> Task:
    """What a row is of."""
    return Task(row["operation"], Variant(row["precision"], row["shapes"]))


def known(files: Iterable[Path]) -> dict[Task, Row]:
    """All rows of these files: of lines (`.jsonl`, the last may be cut) or of results; the later row counts."""
    found: dict[Task, Row] = {}
    for file in files:
        if file.exists():
            rows = _lines(file) if file.suffix == ".jsonl" else _results(file)
            found |= {key(row): row for row in rows}
    return found


def _lines(file: Path) -> Iterable[Row]:
    for line in file.read_text().splitlines():
        with suppress(json.JSONDecodeError):  # whoever wrote it was killed
            yield json.loads(line)


def _results(file: Path) -> Iterable[Row]:
    results = json.loads(file.read_text())
    for row in results["rows"]:
        yield {**row, "machine": results["machines"][row["machine"]]}


def results(rows: dict[Task, Row], order: Iterable[str]) -> dict[str, Any]:
    """What benchmarks/results/operations.json has, with the operations in this order.

    Raises:
        ValueError: a row was made without a GPU.
    """
    machines: list[dict[str, Any]] = []
    made = []
    places = {name: place for place, name in enumerate(order)}
    by_place = sorted(rows, key=lambda task: (places.get(task.operation, len(places)), VARIANTS.index(task.variant)))
    for task in by_place:
        row = rows[task]
        if not row["machine"]["tensorrt"]:
            raise ValueError(f"The row {task.operation} {task.variant} was made without TensorRT (--cpu)")
        if row["machine"] not in machines:
            machines.append(row["machine"])
        made.append({**row, "machine": machines.index(row["machine"])})
    return {"machines": machines, "rows": made}


class Lines:
    """A file of lines that grows; each line is there as soon as it was added."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a")

    def add(self, row: Row) -> None:
        """Write a row."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
