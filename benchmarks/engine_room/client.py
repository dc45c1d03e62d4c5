"""A client that costs little: bodies are bytes that were made before, and answers are read, not parsed."""

import asyncio
import base64
import json
import re
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml
from yarl import URL

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500
LONGEST_LINE = 1 << 21
BUSY_SECONDS = 1.0
"""After that long a client asks again whom the API server told that it is busy."""
VERSION = re.compile(rb'"resourceVersion":"(\d+)"')
"""In an event's line the object's own is the first."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A write as it is sent."""

    method: str
    path: str
    body: bytes
    content_type: str = "application/json"


def create(path: str, body: Json) -> Request:
    """Return the request that creates an object in a collection."""
    return Request("POST", path, json.dumps(body).encode())


def merge(path: str, body: Json) -> Request:
    """Return the request that merges a patch into an object."""
    return Request("PATCH", path, json.dumps(body).encode(), MERGE)


class RefusedError(Exception):
    """The API server said no."""


class Client:
    """An API server as one account."""

    def __init__(self, server: str, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connected(cls, kubeconfig: Path) -> AsyncIterator[Self]:
        """Connect as the account of a kubeconfig, by its certificate or its token."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-key-data" in user:
            with tempfile.TemporaryDirectory() as folder:
                certificate, key = Path(folder) / "certificate", Path(folder) / "key"
                certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
                key.write_bytes(base64.b64decode(user["client-key-data"]))
                context.load_cert_chain(certificate, key)
        connector = aiohttp.TCPConnector(limit=0, ssl=context)
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
            yield cls(cluster["server"], session)

    async def send(self, request: Request) -> None:
        """Send a write, again for as long as the API server is busy.

        Raises:
            RefusedError: it was not taken.
        """
        while True:
            async with self._session.request(
                request.method,
                URL(self._server + request.path, encoded=True),
                data=request.body,
                headers={"Content-Type": request.content_type},
            ) as response:
                answer = await response.read()
            if response.status < 400:
                return
            if response.status != 429:
                raise RefusedError(f"{request.method} {request.path}: {response.status} {answer.decode()[:600]}")
            await asyncio.sleep(BUSY_SECONDS)

    async def send_rows(self, rows: Iterable[Iterable[Request]], at_once: int) -> None:
        """Send rows of writes, so many rows at a time; of a row one after the other.

        Raises:
            RefusedError: one was not taken.
        """
        left = iter(rows)

        async def work() -> None:
            for row in left:
                for request in row:
                    await self.send(request)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(work())

    async def list(self, collection: str, accept: str = "application/json") -> list[Json]:
        """Return all objects of a collection, or with METADATA their metadata alone.

        Raises:
            RefusedError: not told.
        """
        found, further = [], ""
        while True:
            page = await self._get(f"{collection}?limit={PAGE}&continue={further}", accept)
            found += page["items"]
            if not (further := page["metadata"].get("continue", "")):
                return found

    async def version(self, collection: str) -> str:
        """Return the resource version that a collection has now."""
        answer = await self._get(f"{collection}?limit=1", METADATA)
        return str(answer["metadata"]["resourceVersion"])

    async def watch(self, collection: str, version: str) -> AsyncIterator[Json]:
        """Yield the objects that are added to a collection after a resource version, until it is left.

        The API server ends a watch whose events are not read soon enough, as on a busy machine: the next one goes on.

        Raises:
            RefusedError: the resource version is too old.
        """
        timeout = aiohttp.ClientTimeout(total=None)
        while True:
            query = f"watch=true&resourceVersion={version}&timeoutSeconds=3600"
            url = URL(f"{self._server}{collection}?{query}", encoded=True)
            async with self._session.get(url, timeout=timeout, read_bufsize=LONGEST_LINE) as response:
                async for line in response.content:
                    if line.startswith(b'{"type":"ERROR"'):
                        raise RefusedError(f"watch {collection}: {line.decode()[:600]}")
                    if (found := VERSION.search(line)) is not None:
                        version = found[1].decode()
                    if line.startswith(b'{"type":"ADDED"'):  # of anything else nothing is parsed
                        yield json.loads(line)["object"]

    async def _get(self, path: str, accept: str) -> Json:
        url = URL(self._server + path, encoded=True)
        async with self._session.get(url, headers={"Accept": accept}) as response:
            content = await response.read()
        if response.status >= 400:
            raise RefusedError(f"GET {path}: {response.status} {content.decode()[:600]}")
        answer: Json = json.loads(content)
        return answer
