"""What the runs come to: a document for files, rows with what is to be reached, a table for people.

The table and docs/performance.md are made of the document, not of the runs: what they say is what the file says.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from benchmarks.machine import Machine

from .results import Phase, Run

Json = dict[str, Any]
LEAST_RATE, LEAST_SHARE_OF_BARE = 100.0, 0.8
MOST_SHARE_OF_CPU, MOST_SECOND_CPU_MILLISECONDS = 0.4, 10.0
MOST_WRITES = 10.0
MOST_MIB = ((1000, 120.0), (10_000, 400.0))
"""Of resident memory, with at most so many models Ready."""
MOST_START_SECONDS = 20.0
MOST_CHANGE_MILLISECONDS, MOST_CHANGE_MILLISECONDS_BESIDE_OTHERS = 250.0, 1000.0


def document(machine: Machine, runs: Sequence[Run]) -> Json:
    """Return all that was found, for a file: of the baseline, and of this build at each size."""
    found: Json = {"step": "engine-room", "baseline": {}, "rows": []}
    for run in runs:
        found = with_run(found, machine, run)
    return found


def with_run(found: Json, machine: Machine, run: Run) -> Json:
    """Return a document with a run, in the place of another one of that build at that size."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = {**found, "finished_at": now, "machine": asdict(machine)}
    if run.build == "baseline":
        return {**found, "baseline": _told(run, "baseline_rate")}
    told = _told(run, "models_per_second")
    others = [row for row in found["rows"] if row["models"] != run.models]
    return {**found, "rows": sorted([*others, told], key=lambda row: int(row["models"]))}


def _told(run: Run, rate: str) -> Json:
    def phase(found: Phase) -> Json:
        return {rate: found.models_per_second, **asdict(found), "seconds": round(found.seconds, 3)}

    told = {name: part for name, part in asdict(run).items() if part is not None}
    del told["build"]
    if run.jobs is not None:
        told["jobs"] = phase(run.jobs)
    if run.servers is not None:
        told["servers"] = phase(run.servers)
    for name, bare in (("bare_jobs", run.bare_jobs), ("bare_servers", run.bare_servers)):
        if bare is not None:
            told[name] = {**asdict(bare), "models_per_second": bare.models_per_second}
    if run.writes_a_model is not None:
        told["writes"] = round(sum(run.writes_a_model.values()), 2)
    if run.idle is not None:
        told["idle"]["requests_per_minute"] = run.idle.requests_per_minute
    return told


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is measured: the baseline's figure, ours at each size, and what is to be reached."""

    what: str
    baseline: str
    figures: tuple[str, ...]
    goal: str
    reached: tuple[bool | None, ...]
    """At each size; None where there is no goal."""

    @property
    def is_reached(self) -> bool:
        """Whether it is at every size that has been measured."""
        return all(one is not False for one in self.reached)

    @property
    def verdict(self) -> str:
        """One word, or one for each size where they differ."""
        words = ["" if one is None else "reached" if one else "missed" for one in self.reached]
        return words[0] if len(set(words)) == 1 else " / ".join(word or "-" for word in words)


def rows(found: Json) -> list[Row]:
    """Return what a document says."""
    return list(_rows(found["baseline"], found["rows"]))


def _rows(old: Json, ours: Sequence[Json]) -> Iterator[Row]:
    def row(
        what: str, of: Callable[[Json], str], goal: str, reached: Callable[[Json], bool | None] = lambda _: None
    ) -> Row:
        def figure(run: Json) -> str:
            try:
                return of(run)
            except KeyError:  # it has not been measured
                return ""

        def is_reached(run: Json) -> bool | None:
            try:
                return reached(run)
            except KeyError:
                return None

        return Row(what, figure(old), tuple(map(figure, ours)), goal, tuple(map(is_reached, ours)))

    others = max((run["others"] for run in (old, *ours) if run), default=0)

    def rate(phase: Json) -> float:
        return float(phase["baseline_rate"] if "baseline_rate" in phase else phase["models_per_second"])

    yield row(
        "applied -> all Jobs created, models/s",
        lambda run: f"{rate(run['jobs']):,.1f}",
        f">= {LEAST_RATE:g}",
        lambda run: rate(run["jobs"]) >= LEAST_RATE,
    )
    yield row(
        "- a bare client with the writes that one model takes alone, models/s",
        lambda run: f"{rate(run['bare_jobs']):,.1f}",
        "",
    )
    yield row(
        "all Jobs done -> all Deployments, Services, policies created, models/s",
        lambda run: f"{rate(run['servers']):,.1f}",
        f">= {LEAST_RATE:g}, or {LEAST_SHARE_OF_BARE:g} of the bare client",
        lambda run: rate(run["servers"]) >= min(LEAST_RATE, LEAST_SHARE_OF_BARE * rate(run["bare_servers"])),
    )
    yield row(
        "- a bare client with the writes that one model takes alone, models/s",
        lambda run: f"{rate(run['bare_servers']):,.1f}",
        "",
    )
    yield row(
        "- writes a model in this phase: operator / bare client",
        lambda run: f"{run['writes_a_model_in_second_phase']:.1f} / {run['bare_writes_a_model']}",
        "",
    )
    yield row(
        "CPU of the operator a model, from apply to Ready, ms",
        lambda run: f"{run['cpu_milliseconds_a_model']:.1f}",
        f"<= {MOST_SHARE_OF_CPU:g} of the baseline's",
        lambda run: run["cpu_milliseconds_a_model"] <= MOST_SHARE_OF_CPU * old["cpu_milliseconds_a_model"],
    )
    yield row(
        "- of it in the second phase, ms",
        lambda run: f"{run['cpu_milliseconds_a_model_in_second_phase']:.1f}",
        f"<= {MOST_SECOND_CPU_MILLISECONDS:g}",
        lambda run: run["cpu_milliseconds_a_model_in_second_phase"] <= MOST_SECOND_CPU_MILLISECONDS,
    )
    yield row(
        "writes a model, from apply to Ready, status and Events included",
        lambda run: f"{run['writes']:.1f}",
        f"<= {MOST_WRITES:g}",
        lambda run: run["writes"] <= MOST_WRITES,
    )
    yield row(
        "memory with all models Ready: resident / peak, MiB",
        lambda run: f"{run['memory']['now']:.0f} / {run['memory']['peak']:.0f}",
        ", ".join(f"<= {mib:g} at {size:,}" for size, mib in MOST_MIB),
        lambda run: _is_within(run["memory"]["now"], run["models"]),
    )
    yield row(
        "memory after a start with all models Ready: resident / peak, MiB",
        lambda run: f"{run['start']['memory']['now']:.0f} / {run['start']['memory']['peak']:.0f}",
        "the same",
        lambda run: _is_within(run["start"]["memory"]["now"], run["models"]),
    )
    yield row(
        "start with all models Ready: CPU s / s until quiet / writes",
        lambda run: "{cpu_seconds:.1f} / {seconds:.1f} / {writes}".format_map(run["start"]),
        f"CPU <= {MOST_START_SECONDS:g} s, no writes",
        lambda run: run["start"]["cpu_seconds"] <= MOST_START_SECONDS and run["start"]["writes"] == 0,
    )
    yield row(
        "spec change -> first write, p99, nothing else to do, ms",
        lambda run: f"{run['change_when_idle']['p99']:,.0f}",
        f"< {MOST_CHANGE_MILLISECONDS:g}",
        lambda run: run["change_when_idle"]["p99"] < MOST_CHANGE_MILLISECONDS,
    )
    yield row(
        f"spec change -> first write, p99, while {others:,} others are converted, ms",
        lambda run: f"{run['change_while_others_convert']['p99']:,.0f}",
        f"< {MOST_CHANGE_MILLISECONDS_BESIDE_OTHERS:g}",
        lambda run: run["change_while_others_convert"]["p99"] < MOST_CHANGE_MILLISECONDS_BESIDE_OTHERS,
    )
    yield row(
        "- until the API server has answered the change itself, p99, ms",
        lambda run: f"{run['change_requests_while_others_convert']['p99']:,.0f}",
        "",
    )
    yield row(
        "nothing changes: requests a minute, without Leases and re-opened watches",
        lambda run: f"{run['idle']['requests_per_minute']:g}",
        "0",
        lambda run: run["idle"]["requests_per_minute"] == 0,
    )


def _is_within(mib: float, models: int) -> bool | None:
    most = next((most for size, most in MOST_MIB if models <= size), None)
    return None if most is None else mib <= most


def printed(found: Json) -> Table:
    """Return the rows for people."""
    ours = found["rows"]
    made = Table(title="The engine room", title_justify="left")
    made.add_column("")
    for run in (found["baseline"], *ours):
        made.add_column(f"{run['commit']}\n{run['models']:,} models" if run else "", justify="right")
    for heading in ("reach", ""):
        made.add_column(heading)
    for row in rows(found):
        made.add_row(row.what, row.baseline, *row.figures, row.goal, row.verdict)
    return made
