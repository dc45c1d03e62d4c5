"""List-and-watch of one kind: a store that is always whole.

kopf's own watching lists again after a 410 without saying what was deleted meanwhile, and its handlers never see
bookmarks. Here what is on none of a list's pages goes with the last of them, so that nothing that is gone stays.
"""

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import aiohttp

from .cluster import ApiError, Cluster

logger = logging.getLogger(__name__)

T = TypeVar("T")
TOMBSTONES = 10_000
_EXPIRED = (410, 400, 504)
"""Gone; and what the API server says to a resource version that it has never had (etcd restored from a backup)."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 30.0
SHORTEST_WATCH_SECONDS = 1.0
"""A watch that ends sooner has brought nothing to go on at once for."""


class Informer(Generic[T]):
    """All objects of a kind in one place that a label selector selects, parsed, indexed, and kept up to date.

    Args:
        cluster: the connection.
        kind: the kind to watch.
        namespace: where to watch it; None for everywhere.
        selector: a label selector.
        parse: from the API server's object to ours; whatever it raises leaves the object out.
        index: the keys under which an object is found.
        changed: called with an object's index keys at every change, after the store has it.
        gone: called instead with those of an object that somebody else has deleted.
        turn: taken while a list is under way, whose pages take more memory than all that is kept of them.
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        namespace: str | None,
        selector: str,
        parse: Callable[[Mapping[str, Any]], T],
        index: Callable[[Mapping[str, Any]], Iterable[Hashable]],
        changed: Callable[[Iterable[Hashable]], None],
        gone: Callable[[Iterable[Hashable]], None] | None = None,
        turn: asyncio.Semaphore | None = None,
    ) -> None:
        self.what = kind if namespace is None else f"{kind} in {namespace}"
        self.synced = asyncio.Event()
        self.last_heard = time.monotonic()
        self._cluster = cluster
        self.kind = kind
        self._namespace = namespace
        self._selector = selector
        self._parse = parse
        self._index = index
        self._changed = changed
        self._gone = changed if gone is None else gone
        self._turn = asyncio.Semaphore() if turn is None else turn
        self._objects: dict[str, tuple[int, T, tuple[Hashable, ...]]] = {}
        self._written: set[str] | None = None
        """While a list is under way, the UIDs of what we have written since it began."""
        self._left_out: dict[str, str] = {}
        """Why an object cannot be read, by its UID."""
        self._by_key: dict[Hashable, str | dict[str, None]] = {}
        """The UIDs under each index key; most keys have one, which needs no table of its own."""
        self._tombstones: OrderedDict[str, None] = OrderedDict()

    def covers(self, namespace: str) -> bool:
        """Return whether a namespace's objects are here."""
        return self._namespace in (None, namespace)

    def find(self, key: Hashable) -> tuple[T, ...]:
        """Return the objects under an index key."""
        uids = self._by_key.get(key, ())
        return tuple(self._objects[uid][1] for uid in ((uids,) if isinstance(uids, str) else uids))

    def write_through(self, body: Mapping[str, Any]) -> bool:
        """Take in the API server's answer to our own write, so that the next look does not miss it.

        Returns whether the object can be read.
        """
        uid = body["metadata"]["uid"]
        if uid not in self._tombstones and self._upsert(body):
            if self._written is not None:
                self._written.add(uid)
            self._changed(self._objects[uid][2])  # the watch will bring nothing newer than this
        return uid in self._objects

    def forget(self, uid: str) -> None:
        """Drop an object that was deleted. One that stays for its finalizers comes back with its next event."""
        self._changed(self._remove(uid))

    def lose(self, uid: str) -> None:
        """Drop an object that somebody else has deleted."""
        self._gone(self._remove(uid))

    async def run(self) -> None:
        """List and watch, for ever."""
        pause = FIRST_PAUSE_SECONDS
        resource_version = ""
        while True:
            began = time.monotonic()
            try:
                if not resource_version:
                    async with self._turn:
                        resource_version = await self._list()
                    self.synced.set()
                async for event in self._cluster.watch(self.kind, self._selector, resource_version, self._namespace):
                    self.last_heard = time.monotonic()
                    if self.last_heard - began >= SHORTEST_WATCH_SECONDS:
                        pause = FIRST_PAUSE_SECONDS
                    resource_version = event.object["metadata"]["resourceVersion"]
                    if event.type == "DELETED":
                        self.lose(event.object["metadata"]["uid"])
                    elif event.type != "BOOKMARK" and self._upsert(event.object):
                        self._changed(self._objects[event.object["metadata"]["uid"]][2])
            except ApiError as error:
                if error.status in _EXPIRED:
                    logger.info("Watching %s: the resource version is of no use, listing again: %s", self.what, error)
                    resource_version = ""
                else:
                    logger.warning("Watching %s: %s", self.what, error)
                if error.status == 403:
                    self.last_heard = time.monotonic()  # no silence: the namespace, or its Role, has gone
                pause = await _rest(pause)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                # The connection broke, in the middle of a line perhaps: the resource version is still good.
                logger.warning("Watching %s: %s: %s", self.what, type(error).__name__, error)
                pause = await _rest(pause)
            except Exception:
                # Whatever one object or one answer brings, it ends no watch; what was missed is in the next list.
                logger.exception("Watching %s: listing again", self.what)
                resource_version = ""
                pause = await _rest(pause)
            else:
                if time.monotonic() - began < SHORTEST_WATCH_SECONDS:
                    pause = await _rest(pause)  # a proxy, or an API server that is about to go

    async def _list(self) -> str:
        found = set[str]()
        written = self._written = set()
        next_page = ""
        while True:
            page = await self._cluster.list_page(self.kind, self._selector, next_page, self._namespace)
            self.last_heard = time.monotonic()
            found |= {self._take(item) for item in page.items}
            next_page, resource_version = page.next_page, page.resource_version
            del page  # hundreds of large objects, before the next ones come
            if not next_page:
                break
        # What we wrote while the pages came is in none of them, and is not gone.
        gone = [uid for uid in self._objects if uid not in found and uid not in written]
        self._written = None
        for uid in gone:
            self.lose(uid)
        return resource_version

    def _take(self, body: Mapping[str, Any]) -> str:
        """Store an object of a list; returns its UID."""
        uid: str = body["metadata"]["uid"]
        if self._upsert(body):
            self._changed(self._objects[uid][2])
        return uid

    def _upsert(self, body: Mapping[str, Any]) -> bool:
        """Store an object unless what we have is newer. Returns whether it was stored."""
        metadata = body["metadata"]
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        have = self._objects.get(uid)
        if have is not None and have[0] >= version:
            return False
        try:
            value, keys = self._parse(body), tuple(self._index(body))
        except Exception as error:
            # Anyone may write an object with our labels: what cannot be read must not end the operator.
            why = f"{type(error).__name__}: {error}"
            if self._left_out.get(uid) != why:  # or whoever touches it again and again would fill the log
                logger.warning("%s %s/%s is left out: %s", self.kind, metadata["namespace"], metadata["name"], why)
                self._left_out[uid] = why
            if have is not None:
                # What it said before is not so any more.
                self._unindex(uid)
                del self._objects[uid]
                self._changed(have[2])
            return False
        self._left_out.pop(uid, None)
        self._unindex(uid)
        self._objects[uid] = (version, value, keys)
        for key in keys:
            uids = self._by_key.setdefault(key, uid)
            if isinstance(uids, dict):
                uids[uid] = None
            elif uids != uid:
                self._by_key[key] = {uids: None, uid: None}
        return True

    def _remove(self, uid: str) -> tuple[Hashable, ...]:
        """Drop an object; returns the keys that it had."""
        self._unindex(uid)
        gone = self._objects.pop(uid, None)
        self._left_out.pop(uid, None)
        self._tombstones[uid] = None
        while len(self._tombstones) > TOMBSTONES:
            self._tombstones.popitem(last=False)
        return gone[2] if gone else ()

    def _unindex(self, uid: str) -> None:
        if uid in self._objects:
            for key in self._objects[uid][2]:
                uids = self._by_key.get(key, {})
                if isinstance(uids, dict):
                    uids.pop(uid, None)
                if not uids or uids == uid:
                    self._by_key.pop(key, None)


async def _rest(pause: float) -> float:
    """Wait before another try; returns the next pause. The spread keeps eight watches from knocking together."""
    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
    return min(pause * 2, LONGEST_PAUSE_SECONDS)
