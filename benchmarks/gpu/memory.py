"""Holds servers to their memory: `gpu.memory` is what all of a pod's processes take, as the driver sees it.

    python -m benchmarks.gpu.memory --out FOLDER [--work FOLDER] [STEP...]

STEP is budgets (each precision under each budget, under load), neighbours (two servers on one device, alone and
together, and a third that does not fit), or convert, which both need. Writes one JSON file a step. With
`--accelerator None` the `cpu` runtime goes the same way, without a device to look at, to try the script out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import run, server
from benchmarks.gpu.driver_memory import Driver, sampled

GB = 10**9
BUDGETS = (6 * GB, 8 * GB, 12 * GB, 24 * GB, 40 * GB)  # gpu.memory, with a workspace of 4 GiB
NEIGHBOUR_BUDGET, THIRD_BUDGET = 48 * GB, 80 * GB
CLIENTS, BATCH = 4, 32
BUDGET_SECONDS, ALONE_SECONDS = 15.0, 30.0
STEPS = ("convert", "budgets", "neighbours")


class Memory:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.gpu = options.accelerator == "GPU"
        self.precisions = ("FP32", "FP16", "INT8") if self.gpu else ("FP32",)
        self.benchmarks = {precision: self.benchmark(precision) for precision in self.precisions}
        self.driver = Driver() if self.gpu else None

    def benchmark(self, precision: str) -> run.Benchmark:
        """What converts to this precision, with a log of its own, for two do so at a time."""
        told = {name: getattr(self.options, name) for name in ("work", "accelerator", "commit")}
        out = self.options.out / precision
        out.mkdir(exist_ok=True)
        fixed = {"model": "resnet50", "batch_sizes": [BATCH], "seconds": 1.0, "limit": math.inf, "environment": {}}
        return run.Benchmark(argparse.Namespace(out=out, **told, **fixed))

    def run(self, steps: list[str]) -> int:
        """The number of steps that failed."""
        failed = 0
        for step in steps:
            started = time.monotonic()
            result: dict[str, Any] = {"step": step}
            try:
                result |= getattr(self, step)()
            except Exception as error:  # another step is independent of how this one ended
                failed += 1
                result["error"] = f"{type(error).__name__}: {error}"
            result |= {"seconds": round(time.monotonic() - started, 1), **self.benchmarks["FP32"].where()}
            if step != "convert":
                (self.options.out / f"memory-{step}.json").write_text(json.dumps(result, indent=1) + "\n")
            print(f"{step}: {result['seconds']} s {result.get('error', '')}", flush=True)
        return failed

    def convert(self) -> dict[str, Any]:
        """Convert the network to each precision, two at a time: more at once make a build many times slower."""
        self.benchmarks["FP32"].source()
        with ThreadPoolExecutor(2) as threads:
            done = {one: threads.submit(self.benchmarks[one].convert, one) for one in self.precisions}
        for precision, ended in done.items():
            print(precision, ended.exception() or "converted", flush=True)
        for ended in done.values():
            ended.result()
        return {}

    def budgets(self) -> dict[str, Any]:
        """Every precision under every budget, those of one budget side by side."""
        rows: list[dict[str, Any]] = []
        for budget in BUDGETS:
            with sampled(self.driver) as peaks, ThreadPoolExecutor(len(self.precisions)) as threads:
                found = list(threads.map(lambda one, budget=budget: self.budget(one, budget), self.precisions))
            for row in found:  # from a server's start to its end
                row |= {"peakBytes": peaks.children.get(row.pop("pid", 0)), "samples": peaks.samples}
                print(json.dumps(row), flush=True)
            rows += found
        return {"workspaceBytes": run.WORKSPACE_BYTES, "batchSize": BATCH, "rows": rows}

    def budget(self, precision: str, budget: int) -> dict[str, Any]:
        """A server with this budget under load."""
        row: dict[str, Any] = {"precision": precision, "budgetBytes": budget}
        try:
            fraction = self.fraction(precision, budget)
            row |= {"memoryFraction": fraction, **self.told(precision)}
            with self.serving(precision, fraction, f"{precision}-{budget}") as served:
                row |= {"pid": served.process.pid, "readySeconds": served.ready_seconds}
                (load,) = self.load([served], min(BUDGET_SECONDS, self.options.seconds))
                row |= load
        except (RuntimeError, OSError) as error:  # another precision is independent of how this one ended
            row["error"] = str(error)
        return row

    def neighbours(self) -> dict[str, Any]:
        """Two servers on one device, alone and together, and a third whose memory is not there."""
        precision = "FP16" if self.gpu else "FP32"
        fraction = self.fraction(precision, NEIGHBOUR_BUDGET)
        found: dict[str, Any] = {"budgetBytes": NEIGHBOUR_BUDGET, "memoryFraction": fraction, **self.told(precision)}
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(self.serving(precision, fraction, f"neighbour-{n}")) for n in (1, 2)]
            found["alone"] = [self.load([one], min(ALONE_SECONDS, self.options.seconds))[0] for one in servers]
            with sampled(self.driver) as peaks:
                found["together"] = self.load(servers, self.options.seconds)
            found["togetherSeconds"] = self.options.seconds
            found["peakBytes"] = [peaks.children.get(one.process.pid) for one in servers]
            found |= {"devicePeakBytes": peaks.device, "samples": peaks.samples}
            found["third"] = self.third(precision)
        return found

    def third(self, precision: str) -> dict[str, Any]:
        """How a third server ends."""
        told: dict[str, Any] = {"budgetBytes": THIRD_BUDGET}
        try:
            with self.serving(precision, self.fraction(precision, THIRD_BUDGET), "neighbour-3"):
                return told | {"ready": True}
        except RuntimeError:
            lines = run.told((self.options.work / "neighbour-3.log").read_text())
            return told | {"ready": False, "message": [line["message"] for line in lines][-1:]}

    @contextlib.contextmanager
    def serving(self, precision: str, fraction: str | None, name: str) -> Any:
        """A server of this precision."""
        benchmark = self.benchmarks[precision]
        spec = benchmark.spec(precision)
        path = self.options.work / f"{name}.json"
        told = {"memoryFraction": fraction, "maxQueueDelayMicroseconds": 2000, "artifact": {"uri": "pvc://store"}}
        keys = ("version", "model", "fingerprint", "runtime")
        path.write_text(json.dumps({**{key: spec[key] for key in keys}, **told}))
        environment = {**benchmark.commands.environment, "TFTRT_ARTIFACT": str(benchmark.artifact(precision))}
        with (
            (self.options.work / f"{name}.log").open("w") as log,
            server.running(path, environment, run.ROOT, log) as served,
        ):
            yield served

    def load(self, servers: list[server.Server], seconds: float) -> list[dict[str, Any]]:
        """All of them under load at the same time, each by clients in a process of its own."""
        answers = [self.options.work / f"load-{served.process.pid}.json" for served in servers]
        command = [sys.executable, "-m", "benchmarks.gpu.memory_load"]
        environment = self.benchmarks["FP32"].commands.environment
        asked = [(served.address, str(CLIENTS), str(BATCH), str(seconds)) for served in servers]
        loads = [
            subprocess.Popen([*command, str(answer), *one], cwd=run.ROOT, env=environment)
            for answer, one in zip(answers, asked, strict=True)
        ]
        codes = [load.wait() for load in loads]
        if any(codes):
            raise RuntimeError(f"the clients ended with {codes}")
        rows = [json.loads(answer.read_text()) for answer in answers]
        keys = ("requests", "imagesPerSecond", "p99Milliseconds", "errors")
        return [{key: row.get(key) for key in keys} for row in rows]

    def told(self, precision: str) -> dict[str, Any]:
        """What the conversion measured of a server's memory."""
        manifest = json.loads((self.benchmarks[precision].artifact(precision) / "manifest.json").read_text())
        return {"measured": manifest["summary"].get("memory")}

    def fraction(self, precision: str, budget: int) -> str | None:
        """The fraction that policy ReserveWorkspace gives for this budget; a unit test holds it to the operator's."""
        if not self.gpu:
            return None
        benchmark = self.benchmarks[precision]
        benchmark.where()
        total = benchmark.device["memory_bytes"]
        reserve = max(run.WORKSPACE_BYTES, self.told(precision)["measured"]["overheadBytes"])
        return f"{np.floor((budget - reserve) / total * 1e4) / 1e4:.4f}"


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON files and the log")
    parser.add_argument("--work", type=Path, default=Path("/tmp/tftrt-memory"), help="folder for models, artifacts")
    parser.add_argument("--accelerator", choices=("GPU", "None"), default="GPU")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the two neighbours are under load")
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    parser.add_argument("steps", nargs="*", metavar="STEP", choices=[*STEPS, []])
    options = parser.parse_args()
    for folder in (options.out, options.work):
        folder.mkdir(parents=True, exist_ok=True)
    return Memory(options).run(options.steps or list(STEPS))


if __name__ == "__main__":
    sys.exit(main())
