"""Writes docs/tensorflow-operations.md from operations.json in `results/` (`make operations-results`).

    python -m benchmarks.operations_results [--add FOLDER/operations.jsonl...]

With `--add` the rows that a run of `benchmarks.gpu.operations` wrote are put into that file before, in place of what
it had of the same graphs. A unit test holds the page to be just what this makes of the file.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.operations.graphs import FAMILIES, OPERATIONS
from benchmarks.gpu.operations.operation import Operation
from benchmarks.gpu.operations.record import VARIANTS, Row, Task, Variant, known, results
from benchmarks.tables import table

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "tensorflow-operations.md"
FILE = "operations.json"
NOT_MEASURED = "not measured"

# More than rounding makes of a graph of one operation, relative to the largest value. TensorRT computes FP32 in TF32,
# which has the digits of FP16.
WRONG = {"FP16": 2e-2, "FP32": 5e-3}
REASON_CHARACTERS = 160
FAILURE_CHARACTERS = 400

HEAD = """# TensorFlow's operations

Written by `make operations-results` from [operations.json](../benchmarks/results/operations.json), which
`python -m benchmarks.gpu.operations` measures on a GPU; a test fails when page and file differ.

What TF-TRT makes of each operation as this product converts it, in a small graph of that operation alone. The product's
rewrites are done before, so that an operation that TensorRT has not may be in an engine all the same. Find yours by
family, or by the name that it has in TensorFlow's graphs, and in a model's `status` and report, in [the list at the
end](#by-tensorflows-name).

"Fixed" is a conversion without `spec.conversion.dynamicShapes`: an engine for each batch size, all other sizes known.
"Dynamic" is `dynamicShapes: Range`: one engine for batches of 1 to 4, and where a model may leave other sizes open they
are. `minimumSegmentSize` is 1, because one operation is all there is; a model's default is 3, so that an operation that
stands alone between others that TensorFlow keeps is kept, too.

| cell | means |
| --- | --- |
| 1, 2, ... | so many engines |
| 1, in FP32 | TensorRT, which may choose, computes it in FP32 although FP16 was asked for |
| TensorFlow | no engine: TensorFlow runs it, on the GPU where it has a kernel for one |
| failed | TF-TRT takes it, and then TensorRT cannot build or run it; what was said is told below the table |
| not measured | nobody has yet |

"Kept" is what TensorFlow runs of the graph, with TF-TRT's reason. Errors are the largest of all elements relative to
the largest value of the answer, and in brackets absolute; against the same graph in float64 on the CPU, or where
TensorFlow has no such kernel against NumPy (marked N) or float32 (marked S). The larger one of fixed and dynamic shapes
counts. Inputs and weights are numbers that FP16 has, so that an error is of what is computed. TensorFlow's own is of
the graph as it was before, on the same GPU in true FP32; engines of FP32 use TF32 as TensorRT does by default.
"""

OFF = """## Answers that are off

More than rounding makes of one operation: over {fp16} in FP16, over {fp32} in FP32, or infinite or no number where the
exact answer is not. Numbers at the edge of FP16 are among them on purpose.
"""

BY_NAME = """## By TensorFlow's name

The names of operations in graphs, and in which families they are above.
"""


def page(results_folder: Path) -> str:
    """The whole page."""
    file = results_folder / FILE
    rows = known([file])
    parts = [HEAD]
    if rows:
        parts += [_machines(json.loads(file.read_text())["machines"]), _counts(rows)]
    parts += _off(rows)
    for name, family in FAMILIES.items():
        parts += [f"## {name}\n", _family(family, rows), *_failures(family, rows)]
    parts += [BY_NAME, table(("operation", "family"), _by_name())]
    return "\n".join(parts)


def _machines(machines: Sequence[dict[str, Any]]) -> str:
    told = [
        f"{one['device']}, driver {one['driver']}, TensorFlow {one['tensorflow']}, TensorRT {one['tensorrt']}"
        for one in machines
    ]
    return f"Measured on {'; '.join(told)}.\n"


def _counts(rows: dict[Task, Row]) -> str:
    counted = []
    for variant in VARIANTS:
        of = [row for task, row in rows.items() if task.variant == variant and task.operation in OPERATIONS]
        whole = sum(1 for row in of if row.get("engines") and not row["kept"] and "failed" not in row)
        part = sum(1 for row in of if row.get("engines") and row["kept"] and "failed" not in row)
        left = sum(1 for row in of if row.get("engines") == 0 and "failed" not in row)
        failed = len(of) - whole - part - left
        counted.append((str(variant).replace("-", ", "), len(of), whole, part, left, failed))
    head = ("", f"measured of {len(OPERATIONS)}", "engines alone", "in part", "TensorFlow", "failed")
    return table(head, counted)


def _off(rows: dict[Task, Row]) -> Iterator[str]:
    found = [
        (f"`{task.operation}`", str(task.variant).replace("-", ", "), _error(row["error"]), _error(row["tensorflow"]))
        for task, row in rows.items()
        if "error" in row and task.operation in OPERATIONS and _is_off(task.variant, row)
    ]
    if found:
        yield OFF.format(fp16=f"{WRONG['FP16']:g}", fp32=f"{WRONG['FP32']:g}")
        yield table(("graph", "", "error", "TensorFlow's own"), found)


def _is_off(variant: Variant, row: Row) -> bool:
    error = row["error"]
    return bool("shape" in error or error["unlike"] or error["relative"] > WRONG[variant.precision])


def _family(family: Iterable[Operation], rows: dict[Task, Row]) -> str:
    head = ("graph", "operation", "in Python", *(str(variant).replace("-", " ") for variant in VARIANTS))
    return table(
        (*head, "kept by TensorFlow, and why", "error FP16", "error FP32", "TensorFlow's own"),
        [_line(operation, rows) for operation in family],
    )


def _line(operation: Operation, rows: dict[Task, Row]) -> Sequence[object]:
    of = {variant: rows[Task(operation.name, variant)] for variant in VARIANTS if Task(operation.name, variant) in rows}
    cells = (f"`{operation.name}`", operation.operation, f"`{operation.call}`")
    own = _largest(row["tensorflow"] for row in of.values() if "tensorflow" in row)
    mark = " N" if operation.exact else " S" if operation.reference_in == "float32" else ""
    return (
        *cells,
        *(_engines(of.get(variant), variant) for variant in VARIANTS),
        _kept(of),
        *(_largest(_errors(of, precision)) for precision in WRONG),
        f"{own}{mark}" if own else "",
    )


def _engines(row: Row | None, variant: Variant) -> str:
    if row is None:
        return NOT_MEASURED
    if "failed" in row or "ended" in row:
        return "**failed**"
    if not row["engines"]:
        return "TensorFlow"
    computed = row["layers"]
    half = variant.precision != "FP16" or "FP16" in computed or "FP32" not in computed
    return str(row["engines"]) if half else f"{row['engines']}, in FP32"


def _kept(of: dict[Variant, Row]) -> str:
    """What is kept, and of which variants where it is not all of them."""
    with_graph = {variant: row["kept"] for variant, row in of.items() if "kept" in row}
    told = []
    for name in sorted({name for kept in with_graph.values() for name in kept}):
        keeping = [variant for variant, kept in with_graph.items() if name in kept]
        reasons = list(dict.fromkeys(reason for variant in keeping for reason in with_graph[variant][name]))
        why = f": {_cut(_escaped('; '.join(reasons)), REASON_CHARACTERS)}" if reasons else ""
        when = "" if len(keeping) == len(with_graph) else f" ({_when(keeping, list(with_graph))})"
        told.append(f"{name}{when}{why}")
    return "<br>".join(told)


def _when(keeping: Sequence[Variant], measured: Sequence[Variant]) -> str:
    for shapes in ("fixed", "dynamic"):
        if set(keeping) == {variant for variant in measured if variant.shapes == shapes}:
            return shapes
    return ", ".join(str(variant).replace("-", " ") for variant in keeping)


def _errors(of: dict[Variant, Row], precision: str) -> Iterator[dict[str, Any]]:
    return (row["error"] for variant, row in of.items() if variant.precision == precision and "error" in row)


def _largest(errors: Iterable[dict[str, Any]]) -> str:
    def weight(error: dict[str, Any]) -> tuple[bool, int, float]:
        return "shape" in error, error["unlike"], error["relative"]

    found = list(errors)
    return _error(max(found, key=weight)) if found else ""


def _error(error: dict[str, Any]) -> str:
    if "shape" in error:
        return f"shape {error['shape']}"
    if error["unlike"]:
        return f"infinite or no number in {error['unlike']} of {error['elements']}"
    return f"{error['relative']:.2g} ({error['absolute']:.2g})" if error["absolute"] else "0"


def _failures(family: Iterable[Operation], rows: dict[Task, Row]) -> Iterator[str]:
    told: dict[tuple[str, str], list[str]] = {}
    for operation in family:
        for variant in VARIANTS:
            row = rows.get(Task(operation.name, variant), {})
            words = row.get("failed") or row.get("ended")
            if words:
                said = (operation.name, _cut(_escaped(" ".join(words.split())), FAILURE_CHARACTERS))
                told.setdefault(said, []).append(str(variant).replace("-", " "))
    if told:
        yield "\n".join(f"- `{name}`, {', '.join(when)}: {words}" for (name, words), when in told.items()) + "\n"


def _by_name() -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for family, operations in FAMILIES.items():
        link = f"[{family}](#{re.sub(r'[^a-z0-9 -]', '', family.lower()).replace(' ', '-')})"
        for operation in operations:
            for name in re.findall(r"\b[A-Z][A-Za-z0-9]+\b", operation.operation):
                links = found.setdefault(name, [])
                if link not in links:
                    links.append(link)
    return [(f"`{name}`", ", ".join(links)) for name, links in sorted(found.items(), key=lambda item: item[0].lower())]


def _escaped(text: str) -> str:
    """Words of TensorFlow for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 3].rstrip()}..."


def add(files: Sequence[Path], results_folder: Path) -> int:
    """Put the rows of these files into the file of results; how many there are in it then."""
    file = results_folder / FILE
    rows = known([file, *files])
    file.write_text(json.dumps(results(rows, OPERATIONS), indent=1) + "\n")
    return len(rows)


def main(arguments: Sequence[str]) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Writes docs/tensorflow-operations.md.")
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="FILE", help="lines that a run wrote")
    options = parser.parse_args(arguments)
    if missing := [str(file) for file in options.add if not file.exists()]:
        parser.error(f"there is no {', '.join(missing)}")
    if options.add:
        print(f"{add(options.add, HERE / 'results')} rows in {FILE}")
    PAGE.write_text(page(HERE / "results"))


if __name__ == "__main__":
    main(sys.argv[1:])
