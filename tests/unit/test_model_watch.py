"""kopf's watch of TRTModels, made whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from tftrt_operator.controller import model_watch
from tftrt_operator.controller.caches import Caches, Key
from tftrt_operator.controller.cluster import ApiError, Cluster
from tftrt_operator.controller.model_watch import ModelWatch

from .builders import CATALOGUE

TOO_LONG_SECONDS = 20


def body(name: str, version: int = 1) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": f"{version}"}
    return {"kind": "TRTModel", "metadata": metadata, "spec": {"source": {"uri": "pvc://models/resnet50"}}}


class FakeApiServer:
    """TRTModels, and whether anybody serves them."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.is_served = True
        self.lists = 0

    def put(self, name: str, version: int = 1) -> dict[str, Any]:
        self.models[name] = body(name, version)
        return self.models[name]

    async def serves(self, _api_version: str, _plural: str) -> bool:
        return self.is_served

    def _answer(self) -> None:
        if not self.is_served:
            raise ApiError(404, "NotFound", "404 page not found")

    async def count(self, _kind: str, _namespace: str | None) -> int:
        self._answer()
        return len(self.models)

    async def list_metadata(self, _kind: str, _namespace: str | None) -> AsyncIterator[dict[str, Any]]:
        self._answer()
        self.lists += 1
        for model in list(self.models.values()):
            yield model["metadata"]

    async def get(self, reference: Any) -> dict[str, Any] | None:
        return self.models.get(reference.name)


class FakeKopf:
    """A run of kopf that brings what the test says, and is as deaf as the test wants it."""

    runs: list[FakeKopf]
    server: FakeApiServer
    is_deaf: bool

    def __init__(self, take: Callable[[Any], None], _namespace: str | None) -> None:
        self.take = take
        self.ended = asyncio.Event()
        self.has_stopped = False

    def start(self) -> None:
        FakeKopf.runs.append(self)
        if not FakeKopf.is_deaf:
            for model in FakeKopf.server.models.values():
                self.take({"type": None, "object": model})

    async def stop(self) -> None:
        self.has_stopped = True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TOO_LONG_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeApiServer:
    for name in ("LOOK_FOR_CRD_SECONDS", "COUNT_SECONDS", "LOOK_AGAIN_SECONDS"):
        monkeypatch.setattr(model_watch, name, 0.001)
    for name in ("FIRST_PATIENCE_SECONDS", "PATIENCE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(model_watch, name, 0.01)
    monkeypatch.setattr(model_watch, "KopfThread", FakeKopf)
    FakeKopf.runs, FakeKopf.server, FakeKopf.is_deaf = [], FakeApiServer(), False
    return FakeKopf.server


@pytest.fixture
def looked_at() -> list[Key]:
    return []


@pytest.fixture
def caches(server: FakeApiServer, looked_at: list[Key]) -> Caches:
    return Caches(cast("Cluster", server), CATALOGUE, looked_at.append)


@pytest.fixture
async def watch(server: FakeApiServer, caches: Caches) -> AsyncIterator[ModelWatch]:
    """The watch, which has begun with one model."""
    server.put("resnet50")
    made = ModelWatch(cast("Cluster", server), caches)
    task = asyncio.create_task(made.run())
    await until(lambda: made.synced)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_is_synced_once_all_that_there_is_has_been_brought(caches: Caches, watch: ModelWatch) -> None:
    assert caches.model(("default", "resnet50")) is not None
    assert len(FakeKopf.runs) == 1


def bring(server: FakeApiServer, name: str, version: int = 1) -> None:
    """Have kopf bring a model."""
    FakeKopf.runs[-1].take({"type": "ADDED", "object": server.put(name, version)})


async def test_what_was_deleted_while_kopf_listed_anew_is_forgotten(
    server: FakeApiServer, caches: Caches, watch: ModelWatch
) -> None:
    bring(server, "gone")
    del server.models["gone"]
    FakeKopf.runs[0].take({"type": None, "object": server.models["resnet50"]})
    await until(lambda: ("default", "gone") not in caches.seen_models())
    assert caches.model(("default", "resnet50")) is not None
    assert len(FakeKopf.runs) == 1


async def test_what_kopf_does_not_bring_is_taken_in_and_kopf_is_started_again(
    server: FakeApiServer, caches: Caches, looked_at: list[Key], watch: ModelWatch
) -> None:
    looked_at.clear()
    server.put("missed")
    await until(lambda: caches.model(("default", "missed")) is not None)
    assert looked_at == [("default", "missed")]
    await until(lambda: len(FakeKopf.runs) == 2 and watch.synced)
    assert FakeKopf.runs[0].has_stopped
    assert not watch.is_deaf


async def test_a_change_that_kopf_missed_shows_in_its_next_list(
    server: FakeApiServer, caches: Caches, watch: ModelWatch
) -> None:
    bring(server, "other", 2)
    server.put("resnet50", 7)
    FakeKopf.runs[0].take({"type": None, "object": server.models["other"]})
    await until(lambda: caches.seen_models()[("default", "resnet50")][1] == 7)


async def test_kopf_that_stays_deaf_is_told_as_such(server: FakeApiServer, caches: Caches, watch: ModelWatch) -> None:
    FakeKopf.is_deaf = True
    server.put("missed")
    await until(lambda: watch.is_deaf)
    assert caches.model(("default", "missed")) is not None, "it is served all the same"
    FakeKopf.is_deaf = False
    await until(lambda: watch.synced)
    bring(server, "heard")
    assert not watch.is_deaf


async def test_kopf_that_lists_and_hears_nothing_is_deaf(server: FakeApiServer, watch: ModelWatch) -> None:
    for number in range(model_watch.DEAF_AFTER):
        await until(lambda: watch.synced)
        assert not watch.is_deaf
        runs = len(FakeKopf.runs)
        server.put(f"missed-{number}")
        await until(lambda runs=runs: len(FakeKopf.runs) > runs)  # type: ignore[misc]
    assert watch.is_deaf


async def test_a_cluster_where_something_happens_all_the_time_is_compared_to_an_end(
    server: FakeApiServer, watch: ModelWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deleted after it was listed is not missing."""
    monkeypatch.setattr(model_watch, "PATIENCE_SECONDS", TOO_LONG_SECONDS * 2)
    doomed = server.put("doomed", 5)
    lists = server.lists
    FakeKopf.runs[0].take({"type": None, "object": server.models["resnet50"]})
    await until(lambda: server.lists > lists)
    del server.models["doomed"]
    FakeKopf.runs[0].take({"type": "DELETED", "object": doomed})
    FakeKopf.runs[0].take({"type": None, "object": server.models["resnet50"]})
    await until(lambda: server.lists > lists + 1)
    assert len(FakeKopf.runs) == 1


async def test_a_check_that_fails_in_an_unexpected_way_is_told_and_counted(
    server: FakeApiServer, watch: ModelWatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def count(_kind: str, _namespace: str | None) -> int:
        raise KeyError("metadata")

    monkeypatch.setattr(server, "count", count)
    await until(lambda: watch.is_deaf)
    assert any("cannot be checked" in line for line in caplog.messages)


async def test_a_store_that_was_restored_is_believed(server: FakeApiServer, caches: Caches, watch: ModelWatch) -> None:
    bring(server, "rewound", 50)
    server.put("rewound", 20)
    FakeKopf.runs[0].take({"type": None, "object": server.models["resnet50"]})
    await until(lambda: caches.seen_models().get(("default", "rewound"), ("", 0))[1] == 20)


async def test_a_crd_that_goes_takes_its_models_along_and_one_that_comes_back_is_watched(
    server: FakeApiServer, caches: Caches, watch: ModelWatch
) -> None:
    server.is_served = False
    server.models.clear()
    await until(lambda: "install the CRD" in watch.waits_for)
    assert not watch.synced
    assert caches.seen_models() == {}
    server.is_served = True
    server.put("after")
    await until(lambda: watch.synced)
    assert caches.model(("default", "after")) is not None
    assert watch.waits_for == ""
    assert not watch.is_deaf


async def test_kopf_that_ends_by_itself_is_started_again(server: FakeApiServer, watch: ModelWatch) -> None:
    FakeKopf.runs[0].ended.set()
    await until(lambda: len(FakeKopf.runs) == 2 and watch.synced)


async def test_all_are_listed_only_where_something_may_have_been_missed(
    server: FakeApiServer, watch: ModelWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = 0
    count = server.count

    async def counted(kind: str, namespace: str | None) -> int:
        nonlocal counts
        counts += 1
        return await count(kind, namespace)

    monkeypatch.setattr(server, "count", counted)
    await until(lambda: counts > 2)
    lists = server.lists
    await until(lambda: counts > 20)
    assert server.lists == lists
