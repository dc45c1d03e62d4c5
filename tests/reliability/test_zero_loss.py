"""No request is lost, whatever is done to the model: small and large ones, by four clients that ask nothing twice."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from benchmarks.fairness.machine import machine
from tests.e2e.conftest import ROOT
from tests.reliability import events
from tests.reliability.clients import CLIENTS
from tests.reliability.events import MODEL, Scene
from tests.reliability.load import Load, Outcome, Traffic, under_load
from tests.siege.test_hostile_tenant import commit
from tests.support.api import Json

RESULT = ROOT / "benchmarks" / "results" / "zero-loss.json"
# Of each size in rows of 150,528 bytes, in each event, by all clients together: 20,000.
ENOUGH = {1: 16_500, 32: 3_000, 128: 500}
# Seconds from an answer to the next request of a client, so that these come to about that in the same time.
PAUSES = {1: 0.01, 32: 0.1, 128: 0.8}
TRAFFIC = [Traffic(client, rows, PAUSES[rows]) for client in CLIENTS for rows in ENOUGH]

EVENTS: dict[str, Callable[[Scene], None]] = {
    "rolling update": events.rolling_update,
    "conversion of a new source.revision": events.new_revision,
    "scaled from 2 to 1 and back": events.scale,
    "nothing, for ten minutes": events.nothing,
}


@pytest.mark.parametrize("event", EVENTS)
def test_no_request_fails(scene: Scene, event: str) -> None:
    began, times = time.monotonic(), 0
    with under_load(scene.workspace.address(MODEL), MODEL, TRAFFIC) as load:
        while times == 0 or not has_enough(load):
            EVENTS[event](scene)
            times += 1
        outcomes = load.end()
    show(event, times, outcomes)
    keep(event, times, time.monotonic() - began, outcomes)
    assert [failure for outcome in outcomes for failure in outcome.failures] == []


def has_enough(load: Load) -> bool:
    return all(load.asked(rows) >= enough for rows, enough in ENOUGH.items())


def show(event: str, times: int, outcomes: list[Outcome]) -> None:
    print(f"\n{f'{event}, {times} times':44} {'rows':>5} {'requests':>9} {'failures':>9} {'longest s':>10}")
    for one in outcomes:
        print(f"{one.client:44} {one.rows:5} {one.requests:9} {len(one.failures):9} {one.longest:10.2f}")


def keep(event: str, times: int, seconds: float, outcomes: list[Outcome]) -> None:
    """Write what came of it in the place of what came of it before."""
    known: Json = json.loads(RESULT.read_text()) if RESULT.exists() else {"step": "zero-loss", "events": {}}
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
    known["events"][event] = {
        "finishedAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": asdict(machine()),
        "times": times,
        "seconds": round(seconds),
        "clients": clients,
    }
    RESULT.write_text(json.dumps(known, indent=1) + "\n")
