"""A pipe by which `step` learns that the Python backend's process has ended, however it did.

tritonserver goes on without it: it says that it is ready, and fails every request (seen with 2.51.0). The kernel closes
the pipe whatever ends the process, and what was said before tells whether it was to end (docs/decisions/0030).
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

LOADED = "loaded"
TOLD_TO_END = "told to end"
# After which a pipe that nobody has opened yet is looked at again, where a kernel reports it as closed.
RETRY_SECONDS = 0.1
# The exit status, counted from behind the name in /proc/PID/stat (proc_pid_stat(5), field 52).
STATUS_FIELD = 49


class Backend:
    """The backend's end, open for as long as its process lives."""

    def __init__(self, path: Path) -> None:
        # Not blocking: without a reader there is no server either, and this fails.
        self._pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self._say(f"pid {os.getpid()}")

    def loaded(self) -> None:
        """Say that requests may come."""
        self._say(LOADED)

    def told_to_end(self) -> None:
        """Say that the end of this process will be as it should."""
        self._say(TOLD_TO_END)

    def _say(self, words: str) -> None:
        os.write(self._pipe, f"{words}\n".encode())


@dataclass(frozen=True)
class End:
    """How the backend's process ended."""

    expected: bool
    # As `subprocess` gives it: the exit code, or the signal's number below zero; None where nothing tells.
    code: int | None

    @property
    def how(self) -> str:
        """In words that follow a subject."""
        if self.code is None:
            return "ended"
        return f"was ended by {signal.Signals(-self.code).name}" if self.code < 0 else f"ended with code {self.code}"


class Lifeline:
    """`step`'s end of the pipe."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self.path = path
        self._pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._pipe, True)
        self._said: list[str] = []

    @property
    def loaded(self) -> bool:
        """Whether the model has been loaded, so that there may be requests."""
        return LOADED in self._said

    def wait(self) -> End:
        """How the backend's process ended, once it has."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        rest = ""
        while True:
            poll.poll()
            read = os.read(self._pipe, 4096).decode()
            *lines, rest = (rest + read).split("\n")
            self._said += lines
            if not read and self._said:
                break
            if not read:
                time.sleep(RETRY_SECONDS)
        pid = int(self._said[0].split()[1])
        return End(expected=TOLD_TO_END in self._said, code=_exit_code(pid))


def _exit_code(pid: int) -> int | None:
    """The exit code of a process that ends, or that its parent has not asked after yet; None where nothing tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        code = os.waitstatus_to_exitcode(int(fields[STATUS_FIELD]))
    except (OSError, ValueError, IndexError):
        return None
    return code or None  # sandboxes have a zero there for all
