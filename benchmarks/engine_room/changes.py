"""Changes of specs, and how soon the operator writes something for each."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .asked import Asked, Progress
from .driver import Driver, Place


@dataclass(frozen=True, slots=True)
class Change:
    """When it was sent, and how long it then took until the API server received the first write."""

    sent: float
    seconds: float
    request_seconds: float
    """Until the API server had answered the change itself."""


async def make_changes(asked: Asked, driver: Driver, where: Sequence[Place], pause: float) -> list[Change]:
    """Give one model after the other a second replica at a pace, whatever comes of it.

    Raises:
        TimeoutError: the operator wrote nothing for one of them.
    """
    begin, sent = time.time(), list[tuple[Place, float]]()
    answered: dict[Place, float] = {}

    async def change(place: Place) -> None:
        await driver.change(place, replicas=2)
        answered[place] = time.time()

    async with asyncio.TaskGroup() as tasks:
        for number, place in enumerate(where):
            await asyncio.sleep(max(begin + number * pause - time.time(), 0))
            sent.append((place, time.time()))
            tasks.create_task(change(place))
    progress = Progress("changes that something was written for", len(sent))
    while True:
        await asked.settle()
        written = defaultdict[Place, list[float]](list)
        for call in asked.since(begin):
            if call.is_write:
                written[Place(call.namespace, call.name[: len(where[0].name)])].append(call.received)
        firsts = [min((one for one in written[place] if one >= when), default=None) for place, when in sent]
        found = [
            Change(when, first - when, answered[place] - when)
            for (place, when), first in zip(sent, firsts, strict=True)
            if first is not None
        ]
        if len(found) == len(sent):
            return found
        progress.see(len(found))
