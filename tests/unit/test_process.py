"""How the operator ends: with 0 where it was told to, and not where a part of it fails."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from tftrt_operator import __main__ as entry
from tftrt_operator.config import Configuration
from tftrt_operator.controller import process

from .builders import CATALOGUE


class Connection:
    """A connection to an API server that is not asked for anything."""

    def __init__(self) -> None:
        self.is_closed = False

    def stop_writes_at(self, _end: object) -> None:
        """It writes nothing."""

    async def close(self) -> None:
        self.is_closed = True


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> NoReturn:
    raise RuntimeError("nobody expected this")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    made = Connection()

    async def connect(*_: object) -> Connection:
        return made

    monkeypatch.setattr(process, "Cluster", SimpleNamespace(connect=connect))
    return made


def parts(monkeypatch: pytest.MonkeyPatch, workers: Any, watch: Any) -> None:
    monkeypatch.setattr(process, "Workers", lambda *_: SimpleNamespace(run=workers, caches=None, act=lambda: None))
    monkeypatch.setattr(process, "ModelWatch", lambda *_: SimpleNamespace(run=watch))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_peace(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    started = asyncio.Event()

    async def works() -> None:
        started.set()
        await for_ever()

    parts(monkeypatch, works, for_ever)
    running = asyncio.create_task(process.run(Configuration(CATALOGUE, ()), 0))
    await started.wait()
    os.kill(os.getpid(), number)
    async with asyncio.timeout(20):
        await running
    assert connection.is_closed


@pytest.mark.parametrize(("workers", "watch"), [(fails, for_ever), (for_ever, fails)])
async def test_a_part_that_ends_by_itself_is_a_fault(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, workers: Any, watch: Any
) -> None:
    parts(monkeypatch, workers, watch)
    with pytest.raises(process.EndedByItselfError) as ended:
        await process.run(Configuration(CATALOGUE, ()), 0)
    assert "nobody expected this" in str(ended.value.__cause__)
    assert connection.is_closed


def test_a_fault_is_no_exit_code_of_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "runtimes:\n  - {name: cpu, image: i, tensorflow: 2.14.1, accelerator: None}\ndefaultRuntime: cpu\n"
    )

    async def ends(*_: Any) -> None:
        raise process.EndedByItselfError("workers ended")

    monkeypatch.setattr(process, "run", ends)
    monkeypatch.setattr(sys, "argv", ["tftrt-operator", "--config", str(config)])
    with pytest.raises(SystemExit) as exited:
        entry.main()
    assert exited.value.code not in (0, None)
