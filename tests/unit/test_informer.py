"""Whatever a watch brings, the watch survives it, and its store holds what is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tftrt_operator.controller import informer as informers
from tftrt_operator.controller.cluster import ApiError, Cluster, Page, WatchEvent
from tftrt_operator.controller.informer import Informer
from tftrt_operator.controller.nesting import lines_of

from .fake_cluster import FakeCluster, Script, config_map


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each rest would have been."""
    rests: list[float] = []

    async def rest(pause: float) -> float:
        rests.append(pause)
        await asyncio.sleep(0)
        return pause * 2

    monkeypatch.setattr(informers, "_rest", rest)
    return rests


def informer(cluster: FakeCluster, changes: list[Any] | None = None) -> Informer[str]:
    def parse(body: Any) -> str:
        if body["metadata"].get("unreadable"):
            raise ValueError("nobody knows what it is")
        return str(body["metadata"]["name"])

    def index(body: Any) -> Any:
        yield "all"

    heard: list[Any] = [] if changes is None else changes
    return Informer(cast("Cluster", cluster), "ConfigMap", None, "a=b", parse, index, heard.extend)


async def watched(cluster: FakeCluster) -> Informer[str]:
    """The informer after it has seen all that there is."""
    seen = informer(cluster)
    task = asyncio.create_task(seen.run())
    waiting = asyncio.create_task(cluster.idle.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    assert not task.done(), task.exception()
    task.cancel()
    return seen


def assert_taken(taken: bool) -> None:
    assert taken


def page(*items: dict[str, Any], version: int = 10, next_page: str = "") -> Page:
    return Page(list(items), f"{version}", next_page)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(RuntimeError("a line is too long"), id="what nobody has thought of"),
        pytest.param(RecursionError("nested too deep"), id="nested too deep"),
        pytest.param(WatchEvent("ADDED", {"metadata": {}}), id="an object without a version"),
        pytest.param(WatchEvent("ADDED", {"metadata": {"resourceVersion": "x", "uid": "1"}}), id="no number"),
        pytest.param(ApiError(500, "", "the server is in trouble"), id="a refusal"),
    ],
)
async def test_a_watch_goes_on_after_anything(broken: WatchEvent | Exception) -> None:
    later: Script = [WatchEvent("ADDED", config_map("later", 12))]
    seen = await watched(FakeCluster([page(config_map("first", 3))], [broken], later))
    assert seen.find("all") == ("first", "later")


async def test_what_was_written_while_the_pages_came_is_not_taken_for_gone() -> None:
    cluster = FakeCluster([page(config_map("first", 3), next_page="1"), page()])
    seen = informer(cluster)
    written = config_map("ours", 11)
    cluster.between_pages = lambda: assert_taken(seen.write_through(written))
    await seen._list()
    assert set(seen.find("all")) == {"first", "ours"}
    assert seen.write_through(written), "there is no tombstone for it"


async def test_what_the_list_no_longer_has_is_gone() -> None:
    cluster = FakeCluster([page(config_map("first", 3), config_map("second", 4))])
    seen = informer(cluster)
    await seen._list()
    cluster.pages = [page(config_map("second", 4), version=20)]
    await seen._list()
    assert seen.find("all") == ("second",)


async def test_an_object_that_cannot_be_read_any_more_is_left_out_and_is_news() -> None:
    cluster = FakeCluster([page(config_map("first", 3))])
    changes: list[Any] = []
    seen = informer(cluster, changes)
    await seen._list()
    changes.clear()
    assert not seen.write_through(config_map("first", 4, unreadable=True))
    assert (seen.find("all"), changes) == ((), ["all"])


async def test_what_was_deleted_is_gone_before_its_watch_says_so() -> None:
    changes: list[Any] = []
    seen = informer(FakeCluster([page(config_map("first", 3))]), changes)
    await seen._list()
    changes.clear()
    seen.forget("uid-first")
    assert (seen.find("all"), changes) == ((), ["all"])
    assert not seen.write_through(config_map("first", 3))


async def test_an_object_that_cannot_be_read_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    seen = informer(FakeCluster([page()]))
    for version in range(5):
        seen.write_through(config_map("odd", version, unreadable=True))
    assert len(caplog.messages) == 1


async def test_a_watch_that_ends_at_once_rests_longer_each_time(no_pauses: list[float]) -> None:
    cluster = FakeCluster([page()], [], [], [])
    await watched(cluster)
    assert no_pauses == [0.2, 0.4, 0.8]
    assert cluster.lists == 1


async def test_an_expired_version_is_listed_anew() -> None:
    cluster = FakeCluster([page(config_map("first", 3))], [ApiError(410, "Expired", "too old")])
    await watched(cluster)
    assert (cluster.lists, cluster.from_versions) == (2, ["10", "10"])


async def test_lines_of_any_length_are_read_whole_and_a_broken_one_is_none() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"one\ntw", b"o\n", *[b"\\u003c" * 10_000] * 100, b"\nbrok", b"en"):
            yield chunk

    assert [len(line) async for line in lines_of(chunks())] == [3, 3, 6_000_000]


async def test_a_watch_that_is_refused_is_not_silent() -> None:
    cluster = FakeCluster([Page([], "1", "")])
    seen = informer(cluster)
    cluster.watches = [[lambda: setattr(seen, "last_heard", 0.0), ApiError(403, "Forbidden", "no such Role")]]
    task = asyncio.create_task(seen.run())
    async with asyncio.timeout(30):
        await cluster.idle.wait()
    task.cancel()
    assert seen.last_heard > 0


async def test_objects_under_one_key_are_found_whether_there_are_none_one_or_many() -> None:
    informer = Informer(
        cast("Any", FakeCluster([])), "ConfigMap", None, "", lambda body: body["metadata"]["name"], keys, drop
    )
    key = ("all", "default")
    assert informer.find(key) == ()
    for name in ("a", "b", "c"):
        informer.write_through(config_map(name, 1))
    assert informer.find(key) == ("a", "b", "c")
    for name in ("b", "a", "c"):
        informer.forget(f"uid-{name}")
        assert f"uid-{name}" not in informer._by_key.get(key, ())
    assert informer.find(key) == ()
    assert informer._by_key == {}
    informer.write_through(config_map("d", 1))
    informer.write_through(config_map("d", 2))
    assert informer.find(key) == ("d",)
    assert informer._by_key == {key: "uid-d"}


async def test_lists_take_turns_and_each_page_is_taken_in_before_the_next_one_is_asked_for() -> None:
    turn = asyncio.Semaphore(1)
    pages = [Page([config_map("a", 1)], "5", "1"), Page([config_map("b", 2)], "5", "")]
    clusters = [FakeCluster(pages), FakeCluster(pages)]
    seen: list[str] = []
    informers = [
        Informer(cast("Any", one), "ConfigMap", None, "", lambda body: body["metadata"]["name"], keys, drop, turn=turn)
        for one in clusters
    ]
    for one, informer in zip(clusters, informers, strict=True):
        one.between_pages = lambda informer=informer: seen.extend(informer.find(("all", "default")))  # type: ignore[misc]
    async with turn:
        tasks = [asyncio.create_task(informer.run()) for informer in informers]
        await asyncio.sleep(0.01)
        assert [one.lists for one in clusters] == [0, 0]
    for informer in informers:
        async with asyncio.timeout(10):
            await informer.synced.wait()
    assert seen == ["a", "a"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def keys(body: Any) -> Any:
    yield "all", body["metadata"]["namespace"]


def drop(_keys: Any) -> None:
    """News that nobody waits for."""
