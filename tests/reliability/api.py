"""The API server as the harness asks it, as its administrator and without the proxy."""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from yarl import URL

from tests.support.api import APPLY, MERGE, PATHS, Refused

Json = dict[str, Any]
LONGEST_LINE = 1 << 22


@dataclass(frozen=True, slots=True)
class Connection:
    """Connections to one API server."""

    server: str
    session: aiohttp.ClientSession

    @classmethod
    @asynccontextmanager
    async def opened(cls, kubeconfig: Path, *, as_nobody: bool = False) -> AsyncIterator["Connection"]:
        """Have them for a while: as a kubeconfig's user, or as whoever each request says it is of."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        if not as_nobody:
            with tempfile.TemporaryDirectory() as folder:
                for name in ("client-certificate-data", "client-key-data"):
                    (Path(folder) / name).write_bytes(base64.b64decode(user[name]))
                context.load_cert_chain(Path(folder) / "client-certificate-data", Path(folder) / "client-key-data")
        connector = aiohttp.TCPConnector(limit=0, ssl=context)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=120),
            skip_auto_headers=("User-Agent",),
            read_bufsize=LONGEST_LINE,
        ) as session:
            yield cls(cluster["server"], session)

    def url(self, path: str, query: Mapping[str, str] | None = None) -> URL:
        """Return the URL of a path, which is encoded already."""
        return URL(self.server + path, encoded=True).with_query(query or {})

    async def request(
        self, method: str, path: str, body: Json | bytes | None = None, content_type: str = "application/json"
    ) -> Json:
        """Ask, and return the answer.

        Raises:
            Refused: the API server said no.
        """
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        url = URL(self.server + path, encoded=True)
        async with self.session.request(method, url, data=data, headers={"Content-Type": content_type}) as response:
            content = await response.read()
        if response.status >= 400:
            raise Refused(response.status, content.decode()[:600])
        answer: Json = json.loads(content)
        return answer


@dataclass(frozen=True, slots=True)
class Api:
    """One namespace."""

    connection: Connection
    namespace: str

    def path(self, kind: str, name: str = "") -> str:
        """Return the path of a collection, or of an object of it."""
        path = PATHS[kind].format(namespace=self.namespace)
        return f"{path}/{name}" if name else path

    async def create(self, body: Json) -> Json:
        """Create an object."""
        return await self.connection.request("POST", self.path(body["kind"]), body)

    async def patch(
        self, kind: str, name: str, body: Json, subresource: str = "", manager: str = "kubectl-edit"
    ) -> Json:
        """Merge a patch into an object."""
        path = f"{self.path(kind, name)}{subresource}?fieldManager={manager}"
        return await self.connection.request("PATCH", path, body, MERGE)

    async def apply(self, body: Json, manager: str = "kubectl") -> Json:
        """Apply an object server-side."""
        path = f"{self.path(body['kind'], body['metadata']['name'])}?fieldManager={manager}&force=true"
        return await self.connection.request("PATCH", path, body, APPLY)

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object, and leave what it owns to the garbage collector."""
        await self.connection.request("DELETE", self.path(kind, name), {"propagationPolicy": "Background"})
