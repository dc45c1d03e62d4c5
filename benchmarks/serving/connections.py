"""What the library that ends connections costs: `python -m benchmarks.serving.connections [SECONDS]`.

By the converter's Python; SECONDS is how long a round takes at each server.

Servers of one model that does nothing but count the bytes of its input, two with the library and two without, are
asked in turns by the same clients, inline over gRPC. Two numbers for each size of a request: calls a second, and the
processor time of tritonserver itself for a call, which what else runs on the machine changes less. How far two servers
of the same kind differ says what the numbers are worth. Exit code 1 where either is more than 5 % worse.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.serve import connections, repository, tritonserver
from tftrt_runtime.serve.slots import Made, Slot

RESULTS = Path(__file__).parents[1] / "results" / "connections.json"
SIZES = (1_000, 5_000_000, 19_000_000)  # bytes of a request's input
CLIENTS = 2
SERVERS = 2  # of each kind
ROUNDS = 15
SECONDS = 3.0  # of a round at each server
MOST_LOST = 0.05
READY_SECONDS = 120
TICKS = os.sysconf("SC_CLK_TCK")

INPUTS = (Tensor(name="data", dtype="UINT8", shape=(-1, -1)),)
OUTPUTS = (Tensor(name="size", dtype="INT64", shape=(-1, 1)),)
CONFIG = f"""\
backend: "{repository.BACKEND}"
max_batch_size: 1
input [ {{ name: "data" data_type: TYPE_UINT8 dims: [ -1 ] }} ]
output [ {{ name: "size" data_type: TYPE_INT64 dims: [ 1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
"""


def count_bytes(slot: Slot) -> None:
    """Answer each request with the number of its bytes: the model, in a thread of this process."""
    slot.ready(batched=True, largest=1)
    while (question := slot.question()) is not None:
        slot.answer({"size": np.array([[question.array(INPUTS[0]).size]], np.int64)}, question.items)


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
    (version.parent / "config.pbtxt").write_text(CONFIG)
    repository.link_backend(folder / "backends")
    ports = tritonserver.Ports(*_free_ports(3))
    made = Made()
    with connections.shared(ports.http), (folder / "log").open("wb") as log:
        environment = tritonserver.environment(os.environ, [made.tritons], ports, batched=True)
        if not with_library:
            del environment["LD_PRELOAD"]
        command = tritonserver.command(folder / "models", folder / "backends", ports)
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, pass_fds=[*made.tritons])
        model = threading.Thread(target=count_bytes, args=(Slot(made.models.own(), INPUTS, OUTPUTS),), daemon=True)
        model.start()
        made.close()
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


def rate(rounds: list[Round]) -> float:
    """Calls a second."""
    return sum(one.calls for one in rounds) / sum(one.seconds for one in rounds)


def cost(rounds: list[Round]) -> float:
    """Processor seconds of a call."""
    return sum(one.processor_seconds for one in rounds) / sum(one.calls for one in rounds)


def row(size: int, plain: list[list[Round]], library: list[list[Round]]) -> dict[str, Any]:
    """What a size comes to, all rounds of a kind together."""

    def both(measure: Callable[[list[Round]], float]) -> dict[str, float]:
        without, with_library = (measure([one for rounds in kind for one in rounds]) for kind in (plain, library))
        same = [max(map(measure, kind)) / min(map(measure, kind)) for kind in (plain, library)]
        return {
            "without": round(without, 6),
            "with": round(with_library, 6),
            "ratio": round(with_library / without, 4),
            "largestRatioOfTheSameKind": round(max(same), 4),
        }

    return {
        "bytes": size,
        "calls": sum(one.calls for rounds in (*plain, *library) for one in rounds),
        "callsPerSecond": both(rate),
        "processorSecondsPerCall": both(cost),
    }


def main(seconds: float = SECONDS) -> int:
    """Measure, print, write the results; the exit code."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {
            kind: [stack.enter_context(running(Path(folder), f"{kind}-{n}", kind)) for n in range(SERVERS)]
            for kind in (False, True)
        }
        for size in SIZES:
            rounds: dict[bool, list[list[Round]]] = {kind: [[] for _ in range(SERVERS)] for kind in servers}
            turns = [(kind, number) for kind in servers for number in range(SERVERS)]
            for kind, number in turns:
                servers[kind][number].round(size, seconds)  # warms up
            for _ in range(ROUNDS):
                for kind, number in random.sample(turns, len(turns)):
                    rounds[kind][number].append(servers[kind][number].round(size, seconds))
            rows.append(row(size, rounds[False], rounds[True]))
            print(json.dumps(rows[-1]), flush=True)
    machine = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[1], 1)}
    setting = {"clients": CLIENTS, "serversOfAKind": SERVERS, "rounds": ROUNDS, "secondsPerRound": seconds}
    RESULTS.write_text(json.dumps({"machine": machine, "setting": setting, "rows": rows}, indent=1) + "\n")
    slower = [one for one in rows if one["callsPerSecond"]["ratio"] < 1 - MOST_LOST]
    dearer = [one for one in rows if one["processorSecondsPerCall"]["ratio"] > 1 + MOST_LOST]
    return 1 if slower or dearer else 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
