"""One queue of keys: each key once, never two workers on one, retries with backoff."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.25, 60.0


class WorkQueue(Generic[K]):
    """Keys to look at, after client-go's workqueue: what comes while its key is worked on is looked at once more."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[K, None] = OrderedDict()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._available = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Have a key looked at soon."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._available.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key looked at later, unless something brings it up before."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)

    def retry(self, key: K) -> float:
        """Have a failed key looked at again, later each time. Returns the wait in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        backoff: float = min(FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 16), LONGEST_BACKOFF_SECONDS)
        seconds = backoff * random.uniform(0.5, 1.0)
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """Forget a key's failures."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it. `done` gives it back."""
        while not self._waiting:
            self._available.clear()
            await self._available.wait()
        key, _ = self._waiting.popitem(last=False)
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        """Say that a key's work is over."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
