"""An API server on a port of this machine: it refuses, delays, repeats, breaks off and says nonsense as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class End(Enum):
    """How a stream ends: as it should, or with a connection that breaks."""

    WHOLE = auto()
    BROKEN = auto()


Feed = asyncio.Queue[bytes | End]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class FakeApiServer:
    """Gives its answers one after the other, and the last one again and again."""

    def __init__(self) -> None:
        self.address = ""
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        self.left = asyncio.Event()
        """A client has closed its connection before its answer was whole."""

    async def __aenter__(self) -> FakeApiServer:
        self._runner = web.ServerRunner(web.Server(self._answer, handler_cancellation=True), shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        self.address = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            content = await request.read()
            body = json.loads(content) if content else None
            self.asked.append(Asked(request.method, request.path, dict(request.query), dict(request.headers), body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return await answer(request)
        except asyncio.CancelledError:
            self.left.set()
            raise


def says(body: Any, status: int = 200) -> Answer:
    """Answer with a JSON value, or with these very bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=content, status=status, content_type="application/json")

    return answer


def refuses(status: int, reason: str = "", message: str = "") -> Answer:
    """Refuse as Kubernetes does, with a Status."""
    return says(status_object(status, reason, message), status)


def status_object(status: int, reason: str, message: str) -> dict[str, Any]:
    names = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return names | {"message": message, "reason": reason, "code": status}


async def is_silent(_request: web.BaseRequest) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


def streams(feed: Feed, length: int | None = None) -> Answer:
    """Answer with what the feed brings, chunk by chunk, until an End."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        while isinstance(chunk := await feed.get(), bytes):
            await response.write(chunk)
        if chunk is End.BROKEN:
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


def feed_of(*chunks: bytes | End) -> Feed:
    feed: Feed = asyncio.Queue()
    for chunk in chunks:
        feed.put_nowait(chunk)
    return feed


async def hangs_up(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection without a word."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()
