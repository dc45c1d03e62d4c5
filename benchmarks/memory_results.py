"""The part of docs/gpu-results.md about memory: what was promised by `gpu.memory`, and what the driver saw taken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.tables import table

MIB = 2**20
NETWORKS = {
    "resnet50": "ResNet-50",
    "small": "three convolutions",
    "enlarged": "a ResNet-50 that enlarges its images from 96 x 96 to 384 x 384 pixels itself",
}
LEAST_SHARE = 0.4  # of its throughput alone, which a server keeps beside another


def section(steps: dict[str, Any]) -> Iterable[str]:
    """The tables of one run's files."""
    yield "### Memory: promised and taken\n"
    for step, file in steps.items():
        if "error" in file:
            yield f"`{step}` failed: {file['error']}\n"
    if rows := steps.get("budgets", {}).get("rows"):
        yield from _budgets(steps["budgets"], rows)
    for step in ("neighbours", "pictures"):
        if "together" in steps.get(step, {}):
            yield from _neighbours(steps[step])
    if "precision" in steps:
        yield from _precision(steps["precision"])


def _budgets(file: dict[str, Any], rows: list[dict[str, Any]]) -> Iterable[str]:
    yield (
        f"ResNet-50 served with `gpu.memory` of each size and `maxWorkspaceSize` {file['workspaceBytes'] // MIB} MiB, "
        f"under load of batches of {file['batchSize']}; those of one size side by side on the device. "
        "Taken: the most that the driver saw all of a server's processes hold, read ten times a second.\n"
    )
    yield table(
        ("precision", "gpu.memory MiB", "fraction", "taken MiB", "of the promise", "", "images/s", "failed requests"),
        [_budget(row) for row in rows],
    )


def _budget(row: dict[str, Any]) -> tuple[object, ...]:
    promised = row["budgetBytes"] // MIB
    if "error" in row:
        return (
            row["precision"],
            f"{promised:,}",
            row.get("memoryFraction", ""),
            "",
            "",
            f"failed: {row['error']}",
            "",
            "",
        )
    taken = row["peakBytes"]
    return (
        row["precision"],
        f"{promised:,}",
        row["memoryFraction"],
        f"{taken // MIB:,}",
        f"{taken / row['budgetBytes']:.1%}",
        "kept" if taken <= row["budgetBytes"] else "**broken**",
        f"{row['imagesPerSecond']:,.0f}",
        len(row["errors"]),
    )


def _neighbours(file: dict[str, Any]) -> Iterable[str]:
    together = file["together"]
    seconds = file["togetherSeconds"]
    # Run 13's file does not say what was served, and how it was asked.
    network, precision = file.get("network", "resnet50"), file.get("precision", "FP16")
    length = f"{seconds / 60:.0f} minutes" if seconds >= 60 else f"{seconds:.0f} s"
    yield (
        f"Two servers of {NETWORKS[network]} in {precision} on one device, `gpu.memory` "
        f"{file['budgetBytes'] // MIB:,} MiB each, each alone and then both for {length}. {_asked(file)} "
        f"Each should keep {LEAST_SHARE} of its throughput.\n"
    )
    yield table(
        ("server", "items/s alone", "items/s beside the other", "share", "", "taken MiB", "", "failed requests"),
        [
            (
                number,
                f"{alone['imagesPerSecond']:,.0f}",
                f"{both['imagesPerSecond']:,.0f}",
                f"{(share := both['imagesPerSecond'] / alone['imagesPerSecond']):.2f}",
                "reached" if share >= LEAST_SHARE else "**missed**",
                f"{taken // MIB:,}",
                "kept" if taken <= file["budgetBytes"] else "**broken**",
                len(both["errors"]),
            )
            for number, (alone, both, taken) in enumerate(
                zip(file["alone"], together, file["peakBytes"], strict=True), 1
            )
        ],
    )
    if (busy := file.get("deviceBusyPercent")) is not None:
        alone = " and ".join(f"{one['deviceBusyPercent']:.0f} %" for one in file["alone"])
        yield (
            f"By the driver, a kernel ran on the device in {alone} of the time with one server, and in {busy:.0f} % "
            "with both.\n"
        )
    if third := file.get("third"):
        yield _third(third)


def _asked(file: dict[str, Any]) -> str:
    if "way" not in file:
        return "Each is asked by four threads of one process, with the images in the requests."
    return (
        f"Each is asked by {file['clients']} threads in {file['processes']} processes for batches of "
        f"{file['batchSize']}, through system shared memory."
    )


def _third(third: dict[str, Any]) -> str:
    promised = f"A third of {third['budgetBytes'] // MIB:,} MiB"
    if third["ready"]:
        return f"{promised} was **not** refused.\n"
    if "message" not in third:
        return f"{promised} was not ready, and does not say why: {third['ended']}\n"
    return f"{promised} was refused, with code {third['code']}, {third['reason']}: “{third['message']}”\n"


def _precision(file: dict[str, Any]) -> Iterable[str]:
    # Run 13's file does not say what was served, and its clients' libraries may send a request again.
    network, counted = NETWORKS[file.get("network", "resnet50")], file.get("counted", ())
    yield (
        f"A server of {network} in {file['to']} takes over from one in {file['from']} under load: new connections "
        f"go to it once it is ready, and the old one gets SIGTERM and ends after {file['endedAfterSeconds']} s. "
        "Clients do not ask twice, and compare every answer.\n"
    )
    yield table(
        ("client", "rows", "requests", "failed", "longest call s"),
        [
            (row["client"], row["rows"], f"{row['requests']:,}", len(row["failures"]), row["longestSeconds"])
            for row in file["rows"]
        ],
    )
    if counted:
        requests = sum(row["requests"] for row in file["rows"] if row["client"] in counted)
        yield (
            f"Of them {requests:,} by {' and '.join(counted)}, which send nothing again by themselves as the libraries "
            f"of the others do, in {file['askedSeconds']:.0f} s.\n"
        )
