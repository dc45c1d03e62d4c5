"""One engine, one pass at a time: also with three who want it, and a refusal between."""

from __future__ import annotations

import asyncio

import pytest

from tftrt_operator.controller.keyed_locks import KeyedLocks


async def test_a_third_who_comes_while_the_second_works_waits_for_it() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    at_work: list[str] = []
    most = 0
    second_works = asyncio.Event()

    async def work(name: str, *, after: asyncio.Event | None = None) -> None:
        nonlocal most
        if after is not None:
            await after.wait()
        async with locks.alone("engine"):
            at_work.append(name)
            most = max(most, len(at_work))
            if name == "second":
                second_works.set()
            for _ in range(10):
                await asyncio.sleep(0)
            at_work.remove(name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work("first"))
        tasks.create_task(work("second"))
        tasks.create_task(work("third", after=second_works))
    assert most == 1
    assert len(locks) == 0


async def test_others_are_not_kept_waiting() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    async with locks.alone("a"), asyncio.timeout(5), locks.alone("b"):
        assert len(locks) == 2


async def test_who_fails_or_is_cancelled_leaves_no_lock_behind() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    with pytest.raises(RuntimeError):
        async with locks.alone("a"):
            waiting = asyncio.create_task(locks.alone("a").__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            raise RuntimeError
    assert len(locks) == 0
