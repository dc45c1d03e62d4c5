"""NVIDIA's perf_analyzer, which asks a server as clients in C++ do, and what it tells of it.

The program of the wheel `perf-analyzer` where `PERF_ANALYZER` names it (it needs glibc 2.38), else that of the wheel
`tritonclient`, which is older and opens two libraries that are in the wheel `nvidia-pytriton`.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tftrt_runtime.serve import repository

Way = Literal["inline", "sharedMemory"]

# What the wheel of tritonclient opens, by the names under which it looks for them.
LIBRARIES = {"libcudart.so.12": "libcudart-*", "libb64.so.0d": "libb64-*"}
WINDOW_MILLISECONDS = 2000
# Columns of its table, each the mean of a request's microseconds: what the client sees, and tritonserver's own account
# of what happened in between.
PARTS = {
    "Client Send": "clientSend",
    "Network+Server Send/Recv": "network",
    "Server Queue": "queue",
    "Server Compute Input": "input",
    "Server Compute Infer": "infer",
    "Server Compute Output": "output",
    "Client Recv": "clientReceive",
}
# perf_analyzer measures windows until three agree so far, or until it has had enough of them and tells nothing.
STABLE_PERCENT, MOST_WINDOWS = 10, 6
ANY_PERCENT = 999


@dataclass(frozen=True)
class Load:
    """Clients, each of which asks again as soon as it is answered; or, with a rate, requests a second, however long."""

    way: Way
    batch_size: int
    clients: int
    rate: float | None = None


@dataclass(frozen=True)
class Seen:
    """What the clients saw."""

    items_per_second: float
    p50_microseconds: float
    p99_microseconds: float
    stable: bool = True
    """Whether three windows agreed."""
    errors: str = ""
    parts_microseconds: dict[str, float] = field(default_factory=dict)
    """Where the time of a request goes, on average, by the names in PARTS."""


def ask(address: str, model: str, load: Load, output_bytes: int = 0) -> dict[str, Any]:
    """Put a load on a server; a row of a table. Where perf_analyzer fails the row has its words in `errors`.

    Answers come through shared memory too, where that is the way and each has so many `output_bytes`.
    """
    seen = _asked(address, model, load, output_bytes, STABLE_PERCENT)
    if seen.errors:
        seen = replace(_asked(address, model, load, output_bytes, ANY_PERCENT), stable=False)
    return {**asdict(load), **asdict(seen)}


def _asked(address: str, model: str, load: Load, output_bytes: int, stable_percent: int) -> Seen:
    with _environment() as environment, tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table.csv")
        command = [
            *(_program(), "-m", model, "-u", address, "-i", "grpc", "-b", str(load.batch_size), "-f", str(table)),
            *("--measurement-interval", str(WINDOW_MILLISECONDS), "--stability-percentage", str(stable_percent)),
            *("--max-trials", str(MOST_WINDOWS), "--percentile", "99"),
        ]
        if load.way == "sharedMemory":
            command += ["--shared-memory", "system", "--output-shared-memory-size", str(output_bytes * load.batch_size)]
        if load.rate is None:
            command += ["--concurrency-range", str(load.clients)]
        else:
            command += ["--request-rate-range", f"{load.rate:.1f}", "--request-distribution", "constant"]
            command += ["--max-threads", str(load.clients)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        if table.exists() and (seen := _read(table)) is not None:
            return seen
    words = f"{ended.stdout[-300:]} {ended.stderr[-300:]}".strip()
    return Seen(0, 0, 0, errors=f"perf_analyzer ended with {ended.returncode}: {words}")


def _read(table: Path) -> Seen | None:
    with table.open() as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return None
    row = rows[-1]
    return Seen(
        round(float(row["Inferences/Second"]), 1),
        float(row["p50 latency"]),
        float(row["p99 latency"]),
        errors=""
        if int(row.get("Failed Request Count") or 0) == 0
        else f"{row['Failed Request Count']} requests failed",
        parts_microseconds={name: float(row[column]) for column, name in PARTS.items() if row.get(column)},
    )


def _program() -> str:
    told = os.environ.get("PERF_ANALYZER")
    return told or str(Path(sys.executable).with_name("perf_analyzer"))


@contextmanager
def _environment() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        (wheel,) = repository.library_path()[:1]
        for name, pattern in LIBRARIES.items():
            for found in wheel.glob(pattern):
                Path(folder, name).symlink_to(found)
        path = os.pathsep.join([folder, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
        yield {**os.environ, "LD_LIBRARY_PATH": path}
