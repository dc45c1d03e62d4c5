"""Alive and ready are two answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tftrt_operator.controller import health as health_module
from tftrt_operator.controller.health import MOST_SILENCE_SECONDS, Health
from tftrt_operator.controller.metrics import Metrics


class Parts:
    """What health looks at, as the test says it is."""

    def __init__(self) -> None:
        self.silence = 1.0
        self.now = 10_000.0
        self.api_server_is_there = True
        self.asked = 0
        self.watch = SimpleNamespace(is_deaf=False, synced=True, waits_for="", what="TRTModel")
        self.caches = SimpleNamespace(
            silence_seconds=lambda: self.silence,
            unseen=[],
            seen_models=lambda: {("default", "resnet50"): ("uid", 1)},
        )
        self.leadership = SimpleNamespace(holder=None, trouble="")
        self.workers = SimpleNamespace(caches=self.caches, queue=["default/resnet50"])

    async def answers(self) -> bool:
        self.asked += 1
        return self.api_server_is_there


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    made = Parts()
    monkeypatch.setattr(health_module, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def health(parts: Parts) -> Health:
    return Health(
        cast("Any", parts),
        cast("Any", parts.workers),
        [cast("Any", parts.watch)],
        cast("Any", parts.leadership),
        Metrics(),
    )


async def test_it_is_alive_while_watches_are_heard_of_and_asks_nobody(parts: Parts, health: Health) -> None:
    assert await health.is_alive() == (True, "alive")
    assert parts.asked == 0


async def test_a_watch_that_is_silent_though_the_api_server_answers_is_dead(parts: Parts, health: Health) -> None:
    parts.silence = MOST_SILENCE_SECONDS + 1
    alive, sentence = await health.is_alive()
    assert (alive, sentence) == (False, f"a watch has had neither event nor bookmark for {parts.silence:.0f} s")


async def test_an_api_server_that_is_away_is_no_fault_of_the_operator(parts: Parts, health: Health) -> None:
    parts.silence, parts.api_server_is_there = MOST_SILENCE_SECONDS * 10, False
    assert (await health.is_alive())[0]
    assert await health.is_ready() == (False, "the API server does not answer")


async def test_watches_have_time_to_come_back_once_the_api_server_does(parts: Parts, health: Health) -> None:
    parts.silence, parts.api_server_is_there = MOST_SILENCE_SECONDS * 10, False
    await health.is_alive()
    parts.api_server_is_there = True
    parts.now += 1
    assert await health.is_alive() == (True, "the watches come back")
    parts.now += MOST_SILENCE_SECONDS
    assert not (await health.is_alive())[0]


async def test_a_watch_of_trtmodels_that_stays_deaf_is_dead(parts: Parts, health: Health) -> None:
    parts.watch.is_deaf = True
    assert not (await health.is_alive())[0]
    parts.api_server_is_there = False
    assert (await health.is_alive())[0]


async def test_it_is_ready_once_everything_has_been_seen(parts: Parts, health: Health) -> None:
    assert await health.is_ready() == (True, "1 models, 1 wait")
    parts.watch.synced = False
    assert await health.is_ready() == (False, "not everything has been seen yet: TRTModel")
    parts.watch.synced, parts.caches.unseen = True, ["Job in vision"]
    assert await health.is_ready() == (False, "not everything has been seen yet: Job in vision")
    parts.watch.waits_for = "install the CRD"
    assert await health.is_ready() == (False, "install the CRD")


async def test_a_replica_that_cannot_even_ask_for_the_lease_is_not_ready(parts: Parts, health: Health) -> None:
    parts.leadership.trouble = "the Lease tftrt-system/tftrt-operator: 403 Forbidden: cannot get leases"
    assert await health.is_ready() == (False, parts.leadership.trouble)
    assert (await health.is_alive())[0]
