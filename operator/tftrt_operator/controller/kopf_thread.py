"""kopf, in a thread of its own: it watches TRTModels, and hands each event over.

kopf takes every task of its event loop for its own and cancels them when it ends, and it may have to be started again.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import kopf

from .. import api
from .cluster import PAGE
from .nesting import FlatResponse, loads

logger = logging.getLogger(__name__)

LONGEST_PAGE_SECONDS, LOOK_SECONDS = 60.0, 0.01
STOP_SECONDS = 15.0
"""kopf gives its own tasks five seconds to end."""


@dataclass(frozen=True, slots=True)
class Sight:
    """An object as it went to kopf."""

    key: tuple[str, str]
    uid: str
    version: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Sight":
        """Return it for an object as the API server gives it."""
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        return cls(key, metadata["uid"], int(metadata["resourceVersion"]))


@dataclass(frozen=True, slots=True)
class Listing:
    """All that there was when kopf listed, page by page."""

    sights: Mapping[tuple[str, str], Sight]
    version: int
    newest_before: int
    """The newest version that was known when it began: a list that is older is of a store that has gone back."""


class Listener(Protocol):
    """Who hears what kopf is told, and what it makes of it, both in their order in one event loop."""

    def take(self, event: kopf.RawEvent) -> None:
        """Take an event that kopf brings."""

    def sent(self, sight: Sight) -> None:
        """Learn of an object that the watch has told kopf of."""

    def listed(self, listing: Listing) -> None:
        """Learn of all objects that a list has told kopf of."""

    def hear(self) -> None:
        """Learn that the watch is alive: a bookmark is enough. Called in kopf's thread."""

    def is_known(self, sight: Sight) -> bool:
        """Return whether this is no news, or older, as an answer to our own write. Called in kopf's thread."""

    def newest_version(self) -> int:
        """Return the newest version that is known. Called in kopf's thread."""


class _NoDiffs(kopf.DiffBaseStorage):
    """No copies of each object to compare it with what it was: no handler asks what has changed."""

    def build(self, **_: Any) -> Any:
        """Return nothing to compare with."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Return that nothing was stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


class KopfThread:
    """One run of kopf.

    Args:
        listener: who hears what it brings.
        namespace: where to watch; None for everywhere.
    """

    def __init__(self, listener: Listener, namespace: str | None = None) -> None:
        self._listener = listener
        self._namespace = namespace
        self._pages: dict[tuple[str, str], Sight] = {}
        self._newest_before = 0
        self._told = self._taken = 0
        """How many objects lists have told kopf of, and how many of them it has brought."""
        self._is_left = False
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self.ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    async def stop(self) -> None:
        """End the run. One that does not end in time is left to itself: it takes no more events."""
        self._is_left = True
        self._stop.set()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.ended.wait()
        except TimeoutError:
            logger.warning("kopf has not ended within %.0f s", STOP_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as error:
            logger.warning("kopf ended by itself: %s: %s", type(error).__name__, error)
        finally:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.ended.set)

    async def _watch(self) -> None:
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=_settings(),
                standalone=True,
                clusterwide=self._namespace is None,
                namespaces=() if self._namespace is None else (self._namespace,),
                # Without one kopf looks up the user's name, and a container's user has none.
                identity=socket.gethostname(),  # type: ignore[arg-type]
                stop_flag=self._stop,
            )
        finally:
            # kopf waits for the flag in a thread, and no event loop ends before its threads have.
            self._stop.set()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def log_in(**context: Any) -> kopf.AiohttpSession | None:
            """Log in as kopf does, and read as it does not: JSON of any depth."""
            found = kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)
            if found is None:
                return None
            return kopf.AiohttpSession(
                server=found.server,
                default_namespace=found.default_namespace,
                aiohttp_session=aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
                    headers=found.as_http_headers(),
                    response_class=self._response(),
                ),
            )

        @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
        async def see(event: kopf.RawEvent, **_: object) -> None:
            self._hand_over(lambda: self._bring(event))

        return registry

    def _bring(self, event: kopf.RawEvent) -> None:
        self._taken += event["type"] is None
        self._listener.take(event)

    def _response(self) -> type[FlatResponse]:
        """Return the class of kopf's responses, which tells of all that they tell kopf."""
        run = self

        class Heard(FlatResponse):
            def passes(self, line: bytes) -> bool:
                return run._hear(line)

            async def json(self, **settings: Any) -> Any:
                found = await super().json(**settings)
                if isinstance(found, dict) and found.get("kind") == f"{api.KIND}List":
                    await run._keep_pace()
                    run._read_page(found, is_first="continue" not in self.url.query)
                return found

        return Heard

    def _hear(self, line: bytes) -> bool:
        """Take note of a line of the watch; returns whether kopf need hear it. The echo of our own write is no news."""
        self._listener.hear()
        event = loads(line)
        if not isinstance(event, dict) or event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            return True
        sight = Sight.of(event["object"])
        if event["type"] != "DELETED" and self._listener.is_known(sight):
            return False
        self._hand_over(lambda: self._listener.sent(sight))
        return True

    async def _keep_pace(self) -> None:
        """Wait until the pages before have been taken in: kopf reads on at once, and all would lie in memory."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_PAGE_SECONDS):
                while self._told > self._taken:
                    await asyncio.sleep(LOOK_SECONDS)

    def _read_page(self, found: Mapping[str, Any], *, is_first: bool) -> None:
        if is_first:
            self._pages, self._newest_before = {}, self._listener.newest_version()
        self._told = self._taken + len(found["items"])
        self._pages |= {sight.key: sight for sight in map(Sight.of, found["items"])}
        if not found["metadata"].get("continue"):
            self._listener.hear()
            listing = Listing(self._pages, int(found["metadata"]["resourceVersion"]), self._newest_before)
            self._pages = {}
            self._hand_over(lambda: self._listener.listed(listing))

    def _hand_over(self, call: Callable[[], None]) -> None:
        def unless_left() -> None:
            if not self._is_left:
                call()

        with contextlib.suppress(RuntimeError):  # the process is about to end, and its loop has
            self._loop.call_soon_threadsafe(unless_left)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # the reconciler writes the Events
    settings.scanning.disabled = True  # whether the CRD is there, the model watch looks for itself
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 1.0
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.process.ultimate_exiting_timeout = None
    return settings
