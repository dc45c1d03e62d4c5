"""What the runs amount to, as tables: of several rounds the quickest, for what else a machine does makes one slower.

Beside the seconds are those of the processor, which a neighbour changes less.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.tables import table

Told = dict[str, Any]
KINDS = {
    "job": "`tftrt convert` of a Job, start to exit",
    "byHand": "`tftrt convert SOURCE TARGET`, start to exit",
    "ready": "`tftrt serve`, start to ready",
}


def markdown(found: Told) -> str:
    """All tables."""
    return "\n".join(_parts(found))


def _parts(found: Told) -> Iterable[str]:
    builds = list(found["commits"])
    heads = [name if commit in (name, "unknown") else f"{name} ({commit})" for name, commit in found["commits"].items()]
    rows = {(row["model"], row["build"]): row for row in found["rows"]}
    models = list(dict.fromkeys(row["model"] for row in found["rows"]))
    lines = []
    for model in models:
        for kind, what in KINDS.items():
            best = [quickest(rows[model, build][kind]) for build in builds]
            lines.append([model, what, *map(_total, best), _ratio(best[0], best[-1])])
    yield table(["model", "seconds, of them the processor's; processes with TensorFlow", *heads, "last / first"], lines)
    for model in models:
        for kind, what in (("job", KINDS["job"]), ("ready", KINDS["ready"])):
            best = [quickest(rows[model, build][kind]) for build in builds]
            stages = list(dict.fromkeys(stage for run in best if run for stage in run["stages"]))
            if stages:
                yield f"{model}, {what}, seconds by stage:\n"
                yield table(
                    ["stage", *heads], [[f"{stage}", *(_stage(run, stage) for run in best)] for stage in stages]
                )


def quickest(runs: list[Told]) -> Told | None:
    """The run with the least seconds."""
    return min(runs, key=lambda run: float(run["seconds"]), default=None)


def _total(run: Told | None) -> str:
    if run is None:
        return ""
    processes = f"; {run['processes']}" if run["processes"] else ""
    return f"{run['seconds']:.1f}, {run['processorSeconds']:.1f}{processes}"


def _ratio(first: Told | None, last: Told | None) -> str:
    if first is None or last is None:
        return ""
    of_processor = last["processorSeconds"] / first["processorSeconds"]
    return f"{last['seconds'] / first['seconds']:.2f}, {of_processor:.2f}"


def _stage(run: Told | None, stage: str) -> str:
    return "" if run is None or stage not in run["stages"] else f"{run['stages'][stage]:.2f}"
