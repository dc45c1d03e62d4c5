"""`report.html`: one file that needs nothing but a browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import jinja2

from tftrt_runtime.benchmark.rows import Row, Way, in_flight, rate
from tftrt_runtime.contract.artifact import CPU, MADE_UP, WHY_NOT_COMPARED, Conversion, Verification
from tftrt_runtime.report import agreement_table, layout, plots, speeds
from tftrt_runtime.report.data import EngineLayers, Findings, Graph, Report
from tftrt_runtime.report.how_to_ask import how_to_ask

MIB = 1 << 20
KINDS = 7  # that have colours of their own in the graphs


def render(report: Report) -> str:
    """The page, made of nothing but the report."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tftrt_runtime.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["short"] = plots.short
    environment.filters["in_flight"] = in_flight
    environment.filters["rate"] = rate
    environment.filters["milliseconds"] = lambda microseconds: f"{microseconds / 1e3:,.3g}"
    environment.filters["mebibytes"] = lambda count: f"{count / MIB:,.0f} MiB"
    findings = report.findings
    return environment.get_template("page.html.j2").render(
        report=report,
        spec=report.spec,
        findings=findings,
        conversion=findings.conversion,
        ask=how_to_ask(report.spec.model, findings.conversion),
        on_gpu=findings.conversion.device.name != CPU,
        names=_names(findings),
        agreement=agreement_table.table(findings.comparisons),
        why_not_compared=_why_not_compared(findings.conversion),
        streams=max((row.streams for row in findings.rows), default=1),
        tiles=_tiles(findings),
        speeds=speeds.speeds(findings.rows),
        ways=[way for way in plots.COLOURS if any(row.way == way for row in findings.rows)],
        plots=_plots(findings),
        table=_table(findings.rows),
        memory=_memory(findings),
        graphs=_graphs(findings),
        kinds=_kinds(findings),
        precisions=[_precisions(engine) for engine in findings.layers],
    )


def _why_not_compared(conversion: Conversion) -> str:
    """Why nothing was compared. Older reports do not say which of the reasons it was."""
    why = None if conversion.verification is None else conversion.verification.notCompared
    return WHY_NOT_COMPARED[why] if why else " or ".join(WHY_NOT_COMPARED.values())


def _names(findings: Findings) -> dict[Way, str]:
    """What each way of running the model is called on the page."""
    conversion = findings.conversion
    has_both = any(row.way == "FP32" for row in findings.rows)
    return {
        "FP32": "TensorFlow, FP32 without TF32",
        "Native": "TensorFlow, TF32" if has_both else "TensorFlow",
        "Converted": "TF-TRT" if conversion.engines else "Converted",
    }


def _tiles(findings: Findings) -> list[tuple[str, str, str]]:
    """The figures at the head of the page: what, how much, and of what."""
    conversion, verification = findings.conversion, findings.conversion.verification
    made = speeds.tiles(findings.rows)
    if conversion.engines:
        share = Decimal(100 * conversion.convertedOps) / conversion.totalOps
        made.append(
            (
                f"{share:.1f} %",
                f"of operations in {conversion.engines} engine{'s' if conversion.engines > 1 else ''}",
                f"{conversion.convertedOps} of {conversion.totalOps}",
            )
        )
    else:
        made.append((str(findings.after.operations), "operations after", f"{findings.before.operations} before"))
    if verification is not None and verification.top1Agreement is not None:
        agreement = f"{100 * Decimal(verification.top1Agreement):.1f} %"
        made.append((agreement, "the same top-1", f"{verification.samples} samples{_if_made_up(verification)}"))
    if verification is not None and verification.maxRelativeError is not None:
        of = f"of the largest value{_if_made_up(verification)}"
        made.append((f"{float(verification.maxRelativeError):.2g}", "largest relative error", of))
    return made


def _if_made_up(verification: Verification) -> str:
    return f", {MADE_UP}" if verification.uri is None else ""


def _plots(findings: Findings) -> list[tuple[str, str, str]]:
    """For each place of the input: its heading, and plots of throughput and latency."""
    names = _names(findings)
    return [
        (
            heading,
            plots.throughput(findings.rows, place, names),
            plots.latency(findings.rows, place, names),
        )
        for place, heading in speeds.HEADINGS.items()
        if any(row.input == place for row in findings.rows)
    ]


def _table(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """All rows with the ratio of throughput to the slowest way's, converted and unconverted below each other."""
    slowest: Way = "FP32" if any(row.way == "FP32" for row in rows) else "Native"
    base = {(row.batchSize, row.input, row.inFlight): rate(row) for row in rows if row.way == slowest}
    places, order = list(speeds.HEADINGS), list(plots.COLOURS)
    found = sorted(rows, key=lambda row: (places.index(row.input), row.batchSize, row.inFlight, order.index(row.way)))
    return [(row, rate(row) / base.get((row.batchSize, row.input, row.inFlight), rate(row))) for row in found]


def _memory(findings: Findings) -> list[tuple[str, int, float]]:
    """The parts of a server's memory: what, bytes and share of them all."""
    memory = findings.conversion.memory
    if memory is None:
        return []
    parts = {
        "weights": memory.weightsBytes,
        "activations and scratch": max(0, memory.peakBytes - memory.weightsBytes),
        "outside of TensorFlow's pool": memory.overheadBytes,
    }
    whole = sum(parts.values())
    return [(name, count, 100 * count / whole) for name, count in parts.items()]


def _graphs(findings: Findings) -> list[dict[str, Any]]:
    """The graph before and after: each one's picture, and how many nodes of each kind it has."""
    pictures = {"Before": findings.before, "After": findings.after}
    made = []
    for when, graph in pictures.items():
        made.append(
            {
                "when": when,
                "graph": graph,
                "picture": layout.picture(graph),
                "counts": Counter(node.op for node in graph.nodes),
                "engines": _engines(graph),
            }
        )
    return made


def _kinds(findings: Findings) -> dict[str, int]:
    """The commonest kinds of operations of both graphs, each with the number of its colour."""
    nodes = [*findings.before.nodes, *findings.after.nodes]
    counts = Counter(node.op for node in nodes if node.op != layout.ENGINE)
    return {kind: number for number, (kind, _) in enumerate(counts.most_common(KINDS))}


def _engines(graph: Graph) -> int:
    return sum(node.op == layout.ENGINE for node in graph.nodes)


def _precisions(engine: EngineLayers) -> dict[str, Any]:
    """How many layers of an engine compute in which type."""
    counts = Counter(layer.precision for layer in engine.layers)
    whole = len(engine.layers)
    return {
        "engine": engine,
        "shares": [(name, count, 100 * count / whole) for name, count in counts.most_common()],
    }
