"""Is the operator alive? On a quiet cluster bookmarks come every minute, so that silence means a dead watch."""

import asyncio
import logging
import os
import signal

from .cluster import WATCH_SILENCE_SECONDS
from .worker import Workers

logger = logging.getLogger(__name__)


class UnhealthyError(Exception):
    """The operator does not do its work; the message says what stands still."""


class Health:
    """What `/healthz` answers."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.has_failed = False
        """Whether the reconciler ended by itself: the process must not end as if all were well."""

    def reconciler_ended(self, task: "asyncio.Task[None]") -> None:
        """End the process when the reconciler has ended by itself: a new one is better than a deaf one."""
        if not task.cancelled():
            self.has_failed = True
            logger.critical("The reconciler ended", exc_info=task.exception())
            os.kill(os.getpid(), signal.SIGTERM)

    def check(self) -> str:
        """Return a word on the state.

        Raises:
            UnhealthyError: a watch has been silent for too long.
        """
        silence = self._workers.caches.silence_seconds()
        if silence > WATCH_SILENCE_SECONDS * 2:
            raise UnhealthyError(f"a watch has had neither event nor bookmark for {silence:.0f} s")
        return f"{len(self._workers.queue)} models wait"
