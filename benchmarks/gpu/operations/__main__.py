"""Reads the command line and measures."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.gpu.operations.graphs import OPERATIONS, RARE
from benchmarks.gpu.operations.pool import Pool
from benchmarks.gpu.operations.record import LINES, VARIANTS, Lines, Row, Task, known

ROOT = Path(__file__).resolve().parents[3]
ON_CPU = tuple(variant for variant in VARIANTS if variant.precision == "FP32")
# As the product's conversions and its servers run (tftrt_runtime: NO_FALLBACK, VERBOSE, LAZY_KERNELS).
ENVIRONMENT = {
    "TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION": "False",
    "TF_CPP_MIN_LOG_LEVEL": "0",
    "TF_CPP_VMODULE": "trt_logger=2,trt_engine_op=1",
    "CUDA_MODULE_LOADING": "LAZY",
    "CUDA_CACHE_MAXSIZE": str(4 << 30),
}


def tasks(variants: list[str], names: list[str]) -> list[Task]:
    """All that is to be measured, in order: a variant of common operations, then of rare ones; the next variant."""
    chosen = [name for name in OPERATIONS if not names or name in names]
    ordered = [name for rare in (False, True) for name in chosen if (name in RARE) == rare]
    return [Task(name, variant) for variant in VARIANTS if str(variant) in variants for name in ordered]


def is_left(task: Task, done: Mapping[Task, Row], again: bool) -> bool:
    """Whether this is still to be measured; `again` also where it failed."""
    row = done.get(task)
    return row is None or (again and ("failed" in row or "ended" in row))


def main(arguments: list[str]) -> int:
    """1 where a process could not be started or, with --cpu, where a graph is wrong."""
    parser = argparse.ArgumentParser(description="A table of TensorFlow's operations.")
    parser.add_argument("--out", type=Path, required=True, help=f"folder for {LINES}; what it has is not done again")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to stop")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds that a graph may take")
    parser.add_argument("--known", type=Path, nargs="*", default=[], help="files of rows that are not done again")
    parser.add_argument("--again", action="store_true", help="do what failed again")
    parser.add_argument("--variants", nargs="*", default=[], choices=[*map(str, VARIANTS), []], metavar="VARIANT")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="names of graphs")
    parser.add_argument("--common", action="store_true", help="leave out rare operations")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--commit", default="", help="the commit that is measured, for the record")
    parser.add_argument("--cpu", action="store_true", help="without TensorRT: are the graphs right?")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.only) - set(OPERATIONS)):
        parser.error(f"there is no graph {', '.join(unknown)}")

    end = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    lines = options.out / LINES
    done = known([*options.known, lines])
    variants = options.variants or [str(variant) for variant in (ON_CPU if options.cpu else VARIANTS)]
    wanted = [task for task in tasks(variants, options.only) if not (options.common and task.operation in RARE)]
    left = [task for task in wanted if is_left(task, done, options.again)]
    print(f"{len(left)} of {len(wanted)} to be measured", flush=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), str(ROOT / "converter_image"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    command = [sys.executable, "-m", "benchmarks.gpu.operations.worker", *(["--cpu"] if options.cpu else [])]
    about = {"commit": options.commit, "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d")}
    with tempfile.TemporaryDirectory(prefix="tftrt-operations-") as work:
        pool = Pool(command, Path(work), Lines(lines), about, options.limit, end)
        rows = pool.run(left, options.workers)
    counted = Counter(
        "ended" if "ended" in row else "failed" if "failed" in row else "measured"  # in the order of their weight
        for row in rows
    )
    print(f"{dict(counted)}, {len(left) - len(rows)} not reached", flush=True)
    wrong = [row for row in rows if options.cpu and not row.get("right")]
    for row in wrong:
        told = row.get("ended") or row.get("failed") or {one: row.get(one) for one in ("tensorflow", "error")}
        print(f"WRONG {row['operation']} {row['shapes']}: {told}", flush=True)
    for told in pool.failed_starts:
        print(f"A process did not start: {told}", flush=True)
    return int(bool(wrong or pool.failed_starts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
