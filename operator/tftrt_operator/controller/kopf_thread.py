"""kopf, in a thread of its own: it watches TRTModels, and hands each event over.

kopf takes every task of its event loop for its own and cancels them when it ends, and it may have to be started again.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import kopf

from .. import api
from .cluster import PAGE
from .nesting import FlatResponse

logger = logging.getLogger(__name__)

STOP_SECONDS = 15.0
"""kopf gives its own tasks five seconds to end."""


class KopfThread:
    """One run of kopf.

    Args:
        take: called in the event loop that starts the run, with each event in its order.
        namespace: where to watch; None for everywhere.
    """

    def __init__(self, take: Callable[[kopf.RawEvent], None], namespace: str | None = None) -> None:
        self._take = take
        self._namespace = namespace
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self.ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    async def stop(self) -> None:
        """End the run. One that does not end in time is left to itself: it takes no more events."""
        self._take = lambda _event: None
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
            self._hand_over(self.ended.set)

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
                    response_class=FlatResponse,
                ),
            )

        @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
        async def see(event: kopf.RawEvent, **_: object) -> None:
            self._hand_over(lambda: self._take(event))

        return registry

    def _hand_over(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the process is about to end, and its loop has
            self._loop.call_soon_threadsafe(call)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # the reconciler writes the Events
    settings.scanning.disabled = True  # whether the CRD is there, the model watch looks for itself
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = 1.0
    settings.process.ultimate_exiting_timeout = None
    return settings
