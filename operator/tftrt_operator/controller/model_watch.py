"""kopf's watch of TRTModels, made whole.

kopf lists again after a 410 without a word on what was deleted meanwhile; a watch that fails in another way, or whose
CRD goes, stays dead. So what it has brought is compared with what there is: their number often, all of them after
each of its lists and where the numbers differ. What it has missed is taken in, and kopf is started again.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

import kopf

from ..api import API_VERSION, KIND, PLURAL
from ..domain.observation import Reference
from .caches import Caches, Key
from .cluster import ApiError, Cluster
from .kopf_thread import KopfThread

logger = logging.getLogger(__name__)

LOOK_FOR_CRD_SECONDS = 1.0
COUNT_SECONDS = 10.0
"""One small request."""
COMPARE_SECONDS = 600.0
"""A list of all metadata, at least so often: a change that was missed does not show in the number."""
FIRST_PATIENCE_SECONDS = 60.0
"""For so long kopf may bring nothing at its start: it tries again by itself where the API server is busy."""
PATIENCE_SECONDS = 5.0
"""The same once it has brought something, while it has not brought everything."""
LONGEST_PATIENCE_SECONDS = 300.0
LOOK_AGAIN_SECONDS = 0.2
DEAF_AFTER = 3
"""Runs of kopf in a row that have missed something: starting it again does not help."""
LONGEST_PAUSE_SECONDS = 30.0


class ModelWatch:
    """Feeds the caches with the TRTModels of a namespace, or of all."""

    def __init__(self, cluster: Cluster, caches: Caches, namespace: str | None = None) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.what = KIND if namespace is None else f"{KIND} in {namespace}"
        self._caches = caches
        self._last_event = time.monotonic()
        self._has_listed = False
        self._has_brought = False
        self._gone: set[str] = set()
        """UIDs of what was deleted while what there is was compared with what was brought."""
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
            run = KopfThread(self._take, self._namespace)
            self._last_event, self._has_listed, self._has_brought = time.monotonic(), True, False
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

    def _take(self, event: kopf.RawEvent) -> None:
        self._last_event, self._has_brought = time.monotonic(), True
        body = event["object"]
        if event["type"] is None:
            self._has_listed = True  # of what a 410 hid, nobody says a word
        else:
            self._failures = 0  # this is no list: a watch is alive
        if event["type"] == "DELETED":
            metadata = body["metadata"]
            self._gone.add(metadata["uid"])
            self._caches.forget_model((metadata["namespace"], metadata["name"]), metadata["uid"])
            return
        self._caches.see_model(body)

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
                self._forget_all()
            except ApiError as error:
                why = f"the API server cannot be asked for {API_VERSION}: {error}"
            if why != told:
                logger.warning("Waiting: %s", why)
                self.waits_for = told = why
            await asyncio.sleep(LOOK_FOR_CRD_SECONDS)

    def _forget_all(self) -> None:
        for key, (uid, _) in self._seen().items():
            self._caches.forget_model(key, uid)

    async def _check(self) -> None:
        """Look whether kopf brings everything, and return where it does not, or where the CRD is gone."""
        compared, differed = time.monotonic(), False
        while True:
            try:
                if not (self._has_listed or time.monotonic() - compared > COMPARE_SECONDS):
                    count = await self._cluster.count(KIND, self._namespace)
                    differs = count != len(self._seen())
                    # Once may be an event that is under way.
                    self._has_listed |= differs and differed
                    differed = differs
                if self._has_listed or time.monotonic() - compared > COMPARE_SECONDS:
                    self._has_listed = False
                    if not await self._compare():
                        self._failures += 1
                        return
                    compared, differed, self.synced = time.monotonic(), False, True
            except ApiError as error:
                if error.status == 404:
                    return  # the CRD is gone
                self._has_listed = True  # nobody knows
                logger.log(logging.DEBUG if error.status == 0 else logging.WARNING, "Counting TRTModels: %s", error)
            await asyncio.sleep(COUNT_SECONDS)

    def _seen(self) -> dict[Key, tuple[str, int]]:
        return self._caches.seen_models(self._namespace)

    async def _compare(self) -> bool:
        """Forget what is gone, and take in what kopf has missed. Returns whether it has missed nothing.

        Raises:
            ApiError: the API server could not say.
        """
        self._gone.clear()
        before = self._seen()
        there = {
            (metadata["namespace"], metadata["name"]): (metadata["uid"], int(metadata["resourceVersion"]))
            async for metadata in self._cluster.list_metadata(KIND, self._namespace)
        }
        for key, (uid, version) in before.items():
            # A version that goes back is that of a store that was restored: what was seen is not so any more.
            if there.get(key, ("", 0))[0] != uid or there[key][1] < version:
                self._caches.forget_model(key, uid)
        began = time.monotonic()
        while (missing := self._missing(there)) or (there and not self._has_brought):
            now, patience = time.monotonic(), PATIENCE_SECONDS if self._has_brought else FIRST_PATIENCE_SECONDS
            if now - max(self._last_event, began) > patience or now - began > LONGEST_PATIENCE_SECONDS:
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        if not missing and there and not self._has_brought:
            logger.warning("kopf has brought none of %d TRTModels: it is started again", len(there))
            return False
        missed = 0
        for namespace, name in missing:
            if (body := await self._cluster.get(Reference(KIND, namespace, name))) is not None:
                missed += 1
                self._caches.see_model(body)
        if missed:
            logger.warning("kopf has not brought %d of %d TRTModels: it is started again", missed, len(there))
        return not missed

    def _missing(self, there: Mapping[Key, tuple[str, int]]) -> list[Key]:
        """Return those that have not been seen as they were in the list, or later."""
        seen = self._seen()
        return [
            key
            for key, (uid, version) in there.items()
            if uid not in self._gone and (key not in seen or (seen[key][0] == uid and seen[key][1] < version))
        ]
