"""The parent's side of `zygote`: processes that have TensorFlow imported before anybody needs them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Thread
from typing import IO, Any

from tftrt_runtime.processes.zygote import MOST_BYTES

# Read when a device is initialised or an engine is called, and so by each process for itself. All others may be read
# while TensorFlow is imported: what they are must be what they were.
READ_LATE = frozenset({"CUDA_VISIBLE_DEVICES", "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION"})
# numpy's and scipy's threads, which compute nothing here, would keep the zygote from forking.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
END_SECONDS = 5

Start = Callable[[Sequence[str], Mapping[str, str], Sequence[int]], "subprocess.Popen[str]"]


class Forked:
    """A process that a zygote forked; as far as it is used, what `subprocess.Popen` is."""

    def __init__(self, zygote: Zygote, pid: int, stderr: IO[str]) -> None:
        self._zygote = zygote
        self.pid = pid
        self.stderr: IO[str] | None = stderr
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, as `subprocess` gives it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._zygote.code(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, when it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, after so many seconds.
        """
        if self.returncode is None:
            self.returncode = self._zygote.code(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.poll() is None:  # its number is nobody else's before the zygote was told that we know
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Zygote:
    """A process that imports TensorFlow, and then waits for what to fork."""

    def __init__(self, environment: Mapping[str, str], start: Start, tell: Callable[[str], None]) -> None:
        """Start it with this environment, by `start`; `tell` is told what it writes to its standard error."""
        self._environment = dict(environment)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tftrt_runtime.processes.zygote", str(theirs.fileno())]
        with theirs:
            self._process = start(command, {**environment, **ONE_THREAD}, [theirs.fileno()])
        self._child: Forked | None = None
        Thread(target=self._forward, args=(tell,), daemon=True).start()

    def fork(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Forked | str:
        """A process that runs the module as `python -m` does, or why there is none.

        It waits until TensorFlow is imported.
        """
        if self._child is not None and self._child.poll() is None:
            return "it waits for another one"
        others = self._environment.keys() | environment.keys()
        differing = sorted(name for name in others if self._environment.get(name) != environment.get(name))
        if early := [name for name in differing if name not in READ_LATE]:
            return f"{', '.join(early)} may have been read already"
        told: dict[str, Any] = {"module": module, "arguments": list(arguments)}
        told["environment"] = {name: environment.get(name) for name in (*READ_LATE, *ONE_THREAD)}
        ours, theirs = os.pipe()
        stderr = os.fdopen(ours, encoding="utf-8", errors="replace")
        try:
            socket.send_fds(self._socket, [json.dumps(told).encode()], [theirs])
            answered = self._socket.recv(MOST_BYTES)
        except OSError as error:
            stderr.close()
            return f"it does not answer: {error}"
        except BaseException:
            stderr.close()
            raise
        finally:
            os.close(theirs)
        answer = json.loads(answered) if answered else {"refused": "it has ended"}
        if "refused" in answer:
            stderr.close()
            return str(answer["refused"])
        self._child = Forked(self, int(answer["pid"]), stderr)
        return self._child

    def code(self, timeout: float | None) -> int | None:
        """How the child ended; None where it has not after so many seconds. Of a dead zygote it is the zygote's own."""
        self._socket.settimeout(timeout)
        try:
            answered = self._socket.recv(MOST_BYTES)
            if answered:
                self._socket.send(b"read")
                return int(json.loads(answered)["code"])
        except (BlockingIOError, TimeoutError):
            return None
        except OSError:
            pass
        finally:
            self._socket.settimeout(None)
        return self._process.wait() or 1  # the kernel has ended its child with it

    def end(self) -> None:
        """End it, and what it has forked: what has ended is gone when this returns, and is nobody else's to bury."""
        self._socket.close()  # upon which it ends, where it is not importing or waiting for a child
        if self._child is None or self._child.returncode is None:
            self._process.kill()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _forward(self, tell: Callable[[str], None]) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in self._process.stderr:
                tell(line.rstrip())


class Zygotes:
    """Those that are there, of which each has an environment of its own."""

    def __init__(self) -> None:
        self._there: list[Zygote] = []

    @contextlib.contextmanager
    def one(self, environment: Mapping[str, str], start: Start, tell: Callable[[str], None]) -> Iterator[None]:
        """Have one with this environment, for a while."""
        zygote = Zygote(environment, start, tell)
        self._there.append(zygote)
        try:
            yield
        finally:
            self._there.remove(zygote)
            zygote.end()

    def fork(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[Forked | None, str | None]:
        """A process of one of them; where none gives it, why each of them does not."""
        whys = []
        for zygote in reversed(self._there):
            forked = zygote.fork(module, arguments, environment)
            if isinstance(forked, Forked):
                return forked, None
            whys.append(forked)
        return None, "; ".join(whys) or None
