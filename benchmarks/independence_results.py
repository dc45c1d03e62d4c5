"""The part of docs/gpu-results.md about rounding: do a network's items look independent of each other on a GPU?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.tables import table


def section(steps: dict[str, Any]) -> Iterable[str]:
    """The table of one run's file."""
    yield "### Items alone and in a batch\n"
    yield (
        "The unconverted networks, without TF32, asked as a conversion asks whether requests may be put together "
        "([decision 32](decisions/0032-nobodys-data-in-anothers-answer.md)): the largest difference of an item's "
        "answer to that in its batch, relative to the output's largest value. They compute in FP32, but "
        "`mobilenetv2half` in FP16, as Keras' mixed precision does.\n"
    )
    header = ("network", "batch", "items", "alone", "two of them", "in turned order", "tolerance", "requests")
    yield table(header, [_row(row) for row in steps["items"]["rows"]])


def _row(row: dict[str, Any]) -> tuple[object, ...]:
    if "error" in row:
        return (row["network"], row["batchSize"], "", "", "", "", "", f"failed: {row['error']}")
    ways = [f"{row['largest'][how]:.1e}" for how in ("alone", "two", "otherOrder")]
    together = row["batching"]["mode"] == "Dynamic"
    verdict = "put together" if together else f"**kept apart**: {row['batching']['message']}"
    return (row["network"], row["batchSize"], row["items"], *ways, f"{row['tolerance']:.2g}", verdict)
