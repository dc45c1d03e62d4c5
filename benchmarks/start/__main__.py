"""`python -m benchmarks.start --build NAME=CHECKOUT ... --out FOLDER`: builds side by side, by turns; prints a table.

By the converter's Python. On a machine with a GPU `--gpu`, and with it `--precision FP16 --batch-size 8`. What was
measured so far is written after each round, so that a run which is stopped has what it had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.start import runs
from benchmarks.start.summary import markdown
from benchmarks.start.world import Asked, Build, World

ROOT = Path(__file__).parents[2]
FILE = "start.json"
GPU = {"name": "triton", "accelerator": "GPU", "tensorflow": "2.14.1", "tensorrt": "8.5.3.1"}
CPU = {"name": "cpu", "accelerator": "None", "tensorflow": "2.14.1", "tensorrt": ""}
MEMORY_FRACTION = "0.2"
Told = dict[str, Any]


def main() -> int:
    """Measure, print, write; the number of runs that failed."""
    options = _options()
    builds = [Build(name, Path(folder).resolve()) for name, _, folder in (one.partition("=") for one in options.build)]
    builds.append(Build("this", ROOT))
    out = options.out / FILE
    out.parent.mkdir(parents=True, exist_ok=True)
    found: Told = {"machine": _machine(options.gpu), "commits": {one.name: _commit(one) for one in builds}, "rows": []}
    found["rounds"], found["finishedAt"] = options.rounds, ""
    with tempfile.TemporaryDirectory(prefix="tftrt-start-") as folder:
        models = Path(folder, "models")
        models.mkdir()
        _make(models, options.model)
        rows = {
            (model, build.name): {"model": model, "build": build.name, "job": [], "byHand": [], "ready": []}
            for model in options.model
            for build in builds
        }
        found["rows"] = list(rows.values())
        for number in range(options.rounds):
            for model in options.model:
                asked = Asked(model, options.gpu, options.precision, tuple(options.batch_size))
                # Who comes first warms the machine for the other: by turns.
                for build in builds if number % 2 == 0 else builds[::-1]:
                    place = Path(folder, f"{build.name}-{model}-{number}")
                    place.mkdir()
                    _measure(World(place, build, asked, models, GPU if options.gpu else CPU), rows[model, build.name])
                    found["finishedAt"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
                    out.write_text(json.dumps(found, indent=1) + "\n")
    print(markdown(found))
    return sum(len(row.get("errors", [])) for row in rows.values())


def _measure(world: World, row: Told) -> None:
    """One round of one build: the Job's step, a person's command, the server of what the Job published."""
    environment, name = world.environment, f"{world.build.name}, {world.asked.model}"
    try:
        for step in ("lookup", "fetch"):
            runs.conversion(world.step(step), environment)
        row["job"].append(runs.conversion(world.step("convert"), environment).told())
        print(f"{name}: converted in {row['job'][-1]['seconds']} s", flush=True)
        runs.conversion(world.step("publish"), environment)
        row["byHand"].append(runs.conversion(world.by_hand(world.root / "by-hand"), environment).told())
        print(f"{name}: converted by hand in {row['byHand'][-1]['seconds']} s", flush=True)
        fraction = MEMORY_FRACTION if world.asked.gpu else None
        row["ready"].append(runs.serving(lambda ports: world.server(ports, fraction), world.environment).told())
        print(f"{name}: ready after {row['ready'][-1]['seconds']} s", flush=True)
    except RuntimeError as error:
        print(f"{name}: {error}", flush=True)
        row.setdefault("errors", []).append(str(error)[:2000])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument(
        "--build", action="append", default=[], metavar="NAME=CHECKOUT", help="another build, beside this"
    )
    parser.add_argument("--model", action="append", choices=["cnn", "resnet50"], help="both, where none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--precision", default="FP32")
    parser.add_argument("--batch-size", action="append", type=int)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    options.model = options.model or ["cnn", "resnet50"]
    options.batch_size = options.batch_size or [1]
    return options


def _make(folder: Path, names: list[str]) -> None:
    """The models of the converter's tests."""
    script = ROOT / "converter_image" / "tests" / "models.py"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, str(script), str(folder), *names], env=environment, check=True, capture_output=True)


def _commit(build: Build) -> str:
    command = ["git", "-C", str(build.folder), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine(gpu: bool) -> Told:
    """What a duration depends on, in words that name no one machine."""
    told: Told = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[1], 1), "gpu": ""}
    if gpu:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", "--id=0"]
        told["gpu"] = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return told


if __name__ == "__main__":
    sys.exit(main())
