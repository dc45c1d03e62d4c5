"""Writes docs/performance.md from engine-room.json in `results/` (`make performance-results`).

A unit test holds the page to be just what this makes of the file: no figure of the bench is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.engine_room.summary import rows
from benchmarks.machine import Machine, machine_sentence
from benchmarks.tables import table

Json = dict[str, Any]
HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"

HEAD = """# Performance

Written by `make performance-results` from [engine-room.json](../benchmarks/results/engine-room.json), which `make
bench` wrote; a test fails when page and file differ.
"""

HOW = """Many TRTModels are applied at once to a real API server, and a driver plays the controllers of Jobs and
Deployments and the kubelet, so that no node and no GPU sets the pace. The models are in {namespaces} namespaces and ask
for the `cpu` runtime, each with an engine, a server, a Service and the NetworkPolicies of its own. Each step of a pod's
life is played for all models before the next one begins, and the operator has nothing more to write by then: none of
its writes is saved by a step that it did not see. Times and counts are those of the API server's audit log; CPU and
memory are the kernel's for the operator's process. [What begins and ends each
time](../benchmarks/engine_room/__init__.py) is said with the code.
"""

PHASES = """## Where the CPU of a phase goes

Seconds of CPU of each process, and the time that the phase took. The driver's are a part of what is measured: it marks
the Jobs as done while the operator works.
"""

REQUESTS = """## Requests of a model

From apply to Ready, by verb and kind; writes, and then what is read besides by watches.
"""


LEADS = HERE / "engine_room" / "leads.md"
"""Written by hand: what was measured when a change was made, and is not measured again."""


def page(results: Path) -> str:
    """The whole page; the figures of the bench are left out where its file is not there."""
    file = results / "engine-room.json"
    return "\n".join([HEAD, *(_parts(json.loads(file.read_text())) if file.exists() else ()), LEADS.read_text()])


def _parts(found: Json) -> Iterable[str]:
    runs = [run for run in (found["baseline"], *found["rows"]) if run]
    heads = [f"{run['commit']}, {run['models']:,}" for run in runs]
    yield HOW.format(namespaces=runs[0]["namespaces"])
    figures = [
        (row.what, *((row.baseline,) if found["baseline"] else ()), *row.figures, row.goal, row.verdict)
        for row in rows(found)
    ]
    yield table(("build, models", *heads, "reach", ""), figures)
    loads = ", ".join(f"{run['load_before']:g}" for run in runs)
    yield f"{machine_sentence(Machine(**found['machine']))} Before each run the machine's load was {loads}.\n"
    yield PHASES
    yield table(("phase", "build, models", "s", "CPU s"), [row for run in runs for row in _phases(run)])
    yield REQUESTS
    for kinds in ("writes_a_model", "reads_a_model"):
        of = dict.fromkeys(kind for run in reversed(runs) for kind in run.get(kinds, ()))
        yield table(("request", *heads), [(kind, *(run.get(kinds, {}).get(kind, 0) for run in runs)) for kind in of])


def _phases(run: Json) -> list[tuple[object, ...]]:
    names = {
        "jobs": "first",
        "bare_jobs": "first, bare client",
        "servers": "second",
        "bare_servers": "second, bare client",
    }
    return [
        (
            words,
            f"{run['commit']}, {run[phase]['models']:,}",
            f"{run[phase]['seconds']:.1f}",
            ", ".join(f"{name} {seconds:.1f}" for name, seconds in run[phase]["cpu_seconds"].items()),
        )
        for phase, words in names.items()
        if phase in run
    ]


if __name__ == "__main__":
    PAGE.write_text(page(HERE / "results"))
