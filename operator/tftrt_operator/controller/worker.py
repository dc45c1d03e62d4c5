"""The workers: they take keys from the queue, have each reconciled, and see to it that a failed one comes up again."""

import asyncio
import logging
import time

from ..domain.runtime import Catalogue
from .caches import Caches, Key
from .cluster import EVERYWHERE, ApiError, Cluster, Namespaces
from .metrics import Metrics, Now
from .obstacles import ModelGoneError
from .queue import WorkQueue
from .reconciler import Reconciler

logger = logging.getLogger(__name__)

WORKERS = 64
"""They wait for the API server nearly all the time."""
WORKERS_OF_A_NAMESPACE = 8


class Workers:
    """The engine room: caches that watch, a queue that they fill, and workers that empty it."""

    def __init__(
        self, cluster: Cluster, catalogue: Catalogue, metrics: Metrics, namespaces: Namespaces = EVERYWHERE
    ) -> None:
        self._metrics = metrics
        self.queue: WorkQueue[Key] = WorkQueue(lambda key: key[0], WORKERS_OF_A_NAMESPACE)
        self.caches = Caches(cluster, catalogue, self.queue.add, namespaces)
        self._reconciler = Reconciler(cluster, catalogue, self.caches, self.queue, metrics)
        self._may_act = asyncio.Event()

    @property
    def now(self) -> Now:
        """What waits, and how the models stand."""
        standings = self.caches.standings()
        return Now(self._may_act.is_set(), len(self.queue), self.queue.oldest_seconds, standings)

    def act(self) -> None:
        """Begin to reconcile. Until then everything is seen, and waits in the queue: another replica acts."""
        self._may_act.set()

    async def run(self) -> None:
        """Watch, and reconcile once this replica may act, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self.caches.informers:
                tasks.create_task(informer.run(), name=f"watch {informer.what}")
            for number in range(WORKERS):
                tasks.create_task(self._work(), name=f"worker {number}")

    async def _work(self) -> None:
        await self._may_act.wait()
        while True:
            key = await self.queue.get()
            try:
                await self.caches.wait_until_synced(key[0])
                await self.work_on(key)
            finally:
                self.queue.done(key)

    async def work_on(self, key: Key) -> None:
        """Have a key reconciled, and once more later if that fails."""
        began, outcome = time.monotonic(), "Done"
        try:
            await self._reconciler.reconcile(key)
            self.queue.forget(key)
        except ModelGoneError:
            outcome = "Gone"
            self.queue.forget(key)
            self._reconciler.forget(key)
        except ApiError as error:
            if error.status == 404 and await self._reconciler.is_gone(key):
                outcome = "Gone"
                self.queue.forget(key)
                self._reconciler.forget(key)
                return
            outcome = "Conflict" if error.status == 409 else "WriteFailed"
            level = logging.DEBUG if error.status == 409 else logging.WARNING
            logger.log(level, "%s/%s: %s; again in %.1f s", *key, error, self.queue.retry(key))
        except Exception as fault:
            outcome = "InternalError"
            logger.exception("%s/%s: again in %.1f s", *key, self.queue.retry(key))
            await self._tell_fault(key, fault)
        finally:
            self._metrics.passed(outcome, time.monotonic() - began)

    async def _tell_fault(self, key: Key, fault: Exception) -> None:
        try:
            await self._reconciler.tell_fault(key, fault)
        except ModelGoneError:
            self.queue.forget(key)
            self._reconciler.forget(key)
        except Exception as error:
            # The key comes up again as it is, and then it is told.
            logger.warning("%s/%s: what went wrong cannot be told: %s", *key, error)
