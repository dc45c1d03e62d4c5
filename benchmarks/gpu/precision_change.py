"""A new precision under load: a server of FP16 engines takes over from one of FP32 engines, and no request is lost.

    python -m benchmarks.gpu.precision_change --out FOLDER --work FOLDER

FOLDER of `--work` is that of `benchmarks.gpu.memory convert`. What a rolling update does is done here by hand, for
there is no Kubernetes where the GPU is: new connections go to the new server once it is ready, then the old one gets
SIGTERM. Clients do not ask twice; each answer is compared with that of the old server.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient import grpc, http

from benchmarks.gpu import run
from benchmarks.gpu.memory import GB, Memory

BUDGET = 24 * GB
SECONDS = 20.0  # before and after the change
SIZES = (1, 8, 32)  # 0.6, 4.8 and 19.3 MB of float32
TOLERANCE = 0.05  # relative to the largest value, between FP32 and FP16 engines
TIMEOUT_SECONDS = 60.0
LIBRARIES = {"tritonclient.http": http, "tritonclient.grpc": grpc}

_processes = multiprocessing.get_context("spawn")


def ask_on(library: str, port: int, size: int, over: Any, answers: Any) -> None:
    """Ask until it is over; what became of it."""
    module = LIBRARIES[library]
    images = np.random.default_rng(size).random((size, 224, 224, 3), dtype=np.float32)
    limits = {"network_timeout": TIMEOUT_SECONDS} if module is http else {}
    client = module.InferenceServerClient(f"127.0.0.1:{port}", **limits)
    described = client.get_model_metadata("resnet50")
    if module is http:
        name, output = described["inputs"][0]["name"], described["outputs"][0]["name"]
    else:
        name, output = described.inputs[0].name, described.outputs[0].name
    tensor = module.InferInput(name, list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    known: Any = None
    requests, longest, failures = 0, 0.0, []
    while not over.is_set():
        began = time.monotonic()
        try:
            found = client.infer("resnet50", [tensor]).as_numpy(output)
            known = found if known is None else known
            error = float(np.max(np.abs(found - known)) / np.max(np.abs(known)))
            if error > TOLERANCE:
                raise ValueError(f"a wrong answer: relative error {error:.2g}")
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}"[:300])
        longest = max(longest, time.monotonic() - began)
        requests += 1
    answers.put(
        {
            "client": library,
            "rows": size,
            "requests": requests,
            "longestSeconds": round(longest, 2),
            "failures": failures,
        }
    )


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

    def run(self) -> dict[str, Any]:
        """What became of each client's requests."""
        with contextlib.ExitStack() as stack:
            old = stack.enter_context(self.serving(self.before, "precision-before"))
            switch = stack.enter_context(contextlib.closing(switches().Switch(old.http, old.grpc)))
            over, answers = _processes.Event(), _processes.Queue()
            clients = [
                _processes.Process(
                    target=ask_on, args=(library, switch.ports[LIBRARIES[library] is grpc], size, over, answers)
                )
                for library in LIBRARIES
                for size in self.options.sizes
                for _ in range(self.options.clients)
            ]
            for client in clients:
                client.start()
            stack.callback(over.set)
            time.sleep(self.seconds)
            new = stack.enter_context(self.serving(self.after, "precision-after"))
            switch.to(new.http, new.grpc)
            changed = time.monotonic()
            old.process.send_signal(signal.SIGTERM)
            code = old.process.wait(TIMEOUT_SECONDS * 4)
            ended = round(time.monotonic() - changed, 1)
            time.sleep(self.seconds)
            over.set()
            rows = [answers.get(timeout=TIMEOUT_SECONDS * 2) for _ in clients]
            for client in clients:
                client.join()
        return {
            "from": self.before,
            "to": self.after,
            "exitCode": code,
            "endedAfterSeconds": ended,
            "rows": sorted(rows, key=lambda row: (row["client"], row["rows"])),
        }

    @property
    def seconds(self) -> float:
        """How long to ask before, and after."""
        return float(min(SECONDS, self.options.seconds))

    def serving(self, precision: str, name: str) -> Any:
        """A server of this precision."""
        return self.memory.serving(precision, self.memory.fraction(precision, BUDGET), name)


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON file")
    parser.add_argument("--work", type=Path, required=True, help="folder with the artifacts")
    parser.add_argument("--accelerator", choices=("GPU", "None"), default="GPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long to ask before, and after")
    parser.add_argument("--clients", type=int, default=2, help="of each library and size of request")
    parser.add_argument("--sizes", type=run.whole_numbers, default=SIZES, help="rows of a request")
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
