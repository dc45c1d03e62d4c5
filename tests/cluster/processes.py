"""Processes that outlive us: started once, found again by pid and start time, ended by nothing else."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .layout import Layout, NodeLayout
from .waiting import wait_for

Place = Layout | NodeLayout
"""Whose processes they are: it has the folder of their records and logs, and the network namespace they run in."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A process as it was started. A pid alone may long belong to somebody else."""

    pid: int
    start_time: int


def start(place: Place, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Start a program in the network namespace of a place, unless it runs already."""
    if is_alive(place, name):
        return
    for folder in ("log", "run"):
        (place.folder / folder).mkdir(parents=True, exist_ok=True)
    # `ip netns exec` would mount /sys anew and hide the cgroups: nsenter changes the network alone.
    entering = ["nsenter", f"--net={place.namespace_path}", *map(str, command)]
    with (place.folder / "log" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            entering,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    record = Recorded(process.pid, start_time(process.pid) or 0)
    _record_path(place, name).write_text(json.dumps(asdict(record)))


def is_alive(place: Place, name: str) -> bool:
    """Return whether the recorded process runs."""
    record = _record(place, name)
    return record is not None and start_time(record.pid) == record.start_time


def pid_of(place: Place, name: str) -> int:
    """Return the number of the recorded process.

    Raises:
        LookupError: there is none.
    """
    record = _record(place, name)
    if record is None or not is_alive(place, name):
        raise LookupError(f"{name} does not run")
    return record.pid


def stop(place: Place, name: str, seconds: float = 20) -> None:
    """End the recorded process: asked first, then killed."""
    record = _record(place, name)
    if record is not None and is_alive(place, name):
        os.kill(record.pid, signal.SIGTERM)
        try:
            wait_for(f"{name} ends", lambda: not is_alive(place, name), seconds)
        except TimeoutError:
            os.kill(record.pid, signal.SIGKILL)
            wait_for(f"{name} ends when killed", lambda: not is_alive(place, name), 10)
    _record_path(place, name).unlink(missing_ok=True)


def log_tail(place: Place, name: str, lines: int = 15) -> str:
    """Return the end of a process's log."""
    path = place.folder / "log" / f"{name}.log"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def start_time(pid: int) -> int | None:
    """Return a process's start in clock ticks since boot (proc(5), field 22), or None where it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _record_path(place: Place, name: str) -> Path:
    return place.folder / "run" / f"{name}.json"


def _record(place: Place, name: str) -> Recorded | None:
    path = _record_path(place, name)
    return Recorded(**json.loads(path.read_text())) if path.exists() else None
