"""What the runs come to: percentiles, the goal, a table for people and a document for files."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from benchmarks.machine import Machine

from .run import HOSTILE_MODELS, LONGEST_WAIT_SECONDS, Run
from .webhook import WRITE_SECONDS

GOAL_RATIO, GOAL_SECONDS = 2.0, 0.5
NEVER = math.inf


def percentile(run: Run, share: float) -> float:
    """Return the seconds within which this share of the models had their Jobs, by nearest rank; infinite for never."""
    ordered = sorted(NEVER if seconds is None else seconds for seconds in run.seconds)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def is_goal_reached(runs: Sequence[Run]) -> bool:
    """Return whether the first two runs, this build's, are near enough to each other."""
    alone, beside = (percentile(run, 0.99) for run in runs[:2])
    return beside <= GOAL_RATIO * alone or beside < GOAL_SECONDS


def goal_sentence(runs: Sequence[Run]) -> str:
    """Say what the goal is, and whether it is reached."""
    alone, beside = (percentile(run, 0.99) for run in runs[:2])
    goal = f"p99 at most {GOAL_RATIO:g} times that with nothing else, or under {GOAL_SECONDS * 1000:g} ms"
    reached = "reached" if is_goal_reached(runs) else "NOT reached"
    return f"The goal is {reached}: {goal}. It is {_words(beside)} beside the hostile tenant, {_words(alone)} without."


def table(runs: Sequence[Run]) -> Table:
    """Return a row for each run."""
    title = (
        f"From the creation of a TRTModel to its Job; hostile: {HOSTILE_MODELS} whose writes take {WRITE_SECONDS:g} s"
    )
    made = Table(title=title, title_justify="left")
    for heading in ("build", "commit", "beside it"):
        made.add_column(heading)
    for heading in (
        "models",
        "p50",
        "p99",
        "worst",
        "under way\nmean / most",
        "begun\nmeanwhile",
        "hostile models\nseen",
    ):
        made.add_column(heading, justify="right")
    for run in runs:
        times = [_words(percentile(run, share)) for share in (0.5, 0.99, 1.0)]
        pressure = ["", "", ""]
        if (found := run.pressure) is not None:
            pressure = [
                f"{found.mean_under_way:.1f} / {found.most_under_way}",
                f"{found.begun}",
                f"{found.models_seen}",
            ]
        setting = run.setting
        beside = "hostile tenant" if setting.hostile else "nothing"
        made.add_row(setting.name, setting.build.commit, beside, f"{setting.models}", *times, *pressure)
    return made


def document(machine: Machine, runs: Sequence[Run]) -> dict[str, Any]:
    """Return all that was found, for a file; a time that was waited for in vain is null."""
    return {
        "step": "fairness",
        "finishedAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {_camel(name): value for name, value in asdict(machine).items()},
        "hostileModels": HOSTILE_MODELS,
        "writeSeconds": WRITE_SECONDS,
        "longestWaitSeconds": LONGEST_WAIT_SECONDS,
        "goal": {
            "p99Ratio": GOAL_RATIO,
            "p99Milliseconds": GOAL_SECONDS * 1000,
            "reached": is_goal_reached(runs),
        },
        "rows": [_row(run) for run in runs],
    }


def _row(run: Run) -> dict[str, Any]:
    return {
        "build": run.setting.name,
        "commit": run.setting.build.commit,
        "hostile": run.setting.hostile,
        "models": run.setting.models,
        "notSeenInTime": sum(seconds is None for seconds in run.seconds),
        "p50Milliseconds": _milliseconds(percentile(run, 0.5)),
        "p99Milliseconds": _milliseconds(percentile(run, 0.99)),
        "worstMilliseconds": _milliseconds(percentile(run, 1.0)),
        "webhook": None if run.pressure is None else _pressure(run),
        "milliseconds": [_milliseconds(NEVER if seconds is None else seconds) for seconds in run.seconds],
    }


def _pressure(run: Run) -> dict[str, Any]:
    assert run.pressure is not None
    found = asdict(run.pressure).items()
    return {_camel(name): round(value, 2) if isinstance(value, float) else value for name, value in found}


def _milliseconds(seconds: float) -> float | None:
    return None if seconds == NEVER else round(seconds * 1000, 1)


def _words(seconds: float) -> str:
    if seconds == NEVER:
        return f"over {LONGEST_WAIT_SECONDS} s"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
