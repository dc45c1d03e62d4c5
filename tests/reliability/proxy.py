"""A proxy between operators and the API server, which lets all pass but for one fault in each run.

Every run has a line of its own through it: the first part of the path, `http://127.0.0.1:PORT/<run>`, is the server of
its kubeconfig. The operator's token goes on to the API server, which judges it.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from benchmarks.engine_room.client import VERSION

from .api import Connection

_KINDS = {
    "trtmodels": "TRTModel",
    "jobs": "Job",
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "deployments": "Deployment",
    "services": "Service",
    "networkpolicies": "NetworkPolicy",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "events": "Event",
    "namespaces": "Namespace",
}
_PATH = re.compile(
    r"^/apis?/(?:[a-z0-9.]+/)?v[a-z0-9]+(?:/namespaces/(?P<namespace>[^/]+))?"
    rf"/(?P<plural>{'|'.join(_KINDS)})(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[a-z]+))?$"
)
_DROPPED = frozenset(
    {"host", "connection", "accept-encoding", "content-length", "transfer-encoding", "content-encoding"}
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asks of the API server."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]
    kind: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    @property
    def is_list(self) -> bool:
        """Whether it asks for all objects of a kind."""
        return not self.is_write and bool(self.kind) and not self.name

    @property
    def words(self) -> str:
        """Say what it is."""
        return f"{self.method} {self.kind or self.path} {self.name} {self.subresource}".rstrip()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def refusal(status: int, reason: str, message: str, **headers: str) -> Answer:
    """Return an answer that says no, as the API server words it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    content = json.dumps({**body, "reason": reason, "code": status}).encode()
    return Answer(status, content, {"Content-Type": "application/json", **headers})


class NoAnswer(Exception):  # noqa: N818 - reads as a sentence
    """The connection ends without an answer, or in the middle of one."""


class Watch:
    """One watch of an operator."""

    def __init__(self, asked: Asked, response: web.StreamResponse) -> None:
        self.kind = asked.kind
        self.version = asked.query.get("resourceVersion", "0")
        """Of what was sent last."""
        self._response = response

    async def send(self, event: bytes) -> None:
        """Send an event's line."""
        if (found := VERSION.search(event)) is not None:
            self.version = found[1].decode()
        await self._response.write(event + b"\n")

    async def break_off(self, event: bytes) -> None:
        """Send half of an event's line, and end the connection.

        Raises:
            NoAnswer: always.
        """
        await self._response.write(event[: len(event) // 2])
        raise NoAnswer

    async def expire(self) -> None:
        """Say that the resource version is too old, as the API server does within a watch."""
        status = json.loads(refusal(410, "Expired", "too old resource version").body)
        await self._response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")


class Fault:
    """What goes wrong in a run; this one lets all pass. `fired` says whether it did go wrong."""

    fired = False

    async def answer(self, line: "Line", asked: Asked) -> Answer:
        """Answer what is no watch.

        Raises:
            NoAnswer: the connection ends instead.
        """
        return await line.forward(asked)

    async def event(self, line: "Line", watch: Watch, event: bytes) -> bool:
        """Pass an event on, which is no bookmark; returns whether the watch goes on."""
        await watch.send(event)
        return True

    def is_behind(self, line: "Line", newest: Callable[[str], int]) -> bool:
        """Whether it still holds back what an operator will be sent, by the newest resource version of a kind."""
        return False

    async def close(self) -> None:
        """End what it has begun, at the end of its run."""


@dataclass(slots=True)
class Line:
    """What one run's operator asks, and what becomes of it."""

    namespace: str
    fault: Fault
    connection: Connection
    kill: Callable[[], None] = lambda: None
    """Kills the run's operator."""
    writes: int = 0
    questions: int = 0
    events: int = 0
    written: list[str] = field(default_factory=list)
    """Each write in words, whatever became of it."""
    passed: int = 0
    """Resource version of the newest event that an operator was sent."""
    latency: Callable[[], float] = lambda: 0.0
    """Seconds for which an answer is held."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    watches: dict[Watch, asyncio.Task[Any]] = field(default_factory=dict)

    async def expire(self, kind: str) -> None:
        """Have all watches of a kind end in 410."""
        for watch, task in list(self.watches.items()):
            if watch.kind == kind:
                await watch.expire()
                task.cancel()

    def cut(self) -> None:
        """End all watches but the one that this is called in."""
        for task in self.watches.values():
            if task is not asyncio.current_task():
                task.cancel()

    async def forward(self, asked: Asked) -> Answer:
        """Ask the API server, also where who asked has gone meanwhile."""
        return await asyncio.shield(asyncio.ensure_future(self._forward(asked)))

    async def _forward(self, asked: Asked) -> Answer:
        url = self.connection.url(asked.path, asked.query)
        async with self.connection.session.request(
            asked.method, url, data=asked.body or None, headers=asked.headers
        ) as response:
            headers = {name: value for name, value in response.headers.items() if name.lower() not in _DROPPED}
            return Answer(response.status, await response.read(), headers)


class Proxy:
    """Runs lines."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lines: dict[str, Line] = {}
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, connection: Connection) -> AsyncIterator["Proxy"]:
        """Have one on a port that is free; its connection is the one of nobody."""
        proxy = cls(connection)
        server = web.Server(proxy._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=1)
        await site.start()
        proxy.port = runner.addresses[0][1]
        try:
            yield proxy
        finally:
            await runner.cleanup()

    def open(self, run: str, namespace: str, fault: Fault) -> Line:
        """Open the line of a run."""
        line = self._lines[run] = Line(namespace, fault, self._connection)
        return line

    async def close(self, run: str) -> None:
        """End a run's line with all that is open on it."""
        line = self._lines.pop(run)
        await line.fault.close()
        for task in line.tasks:
            task.cancel()
        await asyncio.gather(*line.tasks, return_exceptions=True)

    def address(self, run: str) -> str:
        """The server of a run's kubeconfig."""
        return f"http://127.0.0.1:{self.port}/{run}"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        _, run, rest = request.raw_path.split("/", 2)
        line = self._lines.get(run)
        task = asyncio.current_task()
        if line is None or task is None:
            return web.Response(status=404)
        line.tasks.add(task)
        try:
            asked = _asked(line, "/" + rest, request, await request.read())
            if asked.query.get("watch") in ("true", "1"):
                return await self._watch(line, asked, request)
            return await self._ask(line, asked)
        except (NoAnswer, aiohttp.ClientConnectionError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        finally:
            line.tasks.discard(task)

    async def _ask(self, line: Line, asked: Asked) -> web.Response:
        if asked.is_write:
            line.writes += 1
            line.written.append(asked.words)
        elif asked.kind:
            line.questions += 1
        answer = await line.fault.answer(line, asked)
        if asked.is_write and (seconds := line.latency()):
            await asyncio.sleep(seconds)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _watch(self, line: Line, asked: Asked, request: web.BaseRequest) -> web.StreamResponse:
        timeout = aiohttp.ClientTimeout(total=None)
        url = self._connection.url(asked.path, asked.query)
        async with self._connection.session.get(url, headers=asked.headers, timeout=timeout) as upstream:
            if upstream.status >= 400:
                body = await upstream.read()
                return web.Response(status=upstream.status, body=body, content_type="application/json")
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            watch = Watch(asked, response)
            task = asyncio.current_task()
            assert task is not None
            line.watches[watch] = task
            with suppress(ConnectionResetError):
                try:
                    await self._pass_on(line, watch, upstream.content)
                finally:
                    del line.watches[watch]
            with suppress(ConnectionResetError):
                await response.write_eof()
            return response

    async def _pass_on(self, line: Line, watch: Watch, stream: aiohttp.StreamReader) -> None:
        async for event in _lines(stream):
            if event.startswith(b'{"type":"BOOKMARK"'):
                await watch.send(event)
                continue
            line.events += 1
            if not await line.fault.event(line, watch, event):
                break
            line.passed = max(line.passed, int(watch.version))


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _asked(line: Line, path: str, request: web.BaseRequest, body: bytes) -> Asked:
    url = URL(path, encoded=True)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
    found = _PATH.match(url.raw_path)
    if found is None:
        return Asked(request.method, url.raw_path, dict(url.query), body, headers)
    kind, name = _KINDS[found["plural"]], found["name"] or ""
    path = url.raw_path
    if kind != "Namespace" and found["namespace"] is None:
        # An older build has no namespaced mode: its line sees to it that it knows of one namespace only.
        path = path.replace(f"/{found['plural']}", f"/namespaces/{line.namespace}/{found['plural']}", 1)
    return Asked(request.method, path, dict(url.query), body, headers, kind, name, found["subresource"] or "")
