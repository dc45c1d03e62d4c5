"""The real kopf, in its thread, before an API server that answers as it is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tftrt_operator.controller.kopf_thread import KopfThread

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


async def test_it_hands_over_what_is_listed_and_what_is_watched_and_stops_when_told(server: FakeApiServer) -> None:
    line = json.dumps({"type": "ADDED", "object": body("watched", 2)}).encode() + b"\n"
    server.answers = [answers(streams(feed_of(line)))]
    taken: list[tuple[Any, str]] = []
    both = asyncio.Event()

    def take(event: Any) -> None:
        taken.append((event["type"], event["object"]["metadata"]["name"]))
        if len(taken) == 2:
            both.set()

    run = KopfThread(take)
    run.start()
    async with asyncio.timeout(TOO_LONG_SECONDS):
        await both.wait()
        assert taken == [(None, "listed"), ("ADDED", "watched")]
        await run.stop()
    assert run.ended.is_set()


async def test_that_it_ended_by_itself_is_known(server: FakeApiServer) -> None:
    server.answers = [answers(refuses(404, "NotFound", "404 page not found"))]
    run = KopfThread(lambda _event: None)
    run.start()
    async with asyncio.timeout(TOO_LONG_SECONDS):
        await run.ended.wait()
