"""Starts `tftrt serve`, waits until it is ready, and stops it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

READY_SECONDS = 180
STOP_SECONDS = 90


class Server:
    """One that is ready, and later its exit code."""

    def __init__(self, process: subprocess.Popen[bytes], http: int, grpc: int, ready_seconds: float) -> None:
        self.process = process
        self.http, self.grpc = http, grpc
        self.address = f"127.0.0.1:{grpc}"
        self.ready_seconds = ready_seconds


@contextlib.contextmanager
def running(spec: Path, environment: Mapping[str, str], folder: Path, log: IO[str]) -> Iterator[Server]:
    """A server for this spec, which is stopped afterwards.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    http, grpc, metrics = _free_ports(3)
    command = [sys.executable, "-m", "tftrt_runtime", "serve", "--spec", str(spec)]
    command += ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    started = time.monotonic()
    process = subprocess.Popen(command, env=dict(environment), stderr=log, stdout=log, cwd=folder)
    try:
        _wait_until_ready(process, http)
        yield Server(process, http, grpc, round(time.monotonic() - started, 1))
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"tftrt serve ended with {process.returncode}; the log says why")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"tftrt serve was not ready after {READY_SECONDS} s; the log says why")
