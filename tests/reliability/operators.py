"""Operators as processes: started, stopped, killed."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.build import Build

from .timers import TIMERS

FORKER = Path(__file__).parent / "forker.py"
STOP_SECONDS = 30


@dataclass(slots=True)
class Operator:
    """A process of the operator."""

    pid: int
    folder: Path
    code: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """How it ended."""

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return not self.code.done()

    @property
    def log(self) -> str:
        """All that it, and others that were started in its folder, have written."""
        return (self.folder / "operator.log").read_text(errors="replace")

    def kill(self) -> None:
        """End it as the kernel does, in whatever it is about to do."""
        self._send(signal.SIGKILL)

    async def stop(self) -> int:
        """Tell it to end, and return its exit code."""
        self._send(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            return await asyncio.shield(self.code)

    def _send(self, number: signal.Signals) -> None:
        if self.runs:
            with suppress(ProcessLookupError):  # its end is not told yet
                os.kill(self.pid, number)


class Operators:
    """Starts operators of one build."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: list[asyncio.Future[int]] = []
        self._operators: dict[int, Operator] = {}
        self.unknown_timers: Sequence[str] = ()

    @classmethod
    @asynccontextmanager
    async def of(cls, build: Build, timers: Mapping[str, Mapping[str, float]] = TIMERS) -> AsyncIterator["Operators"]:
        """Have a process that starts them; none of them outlives it."""
        environment = {**os.environ, "KUBECONFIG": "kubeconfig", "PYTHONPATH": str(build.folder / "operator")}
        command = (str(build.python), str(FORKER), json.dumps(timers))
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        assert process.stdout is not None
        found = cls(process)
        found.unknown_timers = json.loads(await process.stdout.readline() or b"{}").get("unknown", ())
        reading = asyncio.create_task(found._read(process.stdout), name="what the forker says")
        try:
            yield found
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
            await reading

    async def start(self, folder: Path, arguments: Sequence[str]) -> Operator:
        """Start one whose configuration, and whose file `kubeconfig`, are in a folder."""
        assert self._process.stdin is not None
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked.append(started)
        wanted = {"folder": str(folder), "arguments": list(arguments)}
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
        pid = await started
        operator = self._operators[pid]
        operator.folder = folder
        return operator

    async def _read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            said = json.loads(line)
            if (pid := said.get("started")) is not None:
                self._operators[pid] = Operator(pid, Path())
                self._asked.pop(0).set_result(pid)
            elif (ended := self._operators.pop(said["ended"], None)) is not None:
                ended.code.set_result(said["code"])
        for one in self._asked:
            one.set_exception(RuntimeError("the process that starts operators has ended"))
        for operator in self._operators.values():  # they have ended with it
            operator.code.set_result(-signal.SIGKILL)


THIS_BUILD = Build(Path(__file__).parents[2], Path(sys.executable))
