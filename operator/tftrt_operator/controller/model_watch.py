"""kopf's watch of TRTModels, made whole.

kopf lists again after a 410 without a word on what was deleted meanwhile; a watch that fails in another way, or whose
CRD goes, stays dead. So all that the API server tells kopf is heard on its way: what kopf does not bring is fetched,
what is in none of its lists is forgotten, and kopf is started again. While it does its part, nothing is asked for it.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

import kopf

from ..api import API_VERSION, KIND, PLURAL
from ..domain.observation import Reference
from .caches import Caches
from .cluster import WATCH_SILENCE_SECONDS, ApiError, Cluster
from .kopf_thread import KopfThread, Listing, Sight

logger = logging.getLogger(__name__)

LOOK_FOR_CRD_SECONDS = 1.0
CHECK_SECONDS = 10.0
FIRST_PATIENCE_SECONDS = 60.0
"""For so long kopf may bring nothing at its start: it tries again by itself where the API server is busy."""
PATIENCE_SECONDS = 5.0
"""The same once it has brought something, while it has not brought everything."""
LONGEST_PATIENCE_SECONDS = 300.0
MOST_SILENCE_SECONDS = float(WATCH_SILENCE_SECONDS)
"""Of a watch, which has a bookmark a minute. kopf opens another one after 70 s."""
LOOK_AGAIN_SECONDS = 0.2
DEAF_AFTER = 3
"""Runs of kopf in a row that have missed something: starting it again does not help."""
LONGEST_PAUSE_SECONDS = 30.0


class ModelWatch:
    """Feeds the caches with the TRTModels of a namespace, or of all. It is the `Listener` of each run of kopf."""

    def __init__(self, cluster: Cluster, caches: Caches, namespace: str | None = None) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.what = KIND if namespace is None else f"{KIND} in {namespace}"
        self._caches = caches
        self._last_heard = self._last_event = time.monotonic()
        self._is_listed = self._has_brought = False
        self._sent: dict[str, tuple[Sight, float]] = {}
        """By UID what kopf was told of and has not brought yet, and since when."""
        self._failures = 0
        self.synced = False
        """Whether the caches have had everything since kopf was started last."""
        self.waits_for = ""
        """What keeps TRTModels from being watched at all, in a sentence."""

    @property
    def is_deaf(self) -> bool:
        """Whether kopf misses things, and starting it again does not help."""
        return self._failures >= DEAF_AFTER

    async def run(self) -> None:
        """Watch, for ever."""
        while True:
            await self._wait_until_served()
            # Before all that there is for a model has been seen nothing is done for it, and its text would be parsed
            # twice.
            await self._caches.wait_until_synced(self._namespace)
            self._last_heard = self._last_event = time.monotonic()
            self._is_listed = self._has_brought = False
            self._sent.clear()
            run = KopfThread(self, self._namespace)
            run.start()
            checking = asyncio.create_task(self._check(), name="check the watch of TRTModels")
            ending = asyncio.create_task(run.ended.wait(), name="wait for kopf")
            try:
                await asyncio.wait({checking, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (checking, ending):
                    task.cancel()
                await asyncio.gather(checking, ending, return_exceptions=True)
                await run.stop()
            self.synced = False
            if not checking.cancelled() and (error := checking.exception()) is not None:
                logger.error("What kopf brings cannot be checked: it is started again", exc_info=error)
                self._failures += 1
            await asyncio.sleep(min(LOOK_FOR_CRD_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS))

    def take(self, event: kopf.RawEvent) -> None:
        """Take an event that kopf brings."""
        self._last_event, self._has_brought = time.monotonic(), True
        body = event["object"]
        sight = Sight.of(body)
        sent = self._sent.get(sight.uid)
        if sent is not None and sent[0].version <= sight.version:
            del self._sent[sight.uid]
        if event["type"] is not None:
            self._failures = 0  # this is no list: a watch is alive
        if event["type"] == "DELETED":
            self._caches.forget_model(sight.key, sight.uid)
        else:
            self._caches.see_model(body)

    def sent(self, sight: Sight) -> None:
        """Wait for kopf to bring an object that it was told of."""
        _, since = self._sent.get(sight.uid, (sight, time.monotonic()))
        self._sent[sight.uid] = sight, since

    def listed(self, listing: Listing) -> None:
        """Forget what is gone, and wait for kopf to bring everything else."""
        store_went_back = listing.version < listing.newest_before
        for key, (uid, _) in self._caches.seen_models(self._namespace).items():
            there = listing.sights.get(key)
            if there is None or there.uid != uid or store_went_back:
                self._caches.forget_model(key, uid)
        if store_went_back:
            self._caches.newest_version = listing.version
        now = time.monotonic()
        self._sent = {
            sight.uid: (sight, now) for sight in listing.sights.values() if store_went_back or not self.is_known(sight)
        }
        self._is_listed = True

    def hear(self) -> None:
        """Take note that something came."""
        self._last_heard = time.monotonic()

    def is_known(self, sight: Sight) -> bool:
        """Return whether a model has been seen so, or later."""
        return self._caches.has_seen(sight.key, sight.uid, sight.version)

    def newest_version(self) -> int:
        """Return the newest version of a model that was ever seen."""
        return self._caches.newest_version

    async def _wait_until_served(self) -> None:
        """Wait until the API server serves TRTModels: the CRD, a namespace's Role or the API server may come later."""
        told = ""
        while True:
            try:
                if await self._cluster.serves(API_VERSION, PLURAL):
                    if self._namespace is not None:  # it, or its Role, may be gone, and kopf would end again and again
                        await self._cluster.count(KIND, self._namespace)
                    self.waits_for = ""
                    return
                why = f"{PLURAL} of {API_VERSION} are not served: install the CRD (helm, or kubectl apply -f crds/)"
                for key, (uid, _) in self._caches.seen_models(self._namespace).items():
                    self._caches.forget_model(key, uid)
            except ApiError as error:
                why = f"the API server cannot be asked for {API_VERSION}: {error}"
            if why != told:
                logger.warning("Waiting: %s", why)
                self.waits_for = told = why
            await asyncio.sleep(LOOK_FOR_CRD_SECONDS)

    async def _check(self) -> None:
        """See whether kopf brings everything, and return where it does not. Nothing is asked while it does."""
        while True:
            missed = self._missed(time.monotonic())
            if missed and not await self._cluster.answers():
                self._last_heard = self._last_event = time.monotonic()  # it is the API server that is silent
                self._sent = {uid: (sight, self._last_event) for uid, (sight, _) in self._sent.items()}
            elif missed:
                logger.warning("%s: kopf is started again", missed)
                self._failures += 1
                await self._fetch([sight for sight, _ in self._sent.values()])
                return
            self.synced = self.synced or (self._is_listed and not self._sent)
            await asyncio.sleep(CHECK_SECONDS if self._is_listed and not self._sent else LOOK_AGAIN_SECONDS)

    def _missed(self, now: float) -> str:
        """Return what kopf has missed, in words, "" for nothing; it may take as long as it goes on bringing things."""
        patience = PATIENCE_SECONDS if self._has_brought else FIRST_PATIENCE_SECONDS
        if not self._is_listed:
            return "kopf has listed no TRTModels" if now - self._last_event > FIRST_PATIENCE_SECONDS else ""
        since = min((when for _, when in self._sent.values()), default=now)
        if now - max(self._last_event, since) > patience or now - since > LONGEST_PATIENCE_SECONDS:
            return f"kopf has not brought {len(self._sent)} TRTModels that it was told of" if self._sent else ""
        return "the watch of TRTModels is silent" if now - self._last_heard > MOST_SILENCE_SECONDS else ""

    async def _fetch(self, sights: Iterable[Sight]) -> None:
        """Take in what kopf has not brought."""
        for sight in sights:
            try:
                body = await self._cluster.get(Reference(KIND, *sight.key))
            except ApiError as error:
                logger.warning("TRTModel %s/%s: %s", *sight.key, error)  # the next run's list has it
                return
            if body is None or body["metadata"]["uid"] != sight.uid:
                self._caches.forget_model(sight.key, sight.uid)
            if body is not None:
                self._caches.see_model(body)
