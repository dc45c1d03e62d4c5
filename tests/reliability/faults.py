"""What goes wrong between an operator and the API server. Each fault comes at a place that is counted."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from .proxy import Answer, Asked, Fault, Line, NoAnswer, Watch, refusal

DELAY_SECONDS = 0.5
AWAY_SECONDS = 1.0
TOLD_WITHIN_SECONDS = 15.0
RELISTED_WITHIN_SECONDS = 3.0
HELD_SECONDS = 2.0
REFUSED_AFTER_SECONDS, SLOW_SECONDS, SLOW_WRITES = 0.3, 1.5, 2
"""Slow: longer than it takes until what was refused is tried again (timers.py)."""


class Place(StrEnum):
    """What is counted until a fault comes."""

    WRITE = "write"
    QUESTION = "question"
    EVENT = "event"


class _AtWrite(Fault):
    """Something becomes of the n-th write."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def answer(self, line: Line, asked: Asked) -> Answer:
        if not asked.is_write or line.writes != self._number:
            return await line.forward(asked)
        self.fired = True
        return await self._instead(line, asked)

    async def _instead(self, line: Line, asked: Asked) -> Answer:
        raise NotImplementedError


class _Refused(_AtWrite):
    """It is refused, and nothing is done."""

    status, reason, headers = 500, "InternalError", dict[str, str]()

    async def _instead(self, line: Line, asked: Asked) -> Answer:
        return refusal(self.status, self.reason, "the harness says no", **self.headers)


class Conflict(_Refused):
    """409."""

    status, reason = 409, "Conflict"


class Busy(_Refused):
    """429."""

    status, reason, headers = 429, "TooManyRequests", {"Retry-After": "1"}


class Broken(_Refused):
    """500."""


class Forbidden(_Refused):
    """403, as a policy says it."""

    status, reason = 403, "Forbidden"


class ForbiddenSlowly(Fault):
    """From the n-th write on the first of an object is refused with 403, after a while; the next ones take longer.

    What waited for the one that is refused goes on, and is still at it when that one is tried again.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._slow = 0

    async def answer(self, line: Line, asked: Asked) -> Answer:
        is_object = asked.is_write and asked.kind != "Event" and asked.subresource != "status"
        if not is_object or line.writes < self._number or self._slow == SLOW_WRITES:
            return await line.forward(asked)
        if not self.fired:
            self.fired = True
            await asyncio.sleep(REFUSED_AFTER_SECONDS)
            return refusal(403, "Forbidden", "the harness says no")
        self._slow += 1
        await asyncio.sleep(SLOW_SECONDS)
        return await line.forward(asked)


class AnswerLost(_AtWrite):
    """It is done, and the connection ends without an answer."""

    async def _instead(self, line: Line, asked: Asked) -> Answer:
        await line.forward(asked)
        raise NoAnswer


class AnswerLate(_AtWrite):
    """It is done, and the answer does not come before the operator has given it up."""

    async def _instead(self, line: Line, asked: Asked) -> Answer:
        await line.forward(asked)
        await asyncio.Event().wait()  # until the operator closes the connection
        raise NoAnswer


class KilledBefore(_AtWrite):
    """The operator is killed before it is done."""

    async def _instead(self, line: Line, asked: Asked) -> Answer:
        line.kill()
        raise NoAnswer


class KilledAfter(_AtWrite):
    """It is done, and the operator is killed before it hears of it."""

    async def _instead(self, line: Line, asked: Asked) -> Answer:
        await line.forward(asked)
        line.kill()
        raise NoAnswer


class Trouble(Fault):
    """From the n-th write on every write of that kind is answered with 500, until the model's status tells of it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._kind = ""
        self._ends = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.untold = ""
        """What was wrong and was not told in time."""
        self.is_told: Callable[[], bool] = lambda: True

    async def answer(self, line: Line, asked: Asked) -> Answer:
        is_object = asked.is_write and asked.kind != "Event" and asked.subresource != "status"
        if not self.fired and is_object and line.writes >= self._number:
            self.fired, self._kind = True, asked.kind
            self._ending = asyncio.create_task(self._end())
        if self.fired and not self._ends.is_set() and is_object and asked.kind == self._kind:
            return refusal(500, "InternalError", "failed calling webhook: the harness refuses the connection")
        return await line.forward(asked)

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(TOLD_WITHIN_SECONDS):
                while not self.is_told():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.untold = f"writes of {self._kind} failed for {TOLD_WITHIN_SECONDS:g} s, and no status told of it"
        self._ends.set()

    async def close(self) -> None:
        if self._ending is not None:
            self._ending.cancel()


class _AtQuestion(Fault):
    """The n-th question, a list or a look at one object, is refused."""

    status, reason, headers = 500, "InternalError", dict[str, str]()

    def __init__(self, number: int) -> None:
        self._number = number

    async def answer(self, line: Line, asked: Asked) -> Answer:
        if asked.is_write or not asked.kind or line.questions != self._number:
            return await line.forward(asked)
        self.fired = True
        return refusal(self.status, self.reason, "the harness says no", **self.headers)


class QuestionBroken(_AtQuestion):
    """500."""


class QuestionBusy(_AtQuestion):
    """429."""

    status, reason, headers = 429, "TooManyRequests", {"Retry-After": "1"}


class _AtEvent(Fault):
    """Something becomes of the n-th event of all watches."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def event(self, line: Line, watch: Watch, event: bytes) -> bool:
        if line.events != self._number:
            await watch.send(event)
            return True
        self.fired = True
        return await self._instead(line, watch, event)

    async def _instead(self, line: Line, watch: Watch, event: bytes) -> bool:
        raise NotImplementedError


class WatchCut(_AtEvent):
    """The connection ends in the middle of it."""

    async def _instead(self, line: Line, watch: Watch, event: bytes) -> bool:
        await watch.break_off(event)
        return False


class WatchLate(Fault):
    """From the n-th event on, what its watch brings comes late; the others go on."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._late: Watch | None = None

    async def event(self, line: Line, watch: Watch, event: bytes) -> bool:
        if line.events == self._number:
            self.fired, self._late = True, watch
        if watch is self._late:
            await asyncio.sleep(DELAY_SECONDS)
        await watch.send(event)
        return True

    def is_behind(self, line: Line, newest: Callable[[str], int]) -> bool:
        return (
            self._late is not None and self._late in line.watches and int(self._late.version) < newest(self._late.kind)
        )


class WatchRepeats(Fault):
    """From the n-th event on each comes twice, and the one before it once more."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._before: dict[Watch, bytes] = {}

    async def event(self, line: Line, watch: Watch, event: bytes) -> bool:
        await watch.send(event)
        if line.events >= self._number:
            self.fired = True
            if (before := self._before.get(watch)) is not None:
                await watch.send(before)
            await watch.send(event)
        self._before[watch] = event
        return True


class WatchReorders(Fault):
    """The n-th event and the next one of its watch change places."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._held: tuple[Watch, bytes] | None = None
        self._releasing: asyncio.Task[None] | None = None

    async def event(self, line: Line, watch: Watch, event: bytes) -> bool:
        if line.events == self._number:
            self._held = (watch, event)
            self._releasing = asyncio.create_task(self._release())
            return True
        await watch.send(event)
        if self._held is not None and self._held[0] is watch:
            self.fired = True
            await self._send_held()
        return True

    async def _release(self) -> None:
        await asyncio.sleep(HELD_SECONDS)  # no other comes
        await self._send_held()

    async def _send_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with suppress(ConnectionResetError):
                await held[0].send(held[1])

    def is_behind(self, line: Line, newest: Callable[[str], int]) -> bool:
        return self._held is not None

    async def close(self) -> None:
        if self._releasing is not None:
            self._releasing.cancel()


class WatchExpires(_AtEvent):
    """410 instead of it: what it was is in the next list."""

    async def _instead(self, line: Line, watch: Watch, event: bytes) -> bool:
        await watch.expire()
        return False


class StaleList(_AtEvent):
    """410 instead of it, and the next list is of the time before it; the watch from there brings it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._version = ""
        self._kind = ""

    async def _instead(self, line: Line, watch: Watch, event: bytes) -> bool:
        self._kind, self._version = watch.kind, watch.version
        self.fired = False  # not before the list
        await watch.expire()
        return False

    async def answer(self, line: Line, asked: Asked) -> Answer:
        if not self._version or not asked.is_list or asked.kind != self._kind or self._version == "0":
            return await line.forward(asked)
        version, self._version = self._version, ""
        self.fired = True
        query = {**asked.query, "resourceVersion": version, "resourceVersionMatch": "Exact"}
        answer = await line.forward(_with(asked, query))
        if answer.status == 200:
            return answer
        return await line.forward(asked)


class RelistAroundWrite(Fault):
    """The n-th write is made while its kind is listed anew: after the list was taken, and before it has come.

    The watch from the list on, which brings what was written, is late.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._kind = ""
        self._taken = asyncio.Event()
        self._written = asyncio.Event()
        self._is_late, self._was_late = False, False

    async def answer(self, line: Line, asked: Asked) -> Answer:
        if self._kind and asked.is_list and asked.kind == self._kind and not self._taken.is_set():
            answer = await line.forward(asked)
            self._taken.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(RELISTED_WITHIN_SECONDS):
                    await self._written.wait()
            return answer
        counts = asked.is_write and asked.kind != "Event" and asked.subresource != "status"
        if self._kind or not counts or line.writes < self._number:
            return await line.forward(asked)
        self._kind = asked.kind
        await line.expire(asked.kind)
        with suppress(TimeoutError):
            async with asyncio.timeout(RELISTED_WITHIN_SECONDS):
                await self._taken.wait()
                self.fired = True
        answer = await line.forward(asked)
        # The write's answer goes first.
        asyncio.get_running_loop().call_later(0.2, self._written.set)
        return answer

    async def event(self, line: Line, watch: Watch, event: bytes) -> bool:
        if self.fired and watch.kind == self._kind and not self._was_late:
            self._is_late = self._was_late = True
            await asyncio.sleep(DELAY_SECONDS)
            self._is_late = False
        await watch.send(event)
        return True

    def is_behind(self, line: Line, newest: Callable[[str], int]) -> bool:
        return self._is_late


class Away(Fault):
    """From the n-th event on the API server is away for a while."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._until = 0.0

    async def event(self, line: Line, watch: Watch, event: bytes) -> bool:
        if line.events == self._number:
            self.fired = True
            self._until = asyncio.get_running_loop().time() + AWAY_SECONDS
            line.cut()
        if self._is_away:
            raise NoAnswer
        await watch.send(event)
        return True

    async def answer(self, line: Line, asked: Asked) -> Answer:
        if self._is_away:
            raise NoAnswer
        return await line.forward(asked)

    @property
    def _is_away(self) -> bool:
        return asyncio.get_running_loop().time() < self._until


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault, and what is counted until it comes."""

    name: str
    place: Place
    make: Callable[[int], Fault]
    kills: bool = False


FAULTS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("409 to a write", Place.WRITE, Conflict),
        Kind("429 to a write", Place.WRITE, Busy),
        Kind("500 to a write", Place.WRITE, Broken),
        Kind("403 to a write", Place.WRITE, Forbidden),
        Kind("403 to a slow write", Place.WRITE, ForbiddenSlowly),
        Kind("500 until it is told", Place.WRITE, Trouble),
        Kind("answer lost", Place.WRITE, AnswerLost),
        Kind("time-out after the write", Place.WRITE, AnswerLate),
        Kind("429 to a question", Place.QUESTION, QuestionBusy),
        Kind("500 to a question", Place.QUESTION, QuestionBroken),
        Kind("watch cut", Place.EVENT, WatchCut),
        Kind("watch late", Place.EVENT, WatchLate),
        Kind("events repeated", Place.EVENT, WatchRepeats),
        Kind("events reordered", Place.EVENT, WatchReorders),
        Kind("410 in a watch", Place.EVENT, WatchExpires),
        Kind("stale list", Place.EVENT, StaleList),
        Kind("written while listed", Place.WRITE, RelistAroundWrite),
        Kind("API server away", Place.EVENT, Away),
        Kind("killed before a write", Place.WRITE, KilledBefore, kills=True),
        Kind("killed after a write", Place.WRITE, KilledAfter, kills=True),
    )
}


def _with(asked: Asked, query: dict[str, str]) -> Asked:
    return Asked(asked.method, asked.path, query, asked.body, asked.headers, asked.kind, asked.name, asked.subresource)
