"""What a campaign has come to, as it is kept in benchmarks/results/reliability.json and printed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.machine import machine

from .campaign import Campaign
from .runs import Outcome

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "reliability.json"
MOST_FAILURES = 10
"""Of one fault in one scenario that are written down in words."""
Json = dict[str, Any]


def document(campaign: Campaign, commit: str, seconds: float, at_once: int) -> Json:
    """Return a campaign as JSON: a row for each fault in each scenario."""
    return {
        "commit": commit,
        "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": asdict(machine()),
        "seconds": round(seconds),
        "atOnce": at_once,
        "runs": len(campaign.outcomes),
        "fired": sum(campaign.fired.values()),
        "kills": sum(outcome.kills for outcome in campaign.outcomes),
        "cells": [_cell(fault, scenario, campaign.outcomes) for fault, scenario in campaign.cells],
    }


def _cell(fault: str, scenario: str, outcomes: Sequence[Outcome]) -> Json:
    ours = [one for one in outcomes if (one.fault, one.scenario) == (fault, scenario)]
    failed = [one for one in ours if one.failures]
    return {
        "fault": fault,
        "scenario": scenario,
        "runs": len(ours),
        "fired": sum(one.fired for one in ours),
        "failures": len(failed),
        "why": [{"at": one.number, "why": list(one.failures)} for one in failed[:MOST_FAILURES]],
    }


def write(part: str, found: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Write a part of the results, and leave the others."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**kept, part: found}, indent=1) + "\n")


def printed(found: Json) -> Table:
    """Return the table for people: in each cell runs in which the fault fired, and failures where there are any."""
    scenarios = list(dict.fromkeys(cell["scenario"] for cell in found["cells"]))
    title = f"{found['fired']:,} runs in which a fault fired, of {found['runs']:,}; {found['kills']} kills"
    made = Table(title=f"{title}; {found['seconds']} s", title_justify="left")
    made.add_column("runs / fired / failures")
    for scenario in scenarios:
        made.add_column(scenario, justify="right")
    for fault in dict.fromkeys(cell["fault"] for cell in found["cells"]):
        row = [cell for cell in found["cells"] if cell["fault"] == fault]
        made.add_row(fault, *(f"{cell['runs']} / {cell['fired']} / {cell['failures']}" for cell in row))
    return made
