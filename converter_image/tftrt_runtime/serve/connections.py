"""How a server leaves without losing a request: what `connections.c` in tritonserver is told, and what it tells.

The library in tritonserver, `tftrt serve` and `tftrt drain`, which the pod's preStop hook runs, share one small file in
memory (`struct shared` in connections.c); the HTTP port tells one server's from another's.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from tftrt_runtime import log
from tftrt_runtime.contract.errors import ServerFailed, StoreUnavailable
from tftrt_runtime.serve import limits

LIBRARY = Path(__file__).with_name("libconnections.so")
# In memory: a number that changes with each call would be written to a disk again and again.
FOLDER = Path("/dev/shm")
LAYOUT = struct.Struct("=IIIII")
LOOK_SECONDS = 0.05


class Phase(IntEnum):
    """What connections are to do."""

    SERVING = 0
    LEAVING = 1
    """Readiness is turned; clients and their connections are left alone, for new ones would come back."""
    CLOSING = 2
    """Each client is told at its next call to connect anew."""
    ENDING = 3
    """So is one that does not call, and what is idle is closed."""


@dataclass(frozen=True)
class Counts:
    """Of the HTTP and the gRPC port together."""

    listening: bool
    connections: int
    calls: int
    """In flight: begun by a client and not wholly answered."""
    unanswered: int
    """Calls that were in flight when their connection ended, in the phase ENDING."""


class Connections:
    """The shared file."""

    def __init__(self, path: Path) -> None:
        """Map it.

        Raises:
            FileNotFoundError: no server has made it.
        """
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), LAYOUT.size)

    @property
    def phase(self) -> Phase:
        """Whoever set it last."""
        return Phase(LAYOUT.unpack_from(self._memory)[0])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        struct.pack_into("=I", self._memory, 0, phase)

    @property
    def counts(self) -> Counts:
        """As they are now."""
        _, listening, connections, calls, unanswered = LAYOUT.unpack_from(self._memory)
        return Counts(bool(listening), connections, calls, unanswered)


def path(http_port: int) -> Path:
    """Where the server of this HTTP port shares its numbers."""
    return FOLDER / f"tftrt-connections-{http_port}"


@contextmanager
def shared(http_port: int) -> Iterator[Connections]:
    """A file for a server, of which nothing is said yet, and which is deleted with it.

    Raises:
        ServerFailed: another server of this port has it.
        StoreUnavailable: it cannot be written.
    """
    made = path(http_port)
    try:
        file = _held(made)
    except BlockingIOError as error:
        raise ServerFailed(
            f"Another server of this machine has the HTTP port {http_port}: give one of them another (TFTRT_HTTP_PORT)."
        ) from error
    except OSError as error:
        raise StoreUnavailable(f"{made} cannot be written: {error}.") from error
    with file:
        try:
            yield Connections(made)
        finally:
            made.unlink(missing_ok=True)


def _held(made: Path) -> BinaryIO:
    """The file, locked for as long as it is open, and all zeros.

    The kernel drops the lock of a server that is killed; without it a second server of the same port, which fails when
    it listens, would by then have taken the first one's file, and no `tftrt drain` would reach that any more.

    Raises:
        BlockingIOError: another process has locked it.
    """
    while True:
        with ExitStack() as stack:
            opened = os.open(made, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            file = stack.enter_context(os.fdopen(opened, "r+b"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(made, file):
                continue  # who had locked it has deleted it meanwhile
            # Never shorter in between: a tritonserver that outlived its parent may have it mapped.
            file.truncate(LAYOUT.size)
            file.write(bytes(LAYOUT.size))
            file.flush()
            stack.pop_all()
            return file


def _is_at(made: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(made.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def environment(inherited: Mapping[str, str], http_port: int, grpc_port: int) -> dict[str, str]:
    """What has tritonserver load the library.

    Raises:
        ServerFailed: there is no library that can be loaded. The loader would go on without it, and lose requests.
    """
    try:
        ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise ServerFailed(
            f"The library by which connections end cannot be loaded: {error}. Install the package tftrt-runtime, which "
            "compiles it."
        ) from error
    preloaded = inherited.get("LD_PRELOAD", "")
    return {
        "LD_PRELOAD": " ".join(filter(None, [str(LIBRARY), preloaded])),
        "TFTRT_LD_PRELOAD": preloaded,  # for what tritonserver starts
        "TFTRT_CONNECTIONS": str(path(http_port)),
        "TFTRT_HTTP_PORT": str(http_port),
        "TFTRT_GRPC_PORT": str(grpc_port),
    }


def drain(http_port: int) -> None:
    """Have the clients of a server of this machine leave it, while endpoints and load balancers turn away from it."""
    try:
        connections = Connections(path(http_port))
    except FileNotFoundError:
        log.event("drain", "No server runs here")
        return
    if not connections.counts.listening:
        log.event("drain", "The server has not begun to listen")
        return
    server = connections.path
    leave(connections, limits.ENDPOINT_SECONDS, limits.LEAST_SECONDS, server.exists)
    counts = connections.counts
    log.event("drain", "Left", connections=counts.connections, calls=counts.calls)


def leave(clients: Connections, settle: float, least: float, running: Callable[[], bool]) -> None:
    """Have every client go elsewhere; return when none has a call in flight, or when the longest call must be over.

    Seconds: for `settle` the server is only not ready any more, and in all it takes at least `least`.
    """
    if clients.phase == Phase.ENDING:
        return  # it was done before
    start = time.monotonic()
    end = start + least + limits.CALL_SECONDS

    def wait(until: float, is_done: Callable[[Counts], bool]) -> None:
        while running() and time.monotonic() < until and not is_done(clients.counts):
            time.sleep(LOOK_SECONDS)

    if clients.phase == Phase.SERVING:
        clients.phase = Phase.LEAVING
    wait(start + settle, lambda _counts: False)
    clients.phase = Phase.CLOSING
    wait(start + least, lambda _counts: False)
    wait(start + settle + limits.CLOSING_SECONDS, lambda counts: counts.connections == 0)
    wait(end, lambda counts: counts.calls == 0)
    clients.phase = Phase.ENDING
    idle = time.monotonic() + limits.ENDED_SECONDS
    wait(
        max(end, idle),
        lambda counts: counts.connections == 0 or (counts.calls == 0 and time.monotonic() > idle),
    )
