"""One queue of keys: each key once, never two workers on one, retries with backoff."""

import asyncio
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.25, 60.0


class WorkQueue(Generic[K]):
    """Keys to look at, after client-go's workqueue: what comes while its key is worked on is looked at once more.

    Keys of one share (a namespace) are worked on a few at a time, and the shares take turns: a tenant whose writes take
    long keeps nobody else waiting.

    Args:
        share_of: the share that a key belongs to.
        most: how many keys of one share are worked on at a time.
    """

    def __init__(self, share_of: Callable[[K], Hashable], most: int) -> None:
        self._share_of = share_of
        self._most = most
        self._waiting: OrderedDict[Hashable, OrderedDict[K, float]] = OrderedDict()  # since when, by the share
        self._active: set[K] = set()
        self._active_of: Counter[Hashable] = Counter()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._available = asyncio.Event()

    def __len__(self) -> int:
        """Return how many keys wait."""
        return sum(len(keys) for keys in self._waiting.values())

    @property
    def oldest_seconds(self) -> float:
        """Return for how long the key that has waited longest has done so; 0 where none waits."""
        # Within a share they wait in their order.
        since = min((next(iter(keys.values())) for keys in self._waiting.values()), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def add(self, key: K) -> None:
        """Have a key looked at soon."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        else:
            self._waiting.setdefault(self._share_of(key), OrderedDict()).setdefault(key, time.monotonic())
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
        while (share := self._next_share()) is None:
            self._available.clear()
            await self._available.wait()
        keys = self._waiting.pop(share)
        key, _ = keys.popitem(last=False)
        if keys:
            self._waiting[share] = keys  # behind the others: it is their turn
        self._active.add(key)
        self._active_of[share] += 1
        return key

    def _next_share(self) -> Hashable | None:
        """The share that has waited longest of those that have not all they may have; they are few who have."""
        return next((share for share in self._waiting if self._active_of[share] < self._most), None)

    def looking(self, key: K) -> None:
        """Say that a look at an active key begins: it sees what has brought the key up until now."""
        self._again.discard(key)

    def done(self, key: K) -> None:
        """Say that a key's work is over."""
        self._active.discard(key)
        share = self._share_of(key)
        self._active_of[share] -= 1
        if not self._active_of[share]:
            del self._active_of[share]
        self._available.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)
