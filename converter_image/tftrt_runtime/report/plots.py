"""The report's plots, as SVG that stands in the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tftrt_runtime.benchmark.rows import AS_SERVED, Place, Row, Way, rate

COLOURS: dict[Way, str] = {"FP32": "#b8bfc9", "Native": "#7d8898", "Converted": "#76b900"}
INK, FAINT = "#39424e", "#e3e7ec"
STYLE: Any = {
    # Text stays text: small, sharp, searchable, and in the page's own font.
    "svg.fonttype": "none",
    "svg.hashsalt": "tftrt",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c3cad3",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
PANEL = (5.2, 3.0)  # inches


def throughput(rows: Sequence[Row], place: Place, names: dict[Way, str]) -> str:
    """Items a second by batch size: one call at a time, and as many as a server has where all ways have that."""

    def draw(axes: Axes, found: Sequence[Row]) -> None:
        _bars(axes, found, names, rate)
        axes.set_ylabel("items / s")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))

    return _panels(rows, place, draw, "Throughput")


def latency(rows: Sequence[Row], place: Place, names: dict[Way, str]) -> str:
    """Milliseconds a call by batch size: the median as a bar, the 99th percentile as its whisker."""

    def draw(axes: Axes, found: Sequence[Row]) -> None:
        _bars(axes, found, names, lambda row: row.p50Microseconds / 1e3, lambda row: row.p99Microseconds / 1e3)
        axes.set_ylabel("ms / call (p50, whisker p99)")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))

    return _panels(rows, place, draw, "Latency")


def short(value: float) -> str:
    """A number in few signs: 21.3k, 940, 7.25."""
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if value >= 1e3 else f"{value:.3g}"


def _panels(rows: Sequence[Row], place: Place, draw: Callable[[Axes, Sequence[Row]], None], title: str) -> str:
    measured = [row for row in rows if row.input == place]
    # There was not always time for all.
    whole = {(row.way, row.batchSize) for row in measured}
    complete = [
        in_flight
        for in_flight in sorted({row.inFlight for row in measured})
        if {(row.way, row.batchSize) for row in measured if row.inFlight == in_flight} == whole
    ]
    chosen = sorted({complete[0], max((many for many in complete if many <= AS_SERVED), default=complete[0])})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PANEL[0] * len(chosen), PANEL[1]), layout="constrained")
        for number, in_flight in enumerate(chosen, start=1):
            axes = figure.add_subplot(1, len(chosen), number)
            draw(axes, [row for row in measured if row.inFlight == in_flight])
            axes.set_title(
                f"{title}, {'one call at a time' if in_flight == 1 else f'{in_flight} calls in flight'}",
                fontsize=10,
                loc="left",
            )
        return _svg(figure)


def _bars(
    axes: Axes,
    rows: Sequence[Row],
    names: dict[Way, str],
    value: Callable[[Row], float],
    upper: Callable[[Row], float] | None = None,
) -> None:
    """A group of bars for each batch size, one bar for each way, with its number on it."""
    sizes = sorted({row.batchSize for row in rows})
    ways = [way for way in COLOURS if any(row.way == way for row in rows)]
    width = 0.8 / len(ways)
    for index, way in enumerate(ways):
        found = {row.batchSize: row for row in rows if row.way == way}
        there = [(place, found[size]) for place, size in enumerate(sizes) if size in found]
        across = [place + (index - (len(ways) - 1) / 2) * width for place, _ in there]
        heights = [value(row) for _, row in there]
        bars = axes.bar(across, heights, width * 0.92, color=COLOURS[way], label=names[way])
        if upper is None:
            axes.bar_label(bars, [short(height) for height in heights], padding=2, fontsize=6.8)
        else:
            above = [max(0.0, upper(row) - height) for (_, row), height in zip(there, heights)]
            axes.errorbar(
                across, heights, yerr=[[0.0] * len(above), above], fmt="none", ecolor=INK, elinewidth=0.9, capsize=2
            )
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set_xlabel("batch size")
    axes.legend(loc="upper left", fontsize=8.5)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.18)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    # In the page: no prologue, no size in points, the page's font.
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1 class="plot"', svg, count=1)
    return re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", svg)
