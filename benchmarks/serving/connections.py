"""What the library that ends connections costs: `python -m benchmarks.serving.connections`, by the converter's Python.

Two servers of one model that does nothing but count the bytes of its input, one with the library and one without, are
asked in turns by the same clients, inline over gRPC. Two numbers for each size of a request: calls a second, and the
processor time of tritonserver itself for a call, which what else runs on the machine changes less. Exit code 1 where
either is more than 5 % worse.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
from tftrt_runtime.serve import connections, repository, tritonserver

RESULTS = Path(__file__).parents[1] / "results" / "connections.json"
SIZES = (1_000, 5_000_000, 19_000_000)  # bytes of a request's input
CLIENTS = 2
ROUNDS = 12
SECONDS = 4.0  # of a round at each server
MOST_LOST = 0.05
READY_SECONDS = 120
TICKS = os.sysconf("SC_CLK_TCK")

MODEL = '''\
"""Counts the bytes of its input."""

import os
import sys

sys.path[:0] = os.environ["TFTRT_PYTHON_PATH"].split(os.pathsep)

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        sizes = [pb_utils.get_input_tensor_by_name(request, "data").as_numpy().size for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("size", np.array([[size]], np.int64))]) for size in sizes]
'''
CONFIG = """\
backend: "python"
max_batch_size: 1
input [ { name: "data" data_type: TYPE_UINT8 dims: [ -1 ] } ]
output [ { name: "size" data_type: TYPE_INT64 dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


@dataclass(frozen=True)
class Round:
    """What one server did in a round."""

    calls: int
    seconds: float
    processor_seconds: float


class Server:
    """A tritonserver that runs."""

    def __init__(self, process: subprocess.Popen[bytes], grpc: int) -> None:
        self._process = process
        address = f"127.0.0.1:{grpc}"
        # Channels of a process share one connection to an address, where they are not told to have their own.
        own = [("grpc.use_local_subchannel_pool", 1)]
        self._clients = [tritonclient.grpc.InferenceServerClient(address, channel_args=own) for _ in range(CLIENTS)]

    def round(self, size: int, seconds: float) -> Round:
        """Each client asks again as soon as it is answered."""
        counts = [0] * CLIENTS
        tensor = tritonclient.grpc.InferInput("data", [1, size], "UINT8")
        tensor.set_data_from_numpy(np.zeros((1, size), np.uint8))
        start, before = time.monotonic(), self._processor_seconds()

        def ask(number: int) -> None:
            while time.monotonic() - start < seconds:
                assert self._clients[number].infer("size", [tensor]).as_numpy("size")[0, 0] == size
                counts[number] += 1

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Round(sum(counts), time.monotonic() - start, self._processor_seconds() - before)

    def _processor_seconds(self) -> float:
        """Of tritonserver without the backend's process, user and system: proc(5), `stat`."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def running(work: Path, name: str, with_library: bool) -> Iterator[Server]:
    """A server of the model that is ready, with the command line and the environment of `tftrt serve`."""
    folder = work / name
    version = folder / "models" / "size" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    repository.link_python_backend(folder / "backends")
    ports = tritonserver.Ports(*_free_ports(3))
    with connections.shared(ports.http), (folder / "log").open("wb") as log:
        environment = tritonserver.environment(os.environ, folder / "model", folder / "failure", ports)
        if not with_library:
            del environment["LD_PRELOAD"]
        command = tritonserver.command(folder / "models", folder / "backends", ports, f"tftrt-{name}-{os.getpid()}")
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_ready(process, ports.http, folder / "log")
            yield Server(process, ports.grpc)
        finally:
            process.terminate()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"tritonserver was not ready:\n{log.read_text()[-2000:]}")


def row(size: int, plain: list[Round], library: list[Round]) -> dict[str, Any]:
    """What a size comes to; ratios are of the two rounds that follow each other, and the median of them counts."""

    def rate(one: Round) -> float:
        return one.calls / one.seconds

    def cost(one: Round) -> float:
        return one.processor_seconds / one.calls

    def both(measure: Any) -> dict[str, float]:
        ratios = [measure(new) / measure(old) for old, new in zip(plain, library, strict=True)]
        return {
            "without": round(statistics.median(map(measure, plain)), 6),
            "with": round(statistics.median(map(measure, library)), 6),
            "ratio": round(statistics.median(ratios), 4),
        }

    return {
        "bytes": size,
        "calls": sum(one.calls for one in (*plain, *library)),
        "callsPerSecond": both(rate),
        "processorSecondsPerCall": both(cost),
    }


def main() -> int:
    """Measure, print, write the results; the exit code."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plain = stack.enter_context(running(Path(folder), "without", with_library=False))
        library = stack.enter_context(running(Path(folder), "with", with_library=True))
        for size in SIZES:
            rounds: tuple[list[Round], list[Round]] = ([], [])
            for number in range(-1, ROUNDS):  # the first one warms up
                pair = [(plain, rounds[0]), (library, rounds[1])]
                for server, kept in pair if number % 2 else reversed(pair):
                    made = server.round(size, SECONDS)
                    if number >= 0:
                        kept.append(made)
            rows.append(row(size, *rounds))
            print(json.dumps(rows[-1]), flush=True)
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[1], 1), "kernel": platform.release()}
    setting = {"clients": CLIENTS, "rounds": ROUNDS, "secondsPerRound": SECONDS}
    RESULTS.write_text(json.dumps({"machine": machine, "setting": setting, "rows": rows}, indent=1) + "\n")
    slower = [one for one in rows if one["callsPerSecond"]["ratio"] < 1 - MOST_LOST]
    dearer = [one for one in rows if one["processorSecondsPerCall"]["ratio"] > 1 + MOST_LOST]
    return 1 if slower or dearer else 0


if __name__ == "__main__":
    sys.exit(main())
