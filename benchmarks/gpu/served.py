"""What clients get of a server, beside an older build's.

    python -m benchmarks.gpu.served --baseline CHECKOUT --out OUT

By the converter's Python, on a machine with one GPU (or with `--accelerator None` on a CPU). A network is converted
once, by the older build; both builds serve that same artifact, one after the other, and NVIDIA's perf_analyzer asks
them alike. What the same engines make in the process, fed from the device and from the host, is measured in the same
run. Each row is written to OUT/served-MODEL.json when it is there: a run that is cut short has what it measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from tftrt_runtime.device.tensorrt import NO_FALLBACK

from benchmarks.gpu import perf_analyzer, server, serving
from benchmarks.gpu.perf_analyzer import Load
from benchmarks.gpu.task import Task, environment, make_claims

ROOT = Path(__file__).resolve().parents[2]
ROWS = 128  # that both builds are asked, to compare their answers
TURNS = (
    Load("sharedMemory", 128, 8),
    Load("inline", 128, 8),
    Load("sharedMemory", 32, 16),
    Load("inline", 32, 16),
    Load("inline", 1, 64),
    Load("inline", 1, 256),
    Load("sharedMemory", 1, 256),
)
# Of these the latency at half of the rate that they reach.
AT_HALF = ((32, "sharedMemory"), (1, "inline"))


@dataclass(frozen=True)
class Build:
    """A checkout of this repository."""

    name: str
    folder: Path


class Benchmark:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.work: Path = options.work
        self.gpu = options.accelerator == "GPU"
        self.now, self.before = Build("now", ROOT), Build("before", options.baseline)
        self.answers: dict[str, Any] = {}
        self.told: dict[str, dict[str, Any]] = {}
        self.changes = Lock()
        make_claims(self.work)

    def run(self) -> int:
        """The number of parts that failed."""
        with ThreadPoolExecutor(len(self.options.models)) as threads:
            failed = sum(threads.map(self.tried("convert", self.convert), self.options.models))
        for model in self.options.models:
            failed += self.tried("in process", self.in_process)(model)
            for build in (self.before, self.now):
                failed += self.tried(f"serve {build.name}", partial(self.serve, build))(model)
        return failed

    def tried(self, what: str, part: Callable[[str], None]) -> Callable[[str], int]:
        """A part whose failure is a row, and no other part's."""

        def run(model: str) -> int:
            started = time.monotonic()
            try:
                part(model)
            except Exception as error:
                traceback.print_exc()
                self.write(model, {"part": what, "error": f"{type(error).__name__}: {error}"})
                return 1
            self.write(model, {"part": what, "seconds": round(time.monotonic() - started, 1)})
            return 0

        return run

    def write(self, model: str, row: Mapping[str, Any]) -> None:
        """Write a row at once, into the model's file."""
        print(json.dumps({"model": model, **row}), flush=True)
        with self.changes:
            told = self.told.setdefault(model, self.about())
            if row["part"] == "converted":
                summary = row["summary"]
                told["versions"] = summary["versions"]
                told["device"] = {**(summary["device"] or {}), "tensorrt": summary["versions"]["tensorrt"]}
            told["rows"].append(row)
            told["finishedAt"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            (self.out / f"served-{model}.json").write_text(json.dumps(told, indent=1) + "\n")

    def about(self) -> dict[str, Any]:
        """What a file begins with."""
        return {
            "commit": self.options.commit,
            "precision": self.options.precision,
            "batchSizes": self.options.batch_sizes,
            "memoryFraction": self.options.fraction,
            "rows": [],
        }

    def convert(self, model: str) -> None:
        """By the older build, unless it is there."""
        module = [sys.executable, "-m", "benchmarks.gpu.models", model, str(self.work / "pvc/models")]
        hidden = {**environment(self.now.folder, self.work), "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run(module, env=hidden, cwd=ROOT, check=True)
        spec = self.work / f"{model}.json"
        spec.write_text(json.dumps(self.task(model).conversion()))
        told = {**environment(self.before.folder, self.work), "TFTRT_BUILD": "benchmark"}
        for step in ("lookup", "fetch", "convert", "publish"):
            command = [sys.executable, "-m", "tftrt_runtime", step, "--spec", str(spec)]
            command += ["--workspace", str(self.work / "workspace" / model)]
            with (self.out / f"convert-{model}.log").open("a") as log:
                done = subprocess.run(command, env=told, cwd=self.before.folder, stderr=log, stdout=log)
            if done.returncode:
                raise RuntimeError(
                    f"tftrt {step} ended with {done.returncode}: {self.out}/convert-{model}.log says why"
                )
        self.write(model, {"part": "converted", "summary": self.task(model).manifest()["summary"]})

    def task(self, model: str) -> Task:
        """What is made of a network."""
        asked = self.options
        return Task(self.work, model, asked.precision, asked.batch_sizes, asked.accelerator)

    def in_process(self, model: str) -> None:
        """The same engines without a server, by this build's own benchmark: from the device, and from the host."""
        manifest = self.task(model).manifest()
        folder = self.task(model).artifact() / "builds" / manifest["build"] / "model"
        largest = max(self.options.batch_sizes)
        for streams, sizes, in_flight in ((1, [largest], [1]), (2, [min(32, largest), largest], [1, 2, 3])):
            asked = {
                "models": [{"way": "Converted", "folder": str(folder), "signature": "serving_default"}],
                "tf32": True,
                "inputs": manifest["summary"]["inputs"],
                "sample": manifest["sample"],
                "batch_sizes": sizes,
                "places": ["Device", "Host"] if self.gpu else ["Host"],
                "in_flight": in_flight,
                "streams": streams,
                "memory": manifest["summary"]["memory"] if self.gpu and streams > 1 else None,
                "each_seconds": self.options.seconds,
                "limit_seconds": 3600.0,
            }
            request, answer = self.work / "timing.json", self.work / "timed.json"
            answer.unlink(missing_ok=True)
            request.write_text(json.dumps(asked))
            module = [sys.executable, "-m", "tftrt_runtime.benchmark.timing", str(request), str(answer)]
            told = {**environment(self.now.folder, self.work), **NO_FALLBACK}
            with (self.out / f"in-process-{model}.log").open("a") as log:
                subprocess.run(module, env=told, cwd=ROOT, stderr=log, stdout=log, check=False)
            for row in json.loads(answer.read_text())["rows"]:
                self.write(model, {"part": "in process", **row})

    def serve(self, build: Build, model: str) -> None:
        """Every load in turn; answers first, to be compared with the other build's."""
        task = self.task(model)
        path = self.work / f"serve-{model}.json"
        path.write_text(json.dumps(task.server(self.options.fraction if self.gpu else None)))
        told = {**environment(build.folder, self.work), "TFTRT_ARTIFACT": str(task.artifact())}
        output = sum(
            int(np.prod([max(size, 1) for size in tensor["shape"][1:]])) * 8
            for tensor in self.task(model).manifest()["summary"]["outputs"]
        )
        with (self.out / f"serve-{build.name}-{model}.log").open("w") as log:
            with server.running(path, told, build.folder, log) as served:
                self.write(model, {"part": "ready", "build": build.name, "seconds": served.ready_seconds})
                self.write(model, {"part": "answers", "build": build.name, **self.compared(model, served.address)})
                for load in self.loads(max(self.options.batch_sizes)):
                    row = perf_analyzer.ask(served.address, model, load, output)
                    self.write(model, {"part": "served", "build": build.name, **row})
                    if (load.batch_size, load.way) in AT_HALF and row["items_per_second"]:
                        half = Load(load.way, load.batch_size, 64, row["items_per_second"] / load.batch_size / 2)
                        row = perf_analyzer.ask(served.address, model, half, output)
                        self.write(model, {"part": "at half", "build": build.name, **row})
            self.write(model, {"part": "ended", "build": build.name, "exitCode": served.process.returncode})

    def loads(self, largest: int) -> Iterator[Load]:
        """Those whose requests are no larger than a batch."""
        for load in TURNS:
            if load.batch_size <= largest:
                yield load

    def compared(self, model: str, address: str) -> dict[str, Any]:
        """Whether the same rows have the same answers, bit for bit, as the other build gave."""
        with np.load(self.work / "pvc/models" / f"{model}-answer.npz") as arrays:
            images = np.resize(arrays["input"], (min(ROWS, max(self.options.batch_sizes)), *arrays["input"].shape[1:]))
        (found,) = serving.ask(address, model, images).values()
        other = self.answers.setdefault(model, found)
        return {
            "rows": len(images),
            "equal": bool(np.array_equal(found, other)),
            "largest": float(np.max(np.abs(found - other))),
        }


def main() -> int:
    """Read the options and run; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--baseline", type=lambda told: Path(told).resolve(), required=True, help="a checkout of the older build"
    )
    parser.add_argument("--out", type=lambda told: Path(told).resolve(), required=True)
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/tftrt-served"))
    parser.add_argument("--accelerator", default="GPU", choices=("GPU", "None"))
    parser.add_argument("--precision", default="FP16")
    parser.add_argument("--models", nargs="+", default=["resnet50-bytes", "resnet50"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement in the process")
    parser.add_argument("--fraction", default="0.5", help="of the device's memory")
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return min(Benchmark(options).run(), 1)


if __name__ == "__main__":
    sys.exit(main())
