"""Holds servers to their memory: `gpu.memory` is what all of a pod's processes take, as the driver sees it.

    python -m benchmarks.gpu.memory --out FOLDER [--work FOLDER] [STEP...]

STEP is budgets (each precision of ResNet-50 under each budget, under load), neighbours (two servers on one device,
alone and together, and a third that does not fit, of a ResNet-50 that enlarges its images itself), pictures (the same
of ResNet-50), or convert, which all need. Writes one JSON file a step. With `--accelerator None` the `cpu` runtime goes
the same way, without a device to look at, to try the script out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import run, server
from benchmarks.gpu.driver_memory import Driver, sampled
from benchmarks.gpu.models import SEED, THUMBNAIL
from benchmarks.gpu.task import WORKSPACE_BYTES

GB = 10**9
BUDGETS = (6 * GB, 8 * GB, 12 * GB, 24 * GB, 40 * GB)  # gpu.memory, with a workspace of 4 GiB
NEIGHBOUR_BUDGET, THIRD_BUDGET = 48 * GB, 80 * GB
CLIENTS, BATCH = 4, 32
# Of each neighbour: what asks must not be what is measured, and Python's threads share one processor.
NEIGHBOUR_PROCESSES = 2
BUDGET_SECONDS, ALONE_SECONDS = 15.0, 30.0
STEPS = ("convert", "budgets", "neighbours", "pictures")
PRECISIONS = ("INT8", "FP32", "FP16")
# By name: the network and the precision of what is served. INT8 takes longest, and so comes first.
ENGINES = {
    **{precision: ("resnet50", precision) for precision in PRECISIONS},
    "enlarged": ("enlarged", "FP32"),
    "small-FP32": ("small", "FP32"),
    "small-FP16": ("small", "FP16"),
}
BUILDERS = 2  # more at once make a build many times slower
LOOK_SECONDS = 0.5


class Memory:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.gpu = options.accelerator == "GPU"
        self.precisions = PRECISIONS if self.gpu else ("FP32",)
        self.benchmarks = {name: self.benchmark(name) for name in ENGINES}
        self.driver = Driver() if self.gpu else None

    def benchmark(self, engine: str) -> run.Benchmark:
        """What converts it, with a log of its own, for several do so at a time."""
        network, _ = ENGINES[engine]
        told = {name: getattr(self.options, name) for name in ("accelerator", "commit")}
        out, work = self.options.out / engine, self.options.work / network
        out.mkdir(exist_ok=True)
        fixed = {"model": network, "batch_sizes": [BATCH], "seconds": 1.0, "limit": math.inf, "environment": {}}
        return run.Benchmark(argparse.Namespace(out=out, work=work, **told, **fixed))

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
        """Convert the networks, each as soon as there are few that still build engines."""
        end = time.monotonic() + self.options.limit
        asked = {name: self.benchmarks[name] for name in self.options.engines if self.gpu or "FP32" in ENGINES[name]}
        for benchmark in {ENGINES[name][0]: one for name, one in asked.items()}.values():
            benchmark.source()
        started: dict[str, Future[dict[str, Any]]] = {}
        with ThreadPoolExecutor(len(asked)) as threads:
            for engine, benchmark in asked.items():
                while sum(self.builds(one, ended) for one, ended in started.items()) >= BUILDERS:
                    time.sleep(LOOK_SECONDS)
                benchmark.commands.end = end
                started[engine] = threads.submit(benchmark.convert, ENGINES[engine][1])
                started[engine].add_done_callback(partial(tell, engine))
        for benchmark in asked.values():
            benchmark.commands.end = math.inf
        for ended in started.values():
            ended.result()
        return {}

    def builds(self, engine: str, ended: Future[dict[str, Any]]) -> bool:
        """Whether a conversion has not yet built its engines: it then checks, measures and times them."""
        return not ended.done() and '"message": "Converted"' not in self.benchmarks[engine].commands.path.read_text()

    def budgets(self) -> dict[str, Any]:
        """Every precision under every budget, those of one budget side by side."""
        rows: list[dict[str, Any]] = []
        self.write_items("FP32")
        for budget in BUDGETS:
            with sampled(self.driver) as peaks, ThreadPoolExecutor(len(self.precisions)) as threads:
                found = list(threads.map(lambda one, budget=budget: self.budget(one, budget), sorted(self.precisions)))
            for row in found:  # from a server's start to its end
                row |= {"peakBytes": peaks.children.get(row.pop("pid", 0)), "samples": peaks.samples}
                print(json.dumps(row), flush=True)
            rows += found
        return {"workspaceBytes": WORKSPACE_BYTES, "batchSize": BATCH, "rows": rows}

    def budget(self, precision: str, budget: int) -> dict[str, Any]:
        """A server with this budget under load."""
        row: dict[str, Any] = {"precision": precision, "budgetBytes": budget}
        try:
            fraction = self.fraction(precision, budget)
            row |= {"memoryFraction": fraction, **self.told(precision)}
            with self.serving(precision, fraction, f"{precision}-{budget}") as served:
                row |= {"pid": served.process.pid, "readySeconds": served.ready_seconds}
                (load,) = self.load([served], precision, min(BUDGET_SECONDS, self.options.seconds))
                row |= load
        except (RuntimeError, OSError) as error:  # another precision is independent of how this one ended
            row["error"] = str(error)
        return row

    def neighbours(self) -> dict[str, Any]:
        """Two servers whose items are few bytes and much to compute, so that the device is what they share."""
        return self.pair("enlarged")

    def pictures(self) -> dict[str, Any]:
        """Two servers whose items are many bytes and little to compute."""
        return self.pair("FP16" if self.gpu else "FP32")

    def pair(self, engine: str) -> dict[str, Any]:
        """Two servers on one device, alone and together, and a third whose memory is not there."""
        network, precision = ENGINES[engine]
        fraction = self.fraction(engine, NEIGHBOUR_BUDGET)
        seconds = self.options.seconds
        found: dict[str, Any] = {"network": network, "precision": precision, "budgetBytes": NEIGHBOUR_BUDGET}
        found |= {"memoryFraction": fraction, **self.told(engine), "batchSize": BATCH, "way": "sharedMemory"}
        found |= {"processes": NEIGHBOUR_PROCESSES, "clients": NEIGHBOUR_PROCESSES * CLIENTS}
        self.write_items(engine)

        def load(servers: Sequence[server.Server], seconds: float) -> list[dict[str, Any]]:
            return self.load(servers, engine, seconds, "sharedMemory", NEIGHBOUR_PROCESSES)

        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(self.serving(engine, fraction, f"neighbour-{n}")) for n in (1, 2)]
            found["alone"] = []
            for one in servers:
                with sampled(self.driver) as peaks:
                    (row,) = load([one], min(ALONE_SECONDS, seconds))
                found["alone"].append({**row, "deviceBusyPercent": peaks.busy_percent})
            with sampled(self.driver) as peaks:
                found["together"] = load(servers, seconds)
            found |= {"aloneSeconds": min(ALONE_SECONDS, seconds), "togetherSeconds": seconds}
            found |= {"deviceBusyPercent": peaks.busy_percent}
            found["peakBytes"] = [peaks.children.get(one.process.pid) for one in servers]
            found |= {"devicePeakBytes": peaks.device, "samples": peaks.samples}
            found["third"] = self.third(engine)
        return found

    def third(self, engine: str) -> dict[str, Any]:
        """How a third server ends."""
        told: dict[str, Any] = {"budgetBytes": THIRD_BUDGET}
        try:
            told["memoryFraction"] = fraction = self.fraction(engine, THIRD_BUDGET)
            with self.serving(engine, fraction, "neighbour-3"):
                return told | {"ready": True}
        except RuntimeError as error:
            lines = run.told((self.options.work / "neighbour-3.log").read_text())
            # The line that becomes the container's termination message.
            last = [line for line in lines if line["stage"] == "exit"][-1:]
            own = [{key: line[key] for key in ("reason", "code", "message") if key in line} for line in last]
            told |= {"ready": False, "ended": str(error)}
            return told | own[0] if own else told

    @contextlib.contextmanager
    def serving(self, engine: str, fraction: str | None, name: str) -> Any:
        """A server of this engine."""
        benchmark, precision = self.benchmarks[engine], ENGINES[engine][1]
        task = benchmark.task(precision)
        path = self.options.work / f"{name}.json"
        path.write_text(json.dumps(task.server(fraction)))
        environment = {**benchmark.commands.environment, "TFTRT_ARTIFACT": str(task.artifact())}
        with (
            (self.options.work / f"{name}.log").open("w") as log,
            server.running(path, environment, run.ROOT, log) as served,
        ):
            yield served

    def items(self, engine: str) -> Path:
        """Where the batch is that its servers are asked."""
        return Path(self.options.work, f"{ENGINES[engine][0]}-items.npy")

    def write_items(self, engine: str) -> None:
        """One batch that its network takes."""
        random = np.random.default_rng(SEED)
        thumbnails = random.integers(0, 256, (BATCH, THUMBNAIL, THUMBNAIL, 3), np.uint8)
        images = random.random((BATCH, 224, 224, 3), dtype=np.float32)
        np.save(self.items(engine), thumbnails if ENGINES[engine][0] == "enlarged" else images)

    def load(
        self,
        servers: Sequence[server.Server],
        engine: str,
        seconds: float,
        way: str = "inline",
        processes: int = 1,
    ) -> list[dict[str, Any]]:
        """All of them under load at the same time, each by clients in so many processes of their own."""
        command = [sys.executable, "-m", "benchmarks.gpu.memory_load"]
        environment = self.benchmarks["FP32"].commands.environment
        asked = [self.benchmarks[engine].name, str(self.items(engine)), way, str(CLIENTS), str(seconds)]
        answers = [
            [self.options.work / f"load-{served.process.pid}-{number}.json" for number in range(processes)]
            for served in servers
        ]
        loads = [
            subprocess.Popen([*command, str(answer), served.address, *asked], cwd=run.ROOT, env=environment)
            for served, its in zip(servers, answers, strict=True)
            for answer in its
        ]
        codes = [load.wait() for load in loads]
        if any(codes):
            raise RuntimeError(f"the clients ended with {codes}")
        return [in_sum([json.loads(answer.read_text()) for answer in its]) for its in answers]

    def told(self, engine: str) -> dict[str, Any]:
        """What the conversion measured of a server's memory."""
        manifest = self.benchmarks[engine].task(ENGINES[engine][1]).manifest()
        return {"measured": manifest["summary"].get("memory")}

    def fraction(self, engine: str, budget: int) -> str | None:
        """The fraction that policy ReserveWorkspace gives for this budget; a unit test holds it to the operator's."""
        if not self.gpu:
            return None
        benchmark = self.benchmarks[engine]
        benchmark.where()
        total = benchmark.device["memory_bytes"]
        return fraction(budget, max(WORKSPACE_BYTES, self.told(engine)["measured"]["overheadBytes"]), total)


def fraction(budget: int, reserve: int, total: int) -> str:
    """What is left of a budget beside what is reserved, all in bytes, as a part of the device, rounded down."""
    return f"{np.floor((budget - reserve) / total * 1e4) / 1e4:.4f}"


def tell(engine: str, ended: Future[dict[str, Any]]) -> None:
    """How its conversion ended."""
    print(engine, ended.exception() or "converted", flush=True)


def in_sum(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the clients of one server found in all of their processes; of the 99th percentiles the worst process's."""
    return {
        "requests": sum(row["requests"] for row in rows),
        "imagesPerSecond": round(sum(row["imagesPerSecond"] for row in rows), 1),
        "p99Milliseconds": max((row["p99Milliseconds"] for row in rows if "p99Milliseconds" in row), default=None),
        "errors": [error for row in rows for error in row["errors"]],
    }


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON files and the log")
    parser.add_argument("--work", type=Path, default=Path("/tmp/tftrt-memory"), help="folder for models, artifacts")
    parser.add_argument("--accelerator", choices=("GPU", "None"), default="GPU")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the two neighbours are under load")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="what is converted")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds that the conversions may take")
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    parser.add_argument("steps", nargs="*", metavar="STEP", choices=[*STEPS, []])
    options = parser.parse_args()
    for folder in (options.out, options.work):
        folder.mkdir(parents=True, exist_ok=True)
    return Memory(options).run(options.steps or list(STEPS))


if __name__ == "__main__":
    sys.exit(main())
