"""What an account asked of the API server, as its audit log tells it."""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable

from tests.cluster.audit import Call, Follower
from tests.cluster.layout import Layout
from tests.cluster.progress import say

QUIET_SECONDS = 2.0
"""Who has written nothing for so long has nothing more to write."""
LOOK_SECONDS = 0.2
TELL_SECONDS = 30.0
LONGEST_STANDSTILL_SECONDS = 300.0
"""Without one more of what is waited for; thousands of models take as long as they take."""
OUT_OF_ORDER_SECONDS = 1.0
"""Calls that end at the same time are written down in any order."""


class Asked:
    """All calls since the control plane has been up; times in seconds since the epoch."""

    def __init__(self, layout: Layout) -> None:
        self._follower = Follower(layout)
        self._calls: list[Call] = []
        self._last_write = 0.0

    def since(self, begin: float) -> list[Call]:
        """Return what the API server received since then, in the order of its answers."""
        self._read()
        return [call for call in self._calls[self._first(begin) :] if call.received >= begin]

    async def wait_for(self, what: str, wanted: Callable[[Call], bool], count: int, begin: float) -> list[Call]:
        """Wait until there are so many such calls since a time, and return them.

        Raises:
            TimeoutError: there were no more of them for too long.
        """
        found, seen = list[Call](), self._first(begin)
        progress = Progress(what, count)
        while True:
            self._read()
            found += (call for call in self._calls[seen:] if call.received >= begin and wanted(call))
            seen = len(self._calls)
            if len(found) >= count:
                return found
            progress.see(len(found))
            await asyncio.sleep(LOOK_SECONDS)

    async def settle(self) -> None:
        """Wait until there has been no write for a while."""
        begin = time.time()
        while time.time() - max(begin, self._last_write) < QUIET_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
            self._read()

    def _read(self) -> None:
        for call in self._follower.read():
            self._calls.append(call)
            if call.is_write:
                self._last_write = max(self._last_write, call.answered)

    def _first(self, begin: float) -> int:
        """Return the place of the first call that may have been received since then: none is answered before."""
        return bisect_left(self._calls, begin - OUT_OF_ORDER_SECONDS, key=lambda call: call.answered)


class Progress:
    """How far something has come: told now and then, and given up where it comes no further."""

    def __init__(self, what: str, count: int) -> None:
        self._what = what
        self._count = count
        self._most = -1
        self._since = self._told = time.monotonic()

    def see(self, done: int) -> None:
        """Take note of how many are done.

        Raises:
            TimeoutError: there were no more of them for too long.
        """
        now = time.monotonic()
        if done > self._most:
            self._most, self._since = done, now
        if now - self._since > LONGEST_STANDSTILL_SECONDS:
            raise TimeoutError(f"{self._what}: {done} of {self._count}, and for {now - self._since:.0f} s no more")
        if now - self._told > TELL_SECONDS:
            say(f"{self._what}: {done:,} of {self._count:,}")
            self._told = now


def is_creation_of(call: Call, *resources: str) -> bool:
    """Return whether a call made an object of one of these kinds; an apply may have."""
    return call.status == 201 and call.resource in resources and not call.subresource


def counted(calls: Iterable[Call]) -> dict[str, int]:
    """Return how many calls there were of each verb and kind, the most frequent first."""
    return dict(Counter(_words(call) for call in calls).most_common())


def _words(call: Call) -> str:
    resource = f"{call.resource}/{call.subresource}" if call.subresource else call.resource
    return f"{call.verb} {resource or call.path.partition('?')[0]}"
