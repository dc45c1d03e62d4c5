"""The real kopf, in its thread, before an API server that answers as it is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tftrt_operator.controller.kopf_thread import KopfThread, Listing, Sight

from .fake_api_server import Answer, FakeApiServer, feed_of, refuses, says, streams
from .test_model_watch import body

TOO_LONG_SECONDS = 20
RESOURCE = {
    "name": "trtmodels",
    "singularName": "trtmodel",
    "kind": "TRTModel",
    "namespaced": True,
    "verbs": ["get", "list", "watch", "patch"],
}

NAMESPACES = RESOURCE | {"name": "namespaces", "singularName": "namespace", "kind": "Namespace", "namespaced": False}


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with FakeApiServer() as started:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": started.address}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield started


def answers(watch: Answer) -> Answer:
    """An API server that has one TRTModel, and this to say to who watches."""
    group = {"name": "tftrt.dev", "versions": [{"groupVersion": "tftrt.dev/v1alpha1", "version": "v1alpha1"}]}
    listed = {"kind": "TRTModelList", "apiVersion": "tftrt.dev/v1alpha1", "metadata": {"resourceVersion": "1"}}
    by_path = {
        "/api": says({"kind": "APIVersions", "versions": ["v1"]}),
        "/api/v1": says({"kind": "APIResourceList", "resources": [NAMESPACES]}),
        "/apis": says({"kind": "APIGroupList", "groups": [group | {"preferredVersion": group["versions"][0]}]}),
        "/apis/tftrt.dev/v1alpha1": says({"kind": "APIResourceList", "resources": [RESOURCE]}),
    }

    async def answer(request: Any) -> Any:
        if "watch" in request.query:
            return await watch(request)
        found = by_path.get(request.path, says(listed | {"items": [body("listed")]}))
        return await found(request)

    return answer


class Ear:
    """Who hears all, and knows some versions already."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.listings: list[Listing] = []
        self.lines = 0
        self.known: set[int] = set()
        self.is_enough = asyncio.Event()
        self.enough = 0

    def take(self, event: Any) -> None:
        self._note(str(event["type"]), event["object"]["metadata"]["name"])

    def sent(self, sight: Sight) -> None:
        self._note("sent", sight.key[1])

    def listed(self, listing: Listing) -> None:
        self.listings.append(listing)

    def hear(self) -> None:
        self.lines += 1

    def is_known(self, sight: Sight) -> bool:
        return sight.version in self.known

    def newest_version(self) -> int:
        return 41

    def _note(self, *what: str) -> None:
        self.heard.append((what[0], what[1]))
        if len(self.heard) == self.enough:
            self.is_enough.set()


def watch_line(kind: str, name: str, version: int) -> bytes:
    return json.dumps({"type": kind, "object": body(name, version)}).encode() + b"\n"


async def test_it_hands_over_what_is_listed_and_what_is_watched_and_stops_when_told(server: FakeApiServer) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"kind": "TRTModel", "metadata": {"resourceVersion": "9"}}}
    lines = [
        watch_line("ADDED", "watched", 2),
        watch_line("MODIFIED", "echo", 3),  # of what we wrote ourselves
        json.dumps(bookmark).encode() + b"\n",
        watch_line("DELETED", "gone", 3),
    ]
    server.answers = [answers(streams(feed_of(*lines)))]
    ear = Ear()
    ear.known, ear.enough = {3}, 5
    run = KopfThread(ear)
    run.start()
    async with asyncio.timeout(TOO_LONG_SECONDS):
        await ear.is_enough.wait()
        await run.stop()
    assert run.ended.is_set()
    assert [name for kind, name in ear.heard if kind == "sent"] == ["watched", "gone"]
    assert ear.heard.index(("sent", "gone")) < ear.heard.index(("DELETED", "gone"))
    assert sorted(one for one in ear.heard if one[0] != "sent") == [
        ("ADDED", "watched"),
        ("DELETED", "gone"),
        ("None", "listed"),
    ]
    sight = Sight(("default", "listed"), "uid-listed", 1)
    assert ear.listings == [Listing({sight.key: sight}, 1, 41)]
    assert ear.lines == len(lines) + 1


async def test_that_it_ended_by_itself_is_known(server: FakeApiServer) -> None:
    server.answers = [answers(refuses(404, "NotFound", "404 page not found"))]
    run = KopfThread(Ear())
    run.start()
    async with asyncio.timeout(TOO_LONG_SECONDS):
        await run.ended.wait()
