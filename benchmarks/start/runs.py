"""Runs one command, and says what it did when: by when each line of its log came."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from threading import Thread
from typing import Any

READY_SECONDS, END_SECONDS = 600, 120
POLL_SECONDS = 0.01
STARTED = "Started TensorFlow in a child process"


@dataclass(frozen=True)
class Line:
    """A line of the log, and the seconds since the start at which it was there."""

    at: float
    told: dict[str, Any]

    @property
    def message(self) -> str:
        """What happened."""
        return str(self.told.get("message", ""))


@dataclass(frozen=True)
class Run:
    """Seconds by stage, in order, all of the command, and those of the processor, by all of its processes."""

    stages: dict[str, float]
    seconds: float
    processor_seconds: float
    processes: int

    def told(self) -> dict[str, Any]:
        """For a file."""
        return {
            "seconds": round(self.seconds, 3),
            "processorSeconds": round(self.processor_seconds, 2),
            "processes": self.processes,
            "stages": {name: round(seconds, 3) for name, seconds in self.stages.items()},
        }


def conversion(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """A conversion, from its start to its exit.

    Raises:
        RuntimeError: it failed; the end of its log is told.
    """
    before, started = _processor_seconds(), time.monotonic()
    process = _started(command, environment)
    lines = list(_lines(process, started))
    code, seconds = process.wait(), time.monotonic() - started
    if code:
        raise RuntimeError(f"it ended with {code}: {[line.told for line in lines[-5:]]}")
    children = [line for line in lines if line.message == STARTED]
    return Run(stages(lines, seconds), seconds, _processor_seconds() - before, len(children))


def stages(lines: Sequence[Line], seconds: float) -> dict[str, float]:
    """What the conversion spent its seconds on, by the processes that it started one after the other.

    A stage lasts from where the last one ended until its process has ended, of which the next line of the parent tells.
    """
    marks: list[tuple[str, float]] = [("until the first process", 0.0)]
    for line in lines:
        if line.message == STARTED:
            marks.append((str(line.told["child"]).removeprefix("tftrt_runtime."), line.at))
        elif line.message == "Wrote the report":
            marks.append(("report", line.at - float(line.told["seconds"])))
            marks.append(("exit", line.at))
    ends = [*(at for _, at in marks[1:]), seconds]
    found: dict[str, float] = {}
    for (name, begin), end in zip(marks, ends, strict=True):
        found[name] = found.get(name, 0.0) + end - begin
    return found


def serving(command: Callable[[tuple[int, int, int]], Sequence[str]], environment: Mapping[str, str]) -> Run:
    """A server, from its start until it says that it is ready; then it is ended.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    ports = _free_ports()
    started = time.monotonic()
    process = _started(command(ports), environment)
    lines: list[Line] = []
    reader = Thread(target=lambda: lines.extend(_lines(process, started)))
    reader.start()
    try:
        _wait_until_ready(process, ports[0])
        seconds = time.monotonic() - started
        spent = sum(_of_process(pid) for pid in _tree(process.pid))
        processes = len(_tree(process.pid))
    finally:
        process.terminate()
        process.wait(END_SECONDS)
        reader.join()
    return Run(ready_stages(lines, seconds), seconds, spent, processes)


def ready_stages(lines: Sequence[Line], seconds: float) -> dict[str, float]:
    """What a server spent the time on until it was ready."""
    at = {line.message: line.at for line in reversed(lines)}
    last_warm = max((line.at for line in lines if line.message == "Warmed up"), default=None)
    loaded = next((line for line in lines if line.message == "Loaded the artifact"), None)
    begin_load = None if loaded is None else loaded.at - float(loaded.told["seconds"])
    marks = [
        ("until the artifact is checked", at.get("Checked the artifact")),
        ("until tritonserver is started", at.get("Started tritonserver")),
        ("until TensorFlow is imported, and its memory reserved", begin_load),
        ("the artifact is loaded", None if loaded is None else loaded.at),
        ("warmed up", last_warm),
        ("ready", seconds),
    ]
    found, before = {}, 0.0
    for name, when in marks:
        if when is not None:
            found[name], before = max(when - before, 0.0), max(when, before)
    return found


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def _lines(process: subprocess.Popen[str], started: float) -> Iterator[Line]:
    assert process.stderr is not None
    for text in process.stderr:
        at = time.monotonic() - started
        try:
            told = json.loads(text)
        except ValueError:
            told = {"message": text.rstrip()}
        yield Line(at, told if isinstance(told, dict) else {"message": text.rstrip()})


def _processor_seconds() -> float:
    """Of all processes that have ended, and whose ancestors have, up to this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _of_process(pid: int) -> float:
    """The processor's seconds of one that runs, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


@contextmanager
def _sockets(count: int) -> Iterator[list[socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket()) for _ in range(count)]


def _free_ports() -> tuple[int, int, int]:
    """Ports that nothing listens on."""
    with _sockets(3) as sockets:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        http, grpc, metrics = (int(one.getsockname()[1]) for one in sockets)
        return http, grpc, metrics


def _wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if _is_ready(port):
            return
        time.sleep(POLL_SECONDS)
    raise RuntimeError("the server ended" if process.poll() is not None else "the server was not ready in time")


def _is_ready(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5).close()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True
