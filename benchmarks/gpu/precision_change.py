"""A new precision under load: a server of FP16 engines takes over from one of FP32 engines, and no request is lost.

    python -m benchmarks.gpu.precision_change --out FOLDER --work FOLDER

FOLDER of `--work` is that of `benchmarks.gpu.memory convert`. What a rolling update does is done here by hand, for
there is no Kubernetes where the GPU is: new connections go to the new server once it is ready, then the old one gets
SIGTERM. No client asks twice, nor does the library of one of those that are counted; each answer is compared with that
of the old server. It ends when enough has been asked, a part of it before the change and a part after it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu import run
from benchmarks.gpu.memory import GB, Memory

BUDGET = 24 * GB
MODEL, INPUT, OUTPUT, CLASSES = "small", "image", "dense", 10
# Requests of each size in rows (0.6, 4.8 and 19.3 MB of float32) that are counted: 20,000.
ENOUGH = {1: 16_500, 8: 3_000, 32: 500}
# Seconds from an answer to a client's next request, so that these come to about that in the same time.
PAUSES = {1: 0.0, 8: 0.02, 32: 0.2}
BEFORE = 0.4  # the part of it that is asked before the change
TOLERANCE = 0.05  # relative to the largest value, between FP32 and FP16 engines
TIMEOUT_SECONDS = 60.0
LOOK_SECONDS = 0.2

_processes = multiprocessing.get_context("spawn")
Images = NDArray[np.float32]
Ask = Callable[[], Any]


def by_httpx(port: int, images: Images) -> Ask:
    """A general client of HTTP that keeps its connection; the input is binary, the answer JSON."""
    import httpx

    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_SECONDS)
    tensor = {"name": INPUT, "datatype": "FP32", "shape": images.shape}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": images.nbytes}}]}).encode()
    content, headers = head + images.tobytes(), {"Inference-Header-Content-Length": str(len(head))}

    def ask() -> Any:
        response = client.post(f"/v2/models/{MODEL}/infer", content=content, headers=headers)
        response.raise_for_status()
        (output,) = response.json()["outputs"]
        return np.array(output["data"], np.float32).reshape(output["shape"])

    return ask


def by_grpc(port: int, images: Images) -> Ask:
    """A plain gRPC channel with retries switched off."""
    import grpc
    from tritonclient.grpc import service_pb2

    channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_retries", 0)])
    infer = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=service_pb2.ModelInferRequest.SerializeToString,
        response_deserializer=service_pb2.ModelInferResponse.FromString,
    )
    request = service_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=[images.tobytes()])
    request.inputs.add(name=INPUT, datatype="FP32", shape=images.shape)

    def ask() -> Any:
        answer = infer(request, timeout=TIMEOUT_SECONDS)
        return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(answer.outputs[0].shape)

    return ask


def by_tritonclient(port: int, images: Images, module: Any, **limits: float) -> Ask:
    """NVIDIA's clients, which may send by themselves what has not been answered."""
    client = module.InferenceServerClient(f"127.0.0.1:{port}", **limits)
    tensor = module.InferInput(INPUT, list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    return lambda: client.infer(MODEL, [tensor]).as_numpy(OUTPUT)


def by_tritonclient_http(port: int, images: Images) -> Ask:
    """Over HTTP."""
    from tritonclient import http

    return by_tritonclient(port, images, http, network_timeout=TIMEOUT_SECONDS)


def by_tritonclient_grpc(port: int, images: Images) -> Ask:
    """Over gRPC."""
    from tritonclient import grpc

    return by_tritonclient(port, images, grpc)


class Client(NamedTuple):
    """How it asks, by which of the server's ports, how many of it ask, and how much longer each pauses."""

    ask: Callable[[int, Images], Ask]
    port: int
    processes: int = 1
    pause: float = 0.1


CLIENTS = {
    "httpx": Client(by_httpx, 0, processes=2, pause=0.0),
    "grpc": Client(by_grpc, 1, processes=2, pause=0.0),
    "tritonclient.http": Client(by_tritonclient_http, 0),
    "tritonclient.grpc": Client(by_tritonclient_grpc, 1),
}
COUNTED = ("httpx", "grpc")


def ask_on(name: str, port: int, size: int, over: Any, answers: Any, count: Any) -> None:
    """Ask until it is over; what became of it."""
    images = np.random.default_rng(size).random((size, 224, 224, 3), dtype=np.float32)
    client = CLIENTS[name]
    ask = client.ask(port, images)
    known: Any = None
    longest, failures = 0.0, []
    while not over.wait(PAUSES[size] + client.pause):
        began = time.monotonic()
        try:
            found = ask()
            known = found if known is None else known
            error = float(np.max(np.abs(found - known)) / np.max(np.abs(known)))
            if found.shape != (size, CLASSES) or not error <= TOLERANCE:
                raise ValueError(f"a wrong answer of shape {found.shape}: relative error {error:.2g}")
            if (took := time.monotonic() - began) > TIMEOUT_SECONDS:
                raise TimeoutError(f"the answer took {took:.0f} s")
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}"[:300])
        longest = max(longest, time.monotonic() - began)
        count.value += 1
    row = {"client": name, "rows": size, "requests": count.value, "longestSeconds": round(longest, 2)}
    answers.put({**row, "failures": failures})


def switches() -> Any:
    """The converter's own tests have what stands for a Service; `tests` is another package here."""
    spec = importlib.util.spec_from_file_location("tftrt_switch", run.ROOT / "converter_image/tests/switch.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Change:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.memory = Memory(options)
        self.before, self.after = ("FP32", "FP16") if self.memory.gpu else ("FP32", "FP32")
        self.counts: list[tuple[str, int, Any]] = []  # of each client, how many rows it asks for and how often it has

    def run(self) -> dict[str, Any]:
        """What became of each client's requests."""
        with contextlib.ExitStack() as stack:
            old = stack.enter_context(self.serving(self.before, "precision-before"))
            switch = stack.enter_context(contextlib.closing(switches().Switch(old.http, old.grpc)))
            over, answers, clients = _processes.Event(), _processes.Queue(), []
            for name, client in CLIENTS.items():
                for size in [size for size in ENOUGH for _ in range(client.processes)]:
                    count = _processes.Value("q", 0)
                    asked = (name, switch.ports[client.port], size, over, answers, count)
                    clients.append(_processes.Process(target=ask_on, args=asked))
                    self.counts.append((name, size, count))
            for process in clients:
                process.start()
            stack.callback(over.set)
            began = time.monotonic()
            self.wait_for(BEFORE)
            new = stack.enter_context(self.serving(self.after, "precision-after"))
            switch.to(new.http, new.grpc)
            changed = time.monotonic()
            old.process.send_signal(signal.SIGTERM)
            code = old.process.wait(TIMEOUT_SECONDS * 4)
            ended = round(time.monotonic() - changed, 1)
            self.wait_for(1.0)
            seconds = round(time.monotonic() - began, 1)
            over.set()
            rows = [answers.get(timeout=TIMEOUT_SECONDS * 2) for _ in clients]
            for process in clients:
                process.join()
        return {
            "network": MODEL,
            "from": self.before,
            "to": self.after,
            "exitCode": code,
            "endedAfterSeconds": ended,
            "askedSeconds": seconds,
            "counted": COUNTED,
            "rows": sorted(in_sum(rows), key=lambda row: (list(CLIENTS).index(row["client"]), row["rows"])),
        }

    def wait_for(self, part: float) -> None:
        """Wait until that part of what is enough has been asked, or for as long as is allowed."""
        end = time.monotonic() + self.options.seconds
        while time.monotonic() < end and any(self.asked(size) < part * enough for size, enough in ENOUGH.items()):
            time.sleep(LOOK_SECONDS)

    def asked(self, rows: int) -> int:
        """Requests of so many rows so far, of the clients that are counted."""
        return sum(count.value for name, size, count in self.counts if name in COUNTED and size == rows)

    def serving(self, precision: str, name: str) -> Any:
        """A server of this precision."""
        engine = f"{MODEL}-{precision}"
        return self.memory.serving(engine, self.memory.fraction(engine, BUDGET), name)


def in_sum(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What became of the requests of all clients of a kind that ask for as many rows."""
    kinds: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        kinds.setdefault((row["client"], row["rows"]), []).append(row)
    return [
        {
            "client": client,
            "rows": size,
            "requests": sum(one["requests"] for one in its),
            "longestSeconds": max(one["longestSeconds"] for one in its),
            "failures": [failure for one in its for failure in one["failures"]],
        }
        for (client, size), its in kinds.items()
    ]


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON file")
    parser.add_argument("--work", type=Path, required=True, help="folder with the artifacts")
    parser.add_argument("--accelerator", choices=("GPU", "None"), default="GPU")
    parser.add_argument("--seconds", type=float, default=math.inf, help="most to ask before, and after")
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    change = Change(options)
    result = {"step": "precision", **change.run(), **change.memory.benchmarks["FP32"].where()}
    (options.out / "memory-precision.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
    return int(any(row["failures"] for row in result["rows"]))


if __name__ == "__main__":
    sys.exit(main())
