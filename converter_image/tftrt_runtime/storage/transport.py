"""What every request of ours passes on its way out, whichever library makes it.

A library may go elsewhere than it was sent: a redirect, a region's own endpoint, a name made of the bucket's, the
`token_uri` in a key. So the host is looked at where a request leaves, and not where the URI is read.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from fsspec.asyn import get_loop, sync
from yarl import URL

from tftrt_runtime.contract.errors import SourceNotFound
from tftrt_runtime.storage.secret import Secret

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]

# What says who asks. Cookies are a server's own, and of no use to another one.
_IDENTITY = ("Authorization", "Proxy-Authorization", "Cookie")


@dataclass(frozen=True)
class StoreGuard:
    """Of a client of an object store: with a Secret, no request goes to a host that the Secret does not name."""

    secret: Secret | None
    bucket: str

    def expect(self, url: URL) -> None:
        """Hold that a request may go there.

        Raises:
            SecretUnfit: it may not.
        """
        if self.secret is not None:
            self.secret.expect_for(url, self.bucket)

    async def __call__(self, request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        """Let a request of aiohttp pass."""
        self.expect(request.url)
        return await handler(request)


@dataclass(frozen=True)
class WebGuard:
    """Of a client of a web server, which may lead elsewhere: over TLS where it is asked so, and without the keys."""

    secret: Secret | None
    address: URL

    async def __call__(self, request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        """Let a request of aiohttp pass, the first one or one that a redirect leads to."""
        if self.address.scheme == "https" and request.url.scheme != "https":
            raise SourceNotFound(
                f"{self.address.with_query(None)} leads to {request.url.raw_host} over plain http, and that is not "
                "followed: name an address that stays with https."
            )
        if request.url.origin() != self.address.origin():
            for name in _IDENTITY:
                request.headers.popall(name, None)
        elif self.secret is not None:
            self.secret.expect_for(request.url)
        return await handler(request)


def session(secret: Secret | None, guard: StoreGuard | WebGuard, **more: Any) -> aiohttp.ClientSession:
    """A session whose requests pass the guard, with the Secret's authority and through the environment's proxy.

    It is to be made where fsspec's loop runs.
    """
    return aiohttp.ClientSession(connector=_connector(secret), middlewares=(guard,), trust_env=True, **more)


def session_arguments(secret: Secret | None, guard: StoreGuard | WebGuard) -> dict[str, Any]:
    """The same, for a library that makes its session itself."""

    async def made() -> aiohttp.TCPConnector:
        return _connector(secret)

    return {"connector": sync(get_loop(), made), "middlewares": (guard,)}


def _connector(secret: Secret | None) -> aiohttp.TCPConnector:
    if secret is None or secret.authority is None:
        return aiohttp.TCPConnector()
    return aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(secret.authority)))
