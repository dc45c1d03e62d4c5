"""No request is lost, whatever is done to the model: small and large ones, by four clients that ask nothing twice."""

import time

import pytest

from tests.zero_loss import results
from tests.zero_loss.clients import CLIENTS, REPEATS_NOTHING
from tests.zero_loss.events import EVENTS, MODEL, Event, Scene
from tests.zero_loss.load import Load, Traffic, under_load

# Of each size in rows of 150,528 bytes, in each event, by the clients that repeat nothing: 20,000.
ENOUGH = {1: 16_500, 32: 3_000, 128: 500}
# Seconds from an answer to the next request of a client, so that these come to about that in the same time; the other
# clients, whose libraries may hide a loss, ask less.
PAUSES = {1: 0.0, 32: 0.08, 128: 0.7}
TRAFFIC = [
    Traffic(client, rows, PAUSES[rows] if client in REPEATS_NOTHING else PAUSES[rows] + 0.5)
    for client in CLIENTS
    for rows in ENOUGH
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_no_request_fails(scene: Scene, event: Event) -> None:
    times = 0
    with event.during(scene), under_load(scene.workspace.address(MODEL), MODEL, TRAFFIC) as load:
        began = time.monotonic()
        while times == 0 or not has_enough(load):
            event.do(scene)
            times += 1
        seconds = time.monotonic() - began
        outcomes = load.end()
    results.show(f"{event.name}, {times} times", outcomes)
    results.keep_event(event.name, times, seconds, outcomes)
    assert [failure for outcome in outcomes for failure in outcome.failures] == []


def has_enough(load: Load) -> bool:
    return all(load.asked(rows, REPEATS_NOTHING) >= enough for rows, enough in ENOUGH.items())
