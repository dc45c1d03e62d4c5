"""Converts a network by `tftrt`, times it against unconverted TensorFlow and serves it; writes one JSON file a step.

    python -m benchmarks.gpu.run --out FOLDER [--work FOLDER] [--model NAME] STEP...

STEP is convert-PRECISION, time-WAY, leads-PRECISION, stems-PRECISION, parts-PRECISION, serve-PRECISION or accuracy-WAY,
where WAY is tf32 or fp32 (unconverted TensorFlow; `native` for the accuracy), a precision, or onnx (a pure TensorRT
FP16 engine). A conversion times its model and the unconverted one itself. Each step is independent of how the others
ended, but for the conversion that it needs (tf32 and fp32: any); one that takes longer than `--limit` is stopped with
all that it started.
With `--accelerator None` the `cpu` runtime does the same without a GPU, to try the benchmark out.
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tftrt_runtime.benchmark.rounds import IN_FLIGHT
from tftrt_runtime.device.tensorrt import NO_FALLBACK
from tftrt_runtime.processes import child
from tftrt_runtime.serve import limits

from benchmarks.gpu import server
from benchmarks.gpu.commands import Commands
from benchmarks.gpu.models import LENGTHS, WIDTH
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.rows import row
from benchmarks.gpu.task import WORKSPACE_BYTES, Task, environment, make_claims

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 3600.0  # nothing that is timed is left out for want of time
PRECISIONS = ("FP16", "FP32", "INT8")
# Files' names that differ by more than case from those of the conversions to FP32.
FILES = {"time-tf32": "time-native-tf32", "time-fp32": "time-native-fp32"}
# Of the ways that a conversion's report names.
REPORTED = {"Native": "tf32", "FP32": "fp32", "Converted": "converted"}
LEAD_SECONDS = 60.0
PACKAGES = ("tensorflow", "tensorrt", "nvidia-pytriton", "numpy")


class Benchmark:
    """One run of some steps."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.work: Path = options.work
        self.gpu = options.accelerator == "GPU"
        self.name: str = options.model
        self.models: Path = self.work / "pvc/models"
        self.device: dict[str, Any] = {}
        self.result: dict[str, Any] = {}  # of the step that runs
        make_claims(self.work)
        (self.work / "cuda-cache").mkdir(exist_ok=True)
        self.commands = Commands(self.out / "log.txt", self.work, ROOT, environment(ROOT, self.work))

    def run(self, steps: list[str]) -> int:
        """The number of steps that failed."""
        failed = 0
        for step in steps:
            started = time.monotonic()
            self.commands.end = started + self.options.limit
            kind, _, what = step.partition("-")
            self.result = {"step": step}
            try:
                self.result |= getattr(self, kind)(what)
            except (Exception, SystemExit) as error:
                failed += 1
                self.result["error"] = f"{type(error).__name__}: {error}"
                traceback.print_exc()
                if isinstance(error, SystemExit):
                    raise
            finally:  # also where the benchmark is told to stop: what was measured was measured
                self.commands.end = math.inf
                self.result |= {"seconds": round(time.monotonic() - started, 1), **self.where()}
                file = self.out / f"{self.name}-{FILES.get(step, step)}.json"
                file.write_text(json.dumps(self.result, indent=1) + "\n")
                print(f"{step}: {self.result['seconds']} s {self.result.get('error', '')}", flush=True)
        return failed

    def where(self) -> dict[str, Any]:
        """The device and the versions, as the packages that did the work tell them."""
        if not self.device:
            asked = (
                "from tftrt_runtime.device import devices, messages\n"
                "print(devices.look(messages.DevicesRequest()).model_dump_json())"
            )
            done = self.commands.run([sys.executable, "-c", asked], check=False)
            self.device = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
        versions = {package: installed[package] for package in PACKAGES if package in installed}
        return {
            "device": self.device,
            "versions": {"python": sys.version.split()[0], **versions},
            "commit": self.options.commit,
            "finishedAt": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def source(self) -> Path:
        """The network, written once."""
        command = [sys.executable, "-m", "benchmarks.gpu.models", self.name, str(self.models)]
        self.commands.run(command, extra={"CUDA_VISIBLE_DEVICES": ""})
        return self.models / self.name

    def task(self, precision: str) -> Task:
        """What is made of the network."""
        return Task(self.work, self.name, precision, self.options.batch_sizes, self.options.accelerator)

    def convert(self, precision: str) -> dict[str, Any]:
        """`tftrt lookup`, `fetch`, `convert` and `publish`; the summary and how long the parts took."""
        self.source()
        spec = self.work / f"{precision}.json"
        spec.write_text(json.dumps(self.task(precision).conversion()))
        begin = self.commands.path.stat().st_size
        output = ""
        try:
            for step in ("lookup", "fetch", "convert", "publish"):
                command = [sys.executable, "-m", "tftrt_runtime", step, "--spec", str(spec)]
                command += ["--workspace", str(self.work / "workspace" / precision)]
                done = self.commands.run(command, extra={"TFTRT_BUILD": "benchmark"}, check=False)
                if done.returncode:
                    lines = told(done.stderr)
                    last = lines[-1] if lines else done.stderr[-500:]
                    raise RuntimeError(f"tftrt {step} ended with {done.returncode}: {last}")
                output = done.stdout
        finally:
            lines = told(self.commands.path.read_bytes()[begin:].decode(errors="replace"))
            self.result["timings"] = [line for line in lines if "seconds" in line]
            # Until there is a report, the rows are what the log has of them.
            self.result["timed"] = [line for line in lines if "itemsPerSecond" in line]
        del self.result["timed"]
        return {"summary": json.loads(output), **self.reported(precision)}

    def reported(self, precision: str) -> dict[str, Any]:
        """What the conversion measured beyond the summary, and how many layers of each precision its engines have."""
        manifest = self.task(precision).manifest()
        report = self.task(precision).artifact() / "builds" / manifest["build"] / "report.json"
        findings = json.loads(report.read_text())["findings"]
        layers = [
            {"shapes": engine["shapes"], **Counter(layer["precision"] or "none" for layer in engine["layers"])}
            for engine in findings["layers"]
        ]
        rows = [{"way": REPORTED[one["way"]], **made(one)} for one in findings["rows"]]
        return {"rows": rows, "layers": layers}

    def converted(self, precision: str) -> Path:
        """The converted SavedModel."""
        task = self.task(precision)
        build: str = task.manifest()["build"]
        return task.artifact() / "builds" / build / "model"

    def time(self, way: str) -> dict[str, Any]:
        """Throughput and latency of one way to run the model, in a process of its own."""
        found = self.time_onnx() if way == "onnx" else {"rows": self.time_tensorflow(way)}
        return {"way": way, "environment": self.options.environment, **found}

    def time_tensorflow(
        self,
        way: str,
        streams: int | None = None,
        places: Sequence[str] = ("Device", "Host"),
        limit: float = math.inf,
        called_by: str = "",
    ) -> list[dict[str, Any]]:
        """By the converter's own benchmark; what the inputs are is read from any conversion of this model.

        On as many streams as a conversion's report has them, and called as the server calls it, unless told otherwise.
        """
        native = way in {"tf32", "fp32"}
        described = self.any_manifest() if native else self.task(way).manifest()
        model = {
            "way": {"tf32": "Native", "fp32": "FP32"}.get(way, "Converted"),
            "folder": str(self.source() if native else self.converted(way)),
            "signature": "serving_default",
        }
        usual = limits.BATCHES_IN_FLIGHT if self.gpu and not native else 1
        asked = {
            "models": [model],
            "tf32": way != "fp32",
            "inputs": described["summary"]["inputs"],
            "sample": described["sample"],
            "batch_sizes": self.options.batch_sizes,
            "places": places,
            "in_flight": IN_FLIGHT,
            "streams": streams or usual,
            "memory": None if native else described["summary"]["memory"],
            "each_seconds": self.options.seconds,
            "limit_seconds": LIMIT_SECONDS,
        }
        extra = {**NO_FALLBACK, **self.options.environment}
        module = "tftrt_runtime.benchmark.timing"
        if called_by:
            module, extra = "benchmarks.gpu.other_calls", {**extra, "CALLED_BY": called_by}
        answer = self.commands.ask(module, asked, extra, limit)
        return [made(one) for one in answer["rows"]]

    def time_onnx(self) -> dict[str, Any]:
        """A pure TensorRT engine: rows and layers."""
        asked = {
            "model": str(self.source()),
            "signature": "serving_default",
            "onnx": str(self.work / f"{self.name}.onnx"),
            "workspaceBytes": WORKSPACE_BYTES,
            "batchSizes": self.options.batch_sizes,
            "seconds": self.options.seconds,
        }
        return dict(self.commands.ask("benchmarks.gpu.onnx_engine", asked, self.options.environment))

    def leads(self, precision: str) -> dict[str, Any]:
        """Where the converted model's time goes, and what might make it faster, each in a process of its own."""
        summary = self.task(precision).manifest()
        asked = {
            "model": str(self.converted(precision)),
            "inputs": summary["summary"]["inputs"],
            "sample": summary["sample"],
            "batchSizes": self.options.batch_sizes,
            "seconds": self.options.seconds,
            "folder": str(self.out),
        }

        def ask(module: str) -> Any:
            return self.commands.ask(module, asked, NO_FALLBACK, LEAD_SECONDS)

        def on_streams(streams: int, called_by: str) -> dict[str, Any]:
            return {"rows": self.time_tensorflow(precision, streams, ("Device",), LEAD_SECONDS, called_by)}

        found = self.result["leads"] = []
        found.append(self.lead("where the time goes", lambda: ask("benchmarks.gpu.trace")))
        if self.gpu:
            name = "the engine alone, a stream for each call"
            found.append(self.lead(name, lambda: ask("benchmarks.gpu.saved_engine")))
        ways = [("one stream for all calls", 1, ""), ("two streams", 2, ""), ("three streams", 3, "")]
        ways += [(f"two streams, by the {called_by}", 2, called_by) for called_by in ("signature", "name")]
        found.extend(self.lead(name, partial(on_streams, streams, called_by)) for name, streams, called_by in ways)
        return {"way": precision}

    def stems(self, precision: str) -> dict[str, Any]:
        """What TensorRT makes of each way to pad before max pooling: the engine alone, layer by layer."""
        folder = self.work / "stems"
        command = [sys.executable, "-m", "benchmarks.gpu.stems", str(folder)]
        self.commands.run(command, extra={"CUDA_VISIBLE_DEVICES": ""})
        ways = sorted(folder.iterdir())
        return {"leads": [self.lead(f"stem: {way.name}", partial(self.stem, way, precision)) for way in ways]}

    def stem(self, source: Path, precision: str) -> dict[str, Any]:
        """One of them; an error where it is more than one engine."""
        inputs = {"name": "image", "dtype": "FP32", "shape": [-1, 224, 224, 3]}
        target, _ = self.engine(source, inputs, [[224, 224, 3]], precision)
        asked = {"model": str(target), "batchSizes": self.options.batch_sizes, "seconds": self.options.seconds}
        return dict(self.commands.ask("benchmarks.gpu.saved_engine", asked, NO_FALLBACK))

    def parts(self, precision: str) -> dict[str, Any]:
        """How far each part of the encoder is from true FP32, by TensorRT and by TensorFlow in FP16."""
        folder = self.work / "parts"
        command = [sys.executable, "-m", "benchmarks.gpu.parts", str(folder)]
        self.commands.run(command, extra={"CUDA_VISIBLE_DEVICES": ""})
        found = self.result["parts"] = []  # kept where this is stopped
        found.extend(self.lead(name, partial(self.part, folder / name, precision)) for name in PARTS)
        return {"way": precision}

    def part(self, source: Path, precision: str) -> dict[str, Any]:
        """One of them; an error where it is more than one engine."""
        width = {"name": "x", "dtype": "FP32", "shape": [-1, -1, WIDTH]}
        lengths = [[*LENGTHS[which], WIDTH] for which in ("min", "opt", "max")]
        target, counts = self.engine(source, width, lengths, precision) if self.gpu else (source, {})
        asked = {
            "exact": str(source),
            "others": {"engine": str(target), "half": f"{source}-half"},
            "data": f"{source}.npz",
        }
        # As the converter's own processes, and leaving room for neighbours as they do.
        extra = {**NO_FALLBACK, **child.TENSORFLOW}
        return {**self.commands.ask("benchmarks.gpu.part_errors", asked, extra), **counts}

    def engine(
        self, source: Path, model_input: dict[str, Any], shapes: list[list[int]], precision: str
    ) -> tuple[Path, dict[str, Any]]:
        """Convert a network to one engine for these shapes, a range where there are several; how much of it that is.

        Raises:
            RuntimeError: it became more than one.
        """
        target = self.work / "engines" / source.name
        asked = {
            "source": str(source),
            "signature": "serving_default",
            "target": str(target),
            "frozen": False,
            "inputs": [model_input],
            "samples": [{"shapes": {model_input["name"]: shape}} for shape in shapes],
            "precision": precision,
            "max_workspace_size_bytes": WORKSPACE_BYTES,
            "minimum_segment_size": 3,
            "batch_sizes": self.options.batch_sizes,
            "dynamic_shapes": "Range" if len(shapes) > 1 else None,
            "calibration": None,
        }
        answer = self.commands.ask("tftrt_runtime.convert.engines", asked, child.TENSORFLOW)
        if answer["engines"] != 1:
            raise RuntimeError(f"{answer['engines']} engines; left to TensorFlow: {answer['segments']}")
        return target, {"convertedOps": answer["converted_ops"], "totalOps": answer["total_ops"]}

    def lead(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """One of them; an error is its result."""
        started = time.monotonic()
        try:
            answer = measure()
        except Exception as error:
            answer = {"error": str(error)[-500:]}
        print(f"{name}: {time.monotonic() - started:.1f} s {answer.get('error', '')}", flush=True)
        return {"name": name, **answer}

    def any_manifest(self) -> dict[str, Any]:
        """The manifest of a conversion of this model, whatever its precision."""
        for precision in PRECISIONS:
            with contextlib.suppress(FileNotFoundError):
                return self.task(precision).manifest()
        raise RuntimeError(f"convert {self.name} first, for what its inputs are: convert-FP16, say")

    def serve(self, precision: str) -> dict[str, Any]:
        """`tftrt serve` under a memory fraction: is it ready, is it right, how fast does it answer."""
        from benchmarks.gpu import serving

        task = self.task(precision)
        folder = task.artifact()
        manifest = task.manifest()
        memory = manifest["summary"].get("memory")
        fraction = self.fraction(memory) if self.gpu else None
        path = self.work / "serve.json"
        path.write_text(json.dumps(task.server(fraction)))
        used_before = self.used()
        told = {**self.commands.environment, **self.options.environment, "TFTRT_ARTIFACT": str(folder)}
        with server.running(path, told, ROOT, self.commands.log) as served:
            idle = self.used()
            with np.load(self.models / f"{self.name}-answer.npz") as arrays:
                images, expected = arrays["input"], arrays["output"]
            (found,) = serving.ask(served.address, self.name, images).values()
            error = float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
            print(f"served: ready after {served.ready_seconds} s, relative error {error:.2g}", flush=True)
            rows = []
            for size in sorted({min(32, max(self.options.batch_sizes)), max(self.options.batch_sizes)}):
                batch = np.resize(images, (size, *images.shape[1:]))
                for way, clients in (("inline", 1), ("inline", 8), ("sharedMemory", 1), ("sharedMemory", 4)):
                    rows.append(serving.load(served.address, self.name, batch, clients, way, self.options.seconds))
                    print(json.dumps(rows[-1]), flush=True)
            loaded = self.used()
        return {
            "memoryFraction": fraction,
            "environment": self.options.environment,
            "memory": memory,
            "readySeconds": served.ready_seconds,
            "relativeError": error,
            "usedBytes": {"before": used_before, "ready": idle, "afterLoad": loaded},
            "exitCode": served.process.returncode,
            "rows": rows,
        }

    def accuracy(self, way: str) -> dict[str, Any]:
        """How often the network is right on held-out data: `native`, or converted to a precision."""
        model = self.source() if way == "native" else self.converted(way)
        answer = self.work / "accuracy.json"
        command = [sys.executable, "-m", "benchmarks.gpu.accuracy", str(model)]
        command += [str(self.models / f"{self.name}-held-out.npz"), str(max(self.options.batch_sizes)), str(answer)]
        self.commands.run(command, extra=NO_FALLBACK)
        return dict(json.loads(answer.read_text()))

    def fraction(self, memory: dict[str, int]) -> str:
        """The fraction of policy ReserveWorkspace for the whole device, which is the operator's default."""
        self.where()
        total = self.device["memory_bytes"]
        pool = total - max(WORKSPACE_BYTES, memory["overheadBytes"])
        return f"{np.floor(pool / total * 1e4) / 1e4:.4f}"

    def used(self) -> int | None:
        """Bytes of the device that are in use by anyone."""
        if not self.gpu:
            return None
        asked = "from tftrt_runtime.device.cuda import Cuda; free, total = Cuda().free_and_total(); print(total - free)"
        return int(self.commands.run([sys.executable, "-c", asked]).stdout)


def told(text: str) -> list[dict[str, Any]]:
    """The converter's own lines in a log."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"time"') and line.endswith("}")]


def made(one: dict[str, Any]) -> dict[str, Any]:
    """A row of the converter's benchmark as it is written here."""
    keys = (
        "batchSize",
        "input",
        "inFlight",
        "streams",
        "itemsPerSecond",
        "p50Microseconds",
        "p99Microseconds",
        "calls",
    )
    return row(*(one[key] for key in keys))


class Merge(argparse.Action):
    """An option that may be repeated; its pairs are put together."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, values: Any, _option: str | None = None) -> None:
        """One more pair."""
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **values})


def whole_numbers(text: str) -> list[int]:
    """The numbers in a list with commas."""
    return [int(one) for one in text.split(",")]


def main() -> int:
    """Read the command line and run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON files and the log")
    parser.add_argument(
        "--work", type=Path, default=Path("/tmp/tftrt-benchmark"), help="folder for models and artifacts"
    )
    parser.add_argument("--accelerator", choices=("GPU", "None"), default="GPU")
    parser.add_argument("--batch-sizes", type=whole_numbers, default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement, of three rounds")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds that a step may take")
    parser.add_argument("--model", default="resnet50", help="a network of benchmarks/gpu/models.py")
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    parser.add_argument(
        "--environment",
        type=lambda text: dict([text.split("=", 1)]),
        action=Merge,
        default={},
        metavar="NAME=VALUE",
        help="set in what is timed and in the server; may be repeated",
    )
    parser.add_argument("steps", nargs="+", metavar="STEP")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # on which what was started is stopped
    return Benchmark(options).run(options.steps)


if __name__ == "__main__":
    sys.exit(main())
