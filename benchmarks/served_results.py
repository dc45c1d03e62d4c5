"""The part of docs/gpu-results.md about what clients get: beside an older build, and beside the engine alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.tables import table

WAYS = {"sharedMemory": "system shared memory", "inline": "inline gRPC"}
# What shares are of: a batch of these many items after the other, on one stream, fed from the device.
ENGINE_BATCH = 128
BUILDS = {"before": "645c5b7", "now": "this build"}
PARTS = {
    "clientSend": "the client sends",
    "network": "network, gRPC and what is left",
    "queue": "it waits for others, or for a slot",
    "input": "copied to its slot",
    "infer": "the model's process",
    "output": "its answer is copied",
    "clientReceive": "the client receives",
}
NOTHING = "not measured"
Row = dict[str, Any]


def section(steps: dict[str, Any]) -> Iterable[str]:
    """The tables of one run's files, each of which is of one network in one precision."""
    for name, file in sorted(steps.items()):
        yield from _network(name, file)


def _network(name: str, file: dict[str, Any]) -> Iterable[str]:
    rows: list[Row] = file["rows"]
    engine = _engine(rows)
    yield f"### What clients get: {name}, {file['precision']}\n"
    sizes = ", ".join(map(str, file["batchSizes"]))
    alone = NOTHING if engine is None else f"{engine:,.0f} images/s"
    yield (
        f"Engines for batches of {sizes}, memory fraction {file['memoryFraction']}; asked by NVIDIA's perf_analyzer. A"
        " share is of what the same engine makes in process in the same run, one batch of"
        f" {ENGINE_BATCH} after the other on one stream, fed from the device: {alone}.\n"
    )
    ready = "; ".join(f"{BUILDS[row['build']]} {row['seconds']} s" for row in rows if row["part"] == "ready")
    yield f"From the start of `tftrt serve` to ready: {ready or NOTHING}.\n"
    loads = list({_load(row): row for row in rows if row["part"] == "served"})
    builds = [build for build in BUILDS if any(row.get("build") == build for row in rows)]
    together = ("x",) if len(builds) == len(BUILDS) else ()
    head = ("request", "items", "clients", *(cell for build in builds for cell in _columns(build)), *together)
    yield table(head, [_served(load, builds, rows, engine) for load in loads])
    half = [row for row in rows if row["part"] == "at half"]
    if half:
        yield "Asked at half of the rate that they reach, evenly:\n"
        yield table(
            ("request", "items", "build", "items/s", "p50 ms", "p99 ms", "p99 / p50", "errors"), map(_half, half)
        )
    parts = [row for row in rows if row.get("parts_microseconds")]
    if parts:
        yield (
            "Where the time of a request goes, in ms, on average; between the client's two ends the account is"
            " tritonserver's own. Of the build before, copies for the batch are a part of the model's process:\n"
        )
        yield table(("request", "items", "clients", "load", "build", *PARTS.values()), map(_parts, parts))
    inside = [row for row in rows if row["part"] == "in process" and "itemsPerSecond" in row]
    if inside:
        yield "In process, as this build runs it:\n"
        head = ("batch", "in flight", "streams", "fed from the device", "from the host", "share")
        yield table(head, _inside(inside))
    for row in rows:
        if row["part"] == "answers" and row["build"] == builds[-1] and together:
            same = "the same bit for bit" if row["equal"] else f"as far as {row['largest']:.2g} apart"
            yield f"The answers of both builds to the same {row['rows']} items are {same}.\n"
        if row.get("error"):
            yield f"`{row['part']}` failed: {row['error']}\n"


def _engine(rows: Iterable[Row]) -> float | None:
    """The images a second that shares are of."""
    for row in rows:
        alone = row.get("batchSize") == ENGINE_BATCH and row.get("input") == "Device" and row.get("streams") == 1
        if row["part"] == "in process" and alone and row["inFlight"] == 1:
            return float(row["itemsPerSecond"])
    return None


def _load(row: Row) -> tuple[str, int, int]:
    return row["way"], row["batch_size"], row["clients"]


def _columns(build: str) -> tuple[str, ...]:
    return tuple(f"{BUILDS[build]}: {what}" for what in ("images/s", "share", "p50 ms", "p99 ms", "errors"))


def _served(
    load: tuple[str, int, int], builds: Sequence[str], rows: Iterable[Row], engine: float | None
) -> tuple[object, ...]:
    found = {row["build"]: row for row in rows if row["part"] == "served" and _load(row) == load}
    way, items, clients = load
    cells = [cell for build in builds for cell in _cells(found.get(build), engine)]
    if len(builds) < len(BUILDS):
        return (WAYS[way], items, clients, *cells)
    both = [found[build]["items_per_second"] for build in builds if build in found]
    ratio = f"{both[1] / both[0]:.2f}" if len(both) == len(BUILDS) and both[0] else NOTHING
    return (WAYS[way], items, clients, *cells, ratio)


def _cells(row: Row | None, engine: float | None) -> tuple[str, ...]:
    if row is None:
        return (NOTHING, "", "", "", "")
    rate = row["items_per_second"]
    share = NOTHING if engine is None else f"{rate / engine:.2f}"
    unsteady = "" if row["stable"] else " (windows differ)"
    return (f"{rate:,.0f}{unsteady}", share, *_latency(row), row["errors"] or "0")


def _latency(row: Row) -> tuple[str, str]:
    return f"{row['p50_microseconds'] / 1000:.1f}", f"{row['p99_microseconds'] / 1000:.1f}"


def _half(row: Row) -> tuple[object, ...]:
    ratio = row["p99_microseconds"] / max(row["p50_microseconds"], 1)
    what = (WAYS[row["way"]], row["batch_size"], BUILDS[row["build"]], f"{row['items_per_second']:,.0f}")
    return (*what, *_latency(row), f"{ratio:.2f}", row["errors"] or "0")


def _parts(row: Row) -> tuple[object, ...]:
    load = "saturated" if row["part"] == "served" else "half"
    spent = [f"{row['parts_microseconds'].get(part, 0) / 1000:.2f}" for part in PARTS]
    return (WAYS[row["way"]], row["batch_size"], row["clients"], load, BUILDS[row["build"]], *spent)


def _inside(rows: Iterable[Row]) -> Iterable[tuple[object, ...]]:
    found: dict[tuple[int, int, int], dict[str, float]] = {}
    for row in rows:
        key = row["batchSize"], row["inFlight"], row["streams"]
        found.setdefault(key, {})[row["input"]] = row["itemsPerSecond"]
    for key, rates in sorted(found.items()):
        device, host = rates.get("Device"), rates.get("Host")
        share = f"{host / device:.2f}" if host and device else ""
        yield (*key, *(NOTHING if rate is None else f"{rate:,.0f}" for rate in (device, host)), share)
