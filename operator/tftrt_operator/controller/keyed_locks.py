"""A lock for each key, which is there for as long as somebody holds it or waits for it."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class KeyedLocks(Generic[K]):
    """Locks by key.

    Who leaves a lock must not take it from the table while others wait: a released `asyncio.Lock` is not locked until
    the one whom it wakes has run, and whoever came in between would make another lock beside it. So users are counted.
    """

    def __init__(self) -> None:
        self._locks: dict[K, asyncio.Lock] = {}
        self._users: dict[K, int] = {}

    def __len__(self) -> int:
        """Return how many keys are held or waited for."""
        return len(self._locks)

    @asynccontextmanager
    async def alone(self, key: K) -> AsyncIterator[None]:
        """Wait until nobody else works under this key, and keep others waiting."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] = self._users.get(key, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
