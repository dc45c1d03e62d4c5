"""kopf's watch of TRTModels, made whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from tftrt_operator.controller import model_watch
from tftrt_operator.controller.caches import Caches, Key
from tftrt_operator.controller.cluster import ApiError, Cluster
from tftrt_operator.controller.kopf_thread import Listing, Sight
from tftrt_operator.controller.model_watch import ModelWatch

from .builders import CATALOGUE

TOO_LONG_SECONDS = 20


def body(name: str, version: int = 1, uid: str = "") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": uid or f"uid-{name}", "resourceVersion": f"{version}"}
    return {"kind": "TRTModel", "metadata": metadata, "spec": {"source": {"uri": "pvc://models/resnet50"}}}


class FakeApiServer:
    """TRTModels, and whether anybody serves them."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.version = 1
        self.is_served = self.is_there = True
        self.asked: list[str] = []

    def put(self, name: str, version: int = 1) -> dict[str, Any]:
        self.models[name] = body(name, version)
        self.version = max(self.version, version)
        return self.models[name]

    async def serves(self, _api_version: str, _plural: str) -> bool:
        return self.is_served

    async def answers(self) -> bool:
        self.asked.append("answers")
        return self.is_there

    async def get(self, reference: Any) -> dict[str, Any] | None:
        self.asked.append(reference.name)
        return self.models.get(reference.name)


class FakeKopf:
    """A run of kopf that is told all, and brings what the test says: it is as deaf as the test wants it."""

    runs: list[FakeKopf]
    server: FakeApiServer
    is_deaf: bool
    is_silent: bool

    def __init__(self, listener: ModelWatch, _namespace: str | None) -> None:
        self.listener = listener
        self.ended = asyncio.Event()
        self.has_stopped = False

    def start(self) -> None:
        FakeKopf.runs.append(self)
        if not FakeKopf.is_silent:
            self.list()

    def list(self) -> None:
        """List, and bring what there is: the last page comes when kopf has brought those before it."""
        newest, models = self.listener.newest_version(), list(FakeKopf.server.models.values())
        if not FakeKopf.is_deaf:
            for model in models[:-1]:
                self.listener.take({"type": None, "object": cast("Any", model)})
        sights = {sight.key: sight for sight in map(Sight.of, models)}
        self.listener.listed(Listing(sights, FakeKopf.server.version, newest))
        if models and not FakeKopf.is_deaf:
            self.listener.take({"type": None, "object": cast("Any", models[-1])})

    def watch(self, kind: str, model: dict[str, Any]) -> None:
        """Be told of an event, and bring it."""
        self.listener.hear()
        sight = Sight.of(model)
        if kind == "DELETED" or not self.listener.is_known(sight):
            self.listener.sent(sight)
            if not FakeKopf.is_deaf:
                self.listener.take({"type": cast("Any", kind), "object": cast("Any", model)})

    async def stop(self) -> None:
        self.has_stopped = True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TOO_LONG_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeApiServer:
    for name in ("LOOK_FOR_CRD_SECONDS", "CHECK_SECONDS", "LOOK_AGAIN_SECONDS"):
        monkeypatch.setattr(model_watch, name, 0.001)
    for name in ("FIRST_PATIENCE_SECONDS", "PATIENCE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(model_watch, name, 0.01)
    monkeypatch.setattr(model_watch, "KopfThread", FakeKopf)
    FakeKopf.runs, FakeKopf.server, FakeKopf.is_deaf, FakeKopf.is_silent = [], FakeApiServer(), False, False
    return FakeKopf.server


@pytest.fixture
def looked_at() -> list[Key]:
    return []


@pytest.fixture
def caches(server: FakeApiServer, looked_at: list[Key]) -> Caches:
    made = Caches(cast("Cluster", server), CATALOGUE, looked_at.append)
    for informer in made.informers:
        informer.synced.set()
    return made


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


def bring(server: FakeApiServer, name: str, version: int = 1) -> None:
    """Have the API server tell kopf of a model."""
    FakeKopf.runs[-1].watch("ADDED", server.put(name, version))


async def some_checks(watch: ModelWatch) -> None:
    """Let what kopf brings be checked a few times."""
    for _ in range(10):
        await asyncio.sleep(model_watch.CHECK_SECONDS)
    assert watch.synced


async def test_it_is_synced_once_all_that_there_is_has_been_brought(caches: Caches, watch: ModelWatch) -> None:
    assert caches.model(("default", "resnet50")) is not None
    assert len(FakeKopf.runs) == 1


async def test_models_come_once_all_that_there_is_for_them_has_been_seen(server: FakeApiServer, caches: Caches) -> None:
    caches.informers[-1].synced.clear()
    task = asyncio.create_task(ModelWatch(cast("Cluster", server), caches).run())
    await asyncio.sleep(0.01)
    assert FakeKopf.runs == []
    caches.informers[-1].synced.set()
    await until(lambda: len(FakeKopf.runs) == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_while_kopf_brings_everything_nothing_is_asked(server: FakeApiServer, watch: ModelWatch) -> None:
    bring(server, "other", 2)
    FakeKopf.runs[0].watch("DELETED", server.models.pop("other"))
    await some_checks(watch)
    assert server.asked == []
    assert len(FakeKopf.runs) == 1


async def test_the_echo_of_our_own_write_is_no_news(server: FakeApiServer, caches: Caches, watch: ModelWatch) -> None:
    echo = Sight.of(server.put("resnet50", 5))
    assert not watch.is_known(echo)
    caches.write_through(server.models["resnet50"])
    assert watch.is_known(echo)
    assert not watch.is_known(Sight.of(body("resnet50", 5, "uid-namesake")))


async def test_what_was_deleted_while_kopf_listed_anew_is_forgotten(
    server: FakeApiServer, caches: Caches, watch: ModelWatch
) -> None:
    bring(server, "gone")
    bring(server, "again", 3)
    del server.models["gone"]
    server.models["again"] = body("again", 7, "uid-namesake")
    server.version = 8
    FakeKopf.runs[0].list()
    assert set(caches.seen_models()) == {("default", "resnet50"), ("default", "again")}
    assert caches.seen_models()["default", "again"] == ("uid-namesake", 7)
    assert (len(FakeKopf.runs), server.asked) == (1, [])


async def test_what_we_wrote_while_kopf_listed_is_not_forgotten(
    server: FakeApiServer, caches: Caches, watch: ModelWatch
) -> None:
    server.version = 4
    listed = Listing({("default", "resnet50"): Sight.of(server.models["resnet50"])}, 4, watch.newest_version())
    caches.write_through(body("resnet50", 6))
    watch.listed(listed)
    assert caches.seen_models()["default", "resnet50"] == ("uid-resnet50", 6)


async def test_what_kopf_does_not_bring_is_taken_in_and_kopf_is_started_again(
    server: FakeApiServer, caches: Caches, looked_at: list[Key], watch: ModelWatch
) -> None:
    looked_at.clear()
    FakeKopf.is_deaf = True
    bring(server, "missed", 2)
    await until(lambda: caches.model(("default", "missed")) is not None)
    FakeKopf.is_deaf = False
    assert looked_at == [("default", "missed")]
    await until(lambda: len(FakeKopf.runs) == 2 and watch.synced)
    assert FakeKopf.runs[0].has_stopped
    assert not watch.is_deaf


async def test_a_deletion_that_kopf_does_not_bring_is_taken_in(
    server: FakeApiServer, caches: Caches, watch: ModelWatch
) -> None:
    bring(server, "gone", 2)
    FakeKopf.is_deaf = True
    FakeKopf.runs[0].watch("DELETED", server.models.pop("gone"))
    await until(lambda: ("default", "gone") not in caches.seen_models())
    FakeKopf.is_deaf = False
    await until(lambda: len(FakeKopf.runs) == 2)


async def test_kopf_that_stays_deaf_is_told_as_such(server: FakeApiServer, caches: Caches, watch: ModelWatch) -> None:
    FakeKopf.is_deaf = True
    for number in range(model_watch.DEAF_AFTER):
        runs = len(FakeKopf.runs)
        bring(server, f"missed-{number}", 10 + number)
        await until(lambda runs=runs: len(FakeKopf.runs) > runs)  # type: ignore[misc]
        assert caches.model(("default", f"missed-{number}")) is not None, "it is served all the same"
    assert watch.is_deaf
    FakeKopf.is_deaf = False
    await until(lambda: watch.synced)
    bring(server, "heard", 20)
    assert not watch.is_deaf


async def test_kopf_that_lists_nothing_is_started_again_unless_the_api_server_is_away(
    server: FakeApiServer, watch: ModelWatch
) -> None:
    FakeKopf.is_silent, server.is_there = True, False
    FakeKopf.runs[0].ended.set()
    await until(lambda: server.asked.count("answers") > 3)
    assert len(FakeKopf.runs) == 2
    server.is_there = True
    await until(lambda: len(FakeKopf.runs) == 3)
    FakeKopf.is_silent = False
    await until(lambda: watch.synced)


async def test_a_watch_on_which_not_even_a_bookmark_comes_is_opened_by_another_run(
    server: FakeApiServer, watch: ModelWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_watch, "MOST_SILENCE_SECONDS", 0.2)
    for _ in range(10):
        FakeKopf.runs[0].listener.hear()
        await asyncio.sleep(0.03)
    assert len(FakeKopf.runs) == 1
    server.put("unheard", 5)
    await until(lambda: len(FakeKopf.runs) == 2 and ("default", "unheard") in watch._caches.seen_models())


async def test_a_check_that_fails_in_an_unexpected_way_is_told_and_counted(
    server: FakeApiServer, watch: ModelWatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def answers() -> bool:
        raise KeyError("metadata")

    monkeypatch.setattr(server, "answers", answers)
    FakeKopf.is_deaf = True
    bring(server, "missed", 2)
    await until(lambda: watch.is_deaf)
    assert any("cannot be checked" in line for line in caplog.messages)


async def test_a_store_that_was_restored_is_believed(server: FakeApiServer, caches: Caches, watch: ModelWatch) -> None:
    bring(server, "rewound", 50)
    bring(server, "later", 60)
    server.models = {"rewound": body("rewound", 20), "resnet50": body("resnet50", 1)}
    server.version = 21
    FakeKopf.runs[0].list()
    await until(lambda: watch.synced and caches.seen_models().get(("default", "rewound"), ("", 0))[1] == 20)
    assert set(caches.seen_models()) == {("default", "rewound"), ("default", "resnet50")}
    await until(lambda: len(FakeKopf.runs) == 2 and watch.synced)
    bring(server, "new", 22)
    assert caches.seen_models()["default", "new"] == ("uid-new", 22)


async def test_a_crd_that_goes_takes_its_models_along_and_one_that_comes_back_is_watched(
    server: FakeApiServer, caches: Caches, watch: ModelWatch
) -> None:
    server.is_served = False
    server.models.clear()
    FakeKopf.runs[0].ended.set()  # it takes a 404 for its end
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


async def test_what_cannot_be_fetched_comes_with_the_next_list(
    server: FakeApiServer, caches: Caches, watch: ModelWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(_reference: Any) -> None:
        raise ApiError(500, "InternalError", "etcdserver: request timed out")

    monkeypatch.setattr(server, "get", get)
    FakeKopf.is_deaf = True
    bring(server, "missed", 2)
    await asyncio.sleep(0)
    FakeKopf.is_deaf = False
    await until(lambda: caches.model(("default", "missed")) is not None)
    assert len(FakeKopf.runs) == 2
