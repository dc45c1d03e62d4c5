"""What came of the long run, in the file of which docs/reliability.md is made."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from benchmarks.build import Build
from benchmarks.machine import machine
from tests.e2e.conftest import ROOT
from tests.support.api import Json
from tests.zero_loss.load import Outcome

FILE = ROOT / "benchmarks" / "results" / "zero-loss.json"


_AT_FIRST = Build(ROOT).commit
"""What is measured: images are built from it, whatever is committed while clients ask."""


def show(what: str, outcomes: Sequence[Outcome]) -> None:
    """Print a table."""
    print(f"\n{what:52} {'rows':>5} {'requests':>9} {'failures':>9} {'longest s':>10}")
    for one in outcomes:
        print(f"{one.client:52} {one.rows:5} {one.requests:9} {len(one.failures):9} {one.longest:10.2f}")


def keep_event(name: str, times: int, seconds: float, outcomes: Sequence[Outcome]) -> None:
    """Write what came of an event in the place of what came of it before."""
    known = _known()
    clients = [
        {
            "client": one.client,
            "rows": one.rows,
            "requests": one.requests,
            "failures": [failure._asdict() for failure in one.failures],
            "longestSeconds": round(one.longest, 2),
        }
        for one in outcomes
    ]
    known["events"][name] = {**_where(), "times": times, "seconds": round(seconds), "clients": clients}
    _write(known)


def keep_in_place(replaced: Sequence[float], unanswered: Sequence[float], requests: int, failures: int) -> None:
    """Write what a rollout in place cost: seconds of each, from the change to a new server and without an answer."""
    known = _known()
    known["inPlace"] = {
        **_where(),
        "replacedSeconds": [round(one, 1) for one in replaced],
        "unansweredSeconds": [round(one, 1) for one in unanswered],
        "requests": requests,
        "failures": failures,
    }
    _write(known)


def _known() -> Json:
    if FILE.exists():
        known: Json = json.loads(FILE.read_text())
        return known
    return {"step": "zero-loss", "events": {}}


def _where() -> Json:
    return {
        "finishedAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _AT_FIRST,
        "machine": asdict(machine()),
    }


def _write(known: Json) -> None:
    FILE.write_text(json.dumps(known, indent=1) + "\n")
