"""Is the operator alive, is it ready, and what does it count?

Alive: it fails only where the API server answers and a watch is silent all the same. An API server that is away is
waited for; a restart would not bring it back. Ready: everything has been seen, and the API server answers.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from .cluster import WATCH_SILENCE_SECONDS, Cluster
from .leadership import Leadership
from .metrics import Metrics
from .model_watch import ModelWatch
from .worker import Workers

logger = logging.getLogger(__name__)

MOST_SILENCE_SECONDS = WATCH_SILENCE_SECONDS * 2
"""On a quiet cluster bookmarks come every minute, so that silence means a dead watch."""
Answer = tuple[bool, str]


class Health:
    """What `/healthz`, `/readyz` and `/metrics` answer."""

    def __init__(
        self,
        cluster: Cluster,
        workers: Workers,
        watches: Sequence[ModelWatch],
        leadership: Leadership,
        metrics: Metrics,
    ) -> None:
        self._cluster = cluster
        self._workers = workers
        self._watches = watches
        self._leadership = leadership
        self._metrics = metrics
        self._last_away = float("-inf")

    @asynccontextmanager
    async def answering(self, port: int) -> AsyncIterator[None]:
        """Answer on all of the machine's addresses."""
        application = web.Application()
        application.router.add_get("/healthz", _handler(self.is_alive))
        application.router.add_get("/readyz", _handler(self.is_ready))
        application.router.add_get("/metrics", self._answer_metrics)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=port).start()
            yield
        finally:
            await runner.cleanup()

    async def is_alive(self) -> Answer:
        """Return whether the process does its work, as far as that is its own affair, and a sentence."""
        silence = self._workers.caches.silence_seconds()
        if silence <= MOST_SILENCE_SECONDS and not self._is_deaf:
            return True, "alive"
        if not await self._api_server_answers():
            return True, "the API server does not answer, and is waited for"
        # What was silent because the API server was away has the time that a watch has to come back.
        silence = min(silence, time.monotonic() - self._last_away)
        if silence > MOST_SILENCE_SECONDS:
            return False, f"a watch has had neither event nor bookmark for {silence:.0f} s"
        if self._is_deaf:
            return False, "the watch of TRTModels misses some of them, and was started again in vain"
        return True, "the watches come back"

    async def is_ready(self) -> Answer:
        """Return whether everything has been seen and the API server answers, and a sentence."""
        for watch in self._watches:
            if watch.waits_for:
                return False, watch.waits_for
        caches = self._workers.caches
        unseen = [*caches.unseen, *(watch.what for watch in self._watches if not watch.synced)]
        if unseen:
            return False, f"not everything has been seen yet: {', '.join(unseen)}"
        if not await self._api_server_answers():
            return False, "the API server does not answer"
        if self._leadership.trouble:
            return False, self._leadership.trouble
        # A replica that waits for the Lease is ready: it has seen everything, and can take over.
        waits = f"; {holder} acts" if (holder := self._leadership.holder) else ""
        return True, f"{len(caches.seen_models())} models, {len(self._workers.queue)} wait{waits}"

    async def _answer_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    @property
    def _is_deaf(self) -> bool:
        return any(watch.is_deaf for watch in self._watches)

    async def _api_server_answers(self) -> bool:
        answers = await self._cluster.answers()
        if not answers:
            self._last_away = time.monotonic()
        return answers


def _handler(look: Callable[[], Awaitable[Answer]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        is_well, sentence = await look()
        return web.Response(status=200 if is_well else 503, text=sentence + "\n")

    return answer
