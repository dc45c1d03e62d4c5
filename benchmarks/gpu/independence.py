"""Whether rounding on a GPU makes the items of a batch look as if they depended on each other (decision 32).

    python -m benchmarks.gpu.independence --out FOLDER [--work FOLDER] [NETWORK...]

Asks each unconverted network as a conversion does, in FP32, for batches of its samples and for their items alone, two
of them and in turned order. Writes FOLDER/independence-items.json. With `--accelerator None` it is asked on the CPU.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from tftrt_runtime.contract.artifact import Batching
from tftrt_runtime.processes import child
from tftrt_runtime.verification.messages import ReferenceRequest

from benchmarks.gpu import run
from benchmarks.gpu.models import MODELS

BATCH_SIZES = (32, 128)


class CompanyAnswer(BaseModel):
    """What was judged, and by which tolerance; `largest` by how an item was asked a second time."""

    batching: Batching
    tolerance: float
    items: int
    # Relative to the largest value of the output.
    largest: dict[str, float]


class Independence:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.benchmarks = {name: self.benchmark(name) for name in options.networks or MODELS}

    def benchmark(self, network: str) -> run.Benchmark:
        """What writes the network, and tells where it runs."""
        out, work = self.options.out / network, self.options.work / network
        out.mkdir(parents=True, exist_ok=True)
        told = {name: getattr(self.options, name) for name in ("accelerator", "commit")}
        fixed = {"batch_sizes": [1], "seconds": 1.0, "limit": math.inf, "environment": {}}
        return run.Benchmark(argparse.Namespace(out=out, work=work, model=network, **told, **fixed))

    def run(self) -> int:
        """The number of networks that could not be asked."""
        started = time.monotonic()
        with ThreadPoolExecutor(len(self.benchmarks)) as threads:
            found = [row for rows in threads.map(self.rows, self.benchmarks) for row in rows]
        where = next(iter(self.benchmarks.values())).where()
        result = {"step": "items", "rows": found, "seconds": round(time.monotonic() - started, 1), **where}
        (self.options.out / "independence-items.json").write_text(json.dumps(result, indent=1) + "\n")
        return sum("error" in row for row in found)

    def rows(self, network: str) -> list[dict[str, Any]]:
        """What became of it in batches of each size."""
        rows: list[dict[str, Any]] = []
        for size in BATCH_SIZES:
            row: dict[str, Any] = {"network": network, "batchSize": size}
            try:
                row |= self.look(network, size)
            except Exception as error:  # another network is independent of this one
                row["error"] = str(error)
            print(json.dumps(row), flush=True)
            rows.append(row)
        return rows

    def look(self, network: str, size: int) -> dict[str, Any]:
        """Ask it in batches of this size, of its own samples."""
        benchmark = self.benchmarks[network]
        source = benchmark.source()
        kind = "verification" if network == "transformer" else "calibration"
        folder = benchmark.work / "samples"
        folder.mkdir(exist_ok=True)
        shutil.copy(benchmark.models / f"{network}-{kind}.npz", folder)
        references, events = benchmark.work / f"references-{size}", benchmark.work / f"events-{size}"
        for made in (references, events):
            made.mkdir(exist_ok=True)
        spec = benchmark.task("FP32").conversion()
        asked = {
            "uri": spec["source"]["uri"],
            "source": str(source),
            "signature": spec["source"]["signature"],
            "tensorflow": spec["runtime"]["tensorflow"],
            "batch_sizes": [size],
            "input_shapes": spec["conversion"].get("inputShapes", {}),
            "dynamic_shapes": spec["conversion"].get("dynamicShapes"),
            "references": str(references),
            "data": None,
            "calibration": {"uri": f"{network}-{kind}.npz", "folder": str(folder)},
            "events": str(events),
        }
        request = ReferenceRequest.model_validate_json(json.dumps(asked))
        answer = child.run("benchmarks.gpu.company", request, CompanyAnswer, "convert", benchmark.commands.environment)
        return dict(answer.model_dump())


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON file and the logs")
    parser.add_argument("--work", type=Path, default=Path("/tmp/tftrt-independence"), help="folder for the networks")
    parser.add_argument("--accelerator", choices=("GPU", "None"), default="GPU")
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", choices=[*MODELS, []])
    return Independence(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
