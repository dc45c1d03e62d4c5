"""The table of how outputs compare, for the page and for a terminal: a column for each figure that any output has."""

from __future__ import annotations

from collections.abc import Sequence

from tftrt_runtime.report.data import Comparison

Row = tuple[str, ...]
NOTHING = "-"  # where there was nothing to compare, or it is no figure of the output

ERROR, CLASSES = "Largest relative error", "Top-1 agreement"


def table(comparisons: Sequence[Comparison]) -> tuple[Row, list[Row]]:
    """The headings, and a row for each comparison."""
    columns: dict[str, list[object]] = {
        "Output": [each.output for each in comparisons],
        "Batch": [each.batchSize for each in comparisons],
        "Input up to": [each.inputUpTo for each in comparisons],
        "Samples": [each.samples for each in comparisons],
        ERROR: [each.maxRelativeError for each in comparisons],
        "In a channel": [_in_a_channel(each) for each in comparisons],
        "Equal": [each.equalElements for each in comparisons],
        "Within one step": [each.withinOneStep for each in comparisons],
        "Not finite": [each.notFinite for each in comparisons],
        "Gone": [each.gone for each in comparisons],
        CLASSES: [each.top1Agreement for each in comparisons],
    }
    shown = {
        heading: values
        for heading, values in columns.items()
        if heading in {ERROR, CLASSES} or any(value is not None for value in values)
    }
    rows = zip(*shown.values(), strict=True)
    return tuple(shown), [tuple(NOTHING if value is None else str(value) for value in row) for row in rows]


def _in_a_channel(each: Comparison) -> str | None:
    return None if each.maxChannelError is None else f"{each.maxChannelError} ({each.channel})"
