import asyncio
import time

import pytest

from tftrt_operator.controller.queue import WorkQueue


def one_share() -> WorkQueue[str]:
    return WorkQueue(lambda _key: "all", 8)


async def test_a_key_waits_once_however_often_it_is_added() -> None:
    queue = one_share()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_a_key_is_never_worked_on_twice_at_once_and_nothing_is_missed() -> None:
    queue = one_share()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_failed_key_comes_back_later_each_time() -> None:
    queue = one_share()
    waits = [queue.retry("a") for _ in range(12)]
    assert waits[0] < 0.3
    assert 30 <= waits[-1] <= 60
    queue.forget("a")
    assert queue.retry("a") < 0.3


async def test_what_comes_by_itself_comes_before_its_timer() -> None:
    queue = one_share()
    queue.add_after("a", 3600)
    queue.add("a")
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_namespace_whose_work_takes_long_keeps_no_other_waiting() -> None:
    queue: WorkQueue[tuple[str, int]] = WorkQueue(lambda key: key[0], 2)
    for number in range(64):
        queue.add(("slow", number))
    assert [await queue.get(), await queue.get()] == [("slow", 0), ("slow", 1)]
    third = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not third.done(), "two of a namespace are worked on at a time"
    queue.add(("quick", 0))
    assert await asyncio.wait_for(third, 1) == ("quick", 0)
    queue.done(("slow", 0))
    assert await asyncio.wait_for(queue.get(), 1) == ("slow", 2)


async def test_namespaces_take_turns() -> None:
    queue: WorkQueue[tuple[str, int]] = WorkQueue(lambda key: key[0], 8)
    for share in ("a", "b"):
        for number in range(2):
            queue.add((share, number))
    assert [await queue.get() for _ in range(4)] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


async def test_it_tells_for_how_long_the_first_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    queue: WorkQueue[tuple[str, int]] = WorkQueue(lambda key: key[0], 2)
    assert queue.oldest_seconds == 0
    queue.add(("slow", 0))
    now[0] = 102.0
    queue.add(("quick", 0))
    queue.add(("slow", 0))
    now[0] = 105.0
    assert queue.oldest_seconds == 5, "to be added again makes nobody younger"
    await queue.get()
    assert queue.oldest_seconds == 3
