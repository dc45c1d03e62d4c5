"""What a person sees: what is being done now, on a terminal; a line for each stage that ended; tables of results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from decimal import Decimal

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tftrt_runtime import log
from tftrt_runtime.benchmark.rows import Row, in_flight, rate, summary
from tftrt_runtime.contract.artifact import WHY_NOT_COMPARED, Benchmark, Verification
from tftrt_runtime.contract.errors import Failure
from tftrt_runtime.report import agreement_table
from tftrt_runtime.report.data import Comparison, Report

# By the child process that does it.
DOING = {
    "tftrt_runtime.device.devices": "Looking for a GPU",
    "tftrt_runtime.loading.frozen_graph": "Reading the frozen graph",
    "tftrt_runtime.loading.session": "Freezing the model as TensorFlow 1 did",
    "tftrt_runtime.convert.calibration": "Reading the calibration data",
    "tftrt_runtime.verification.reference": "Asking the unconverted model",
    "tftrt_runtime.loading.bound": "Preparing the inputs",
    "tftrt_runtime.loading.constants": "Freezing the graph",
    "tftrt_runtime.convert.cpu": "Converting",
    "tftrt_runtime.convert.engines": "Converting, and building engines",
    "tftrt_runtime.verification.check": "Comparing the converted model with the unconverted one",
    "tftrt_runtime.device.measure": "Measuring GPU memory",
    "tftrt_runtime.benchmark.timing": "Timing",
}
# As a spec in a cluster has it, and as an option here.
OPTIONS = {
    "spec.source.format to FrozenGraph, spec.source.inputs": "--input",
    "set spec.source.format to SavedModel": "leave out --input and --output",
    "spec.source.signature": "--signature",
    "spec.source.inputs": "--input",
    "spec.source.outputs": "--output",
    "spec.source.values": "--value",
    "spec.conversion.precision": "--precision",
    "spec.conversion.maxBatchSize": "--batch-size",
    "spec.conversion.batchSizes": "--batch-size",
    "spec.conversion.maxWorkspaceSize": "--max-workspace-size",
    "spec.conversion.minimumSegmentSize": "--minimum-segment-size",
    "spec.conversion.dynamicShapes": "--dynamic-shapes",
    "spec.conversion.inputShapes": "--input-shape",
    "spec.conversion.inputs": "--input-type",
    "spec.conversion.calibration.samples": "--calibration-samples",
    "spec.conversion.calibration": "--calibration-data",
    "spec.verification.uri": "--verification-data",
    "spec.verification.dataUri": "--verification-data",
    "spec.verification.top1Output": "--top1-output",
}
SHOWN_COMPARISONS = 20


class Progressing:
    """Tells log lines to a person. Without a terminal there is no motion, only lines."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("Starting")

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show progress until the block ends."""
        log.tell(self.tell)
        with self._progress:
            yield

    def tell(self, line: log.Line) -> None:
        """One line of the log."""
        message = str(line["message"])
        if line.get("source") == "tensorflow":
            if self._verbose:
                self._print(f"    {message}")
        elif "child" in line:
            self._progress.reset(self._task, description=DOING.get(str(line["child"]), "Working"))
        elif "way" in line and "batchSize" in line:
            self._progress.update(
                self._task, description=f"Timing the {str(line['way']).lower()} model, batch {line['batchSize']}"
            )
        elif "seconds" in line:
            what = f" {line['uri']}" if "uri" in line else ""
            self._print(f"{message}{what}: {line['seconds']} s")

    def _print(self, text: str) -> None:
        self._progress.console.print(text, markup=False)


def failed(failure: Failure) -> None:
    """Tell why a command failed, in the words of the command line."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]{failure.reason}[/]: ", end="")
    Console(stderr=True, highlight=False, soft_wrap=True).print(_in_options(failure.message), markup=False)


def converted(report: Report) -> None:
    """The results of a conversion."""
    conversion = report.findings.conversion
    share = f"{conversion.convertedOps} of {conversion.totalOps} operations" if conversion.engines else "no TensorRT"
    found = [("Device", conversion.device.name), ("Engines", f"{conversion.engines} ({share})")]
    found += (*_agreement(conversion.verification), *_rounded(report.findings.comparisons))
    found += _speed(conversion.benchmark)
    if conversion.memory:
        found.append(("Peak GPU memory", f"{conversion.memory.peakBytes / 2**20:.0f} MiB of TensorFlow's pool"))
    if conversion.batching is not None and conversion.batching.mode == "Disabled":
        found.append(("One request is one call", _in_options(conversion.batching.message)))
    for name, value in found:
        _out().print(f"{name + ': ':24}{value}", markup=False)


def _in_options(message: str) -> str:
    """The sentence, with the command line's words for the fields of a TRTModel."""
    for name, option in OPTIONS.items():
        message = message.replace(name, option)
    return message


def verified(verification: Verification, comparisons: Sequence[Comparison]) -> None:
    """How the answers compare. What was not compared is a dash."""
    headings, rows = agreement_table.table(comparisons[:SHOWN_COMPARISONS])
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    if rows:
        _out().print(table)
    if len(comparisons) > SHOWN_COMPARISONS:
        _out().print(f"... and {len(comparisons) - SHOWN_COMPARISONS} more")
    for name, value in (*_agreement(verification), *_rounded(comparisons)):
        _out().print(f"{name + ':':24}{value}", markup=False)


def timed(rows: Sequence[Row]) -> None:
    """Throughput and latency."""
    names = ("Model", "Batch", "Input on", "In flight", "Items/s", "p50 ms", "p99 ms", "Calls")
    table = Table(*names, box=None, pad_edge=False)
    for row in sorted(rows, key=lambda row: (row.batchSize, row.input, row.inFlight, row.way)):
        table.add_row(
            row.way,
            str(row.batchSize),
            row.input.lower(),
            in_flight(row),
            f"{rate(row):,.1f}" if rate(row) >= 10 else f"{rate(row):.3g}",
            f"{row.p50Microseconds / 1000:.3f}",
            f"{row.p99Microseconds / 1000:.3f}",
            str(row.calls),
        )
    _out().print(table)
    for name, value in _speed(summary(rows)):
        _out().print(f"{name + ':':24}{value}", markup=False)


def _agreement(verification: Verification | None) -> Iterator[tuple[str, str]]:
    if verification is None or verification.notCompared is not None:
        why = None if verification is None else verification.notCompared
        yield "Agreement", f"not compared: {WHY_NOT_COMPARED[why]}" if why else "not compared"
        return
    yield "Compared on", f"{verification.samples} samples of {verification.on}"
    if verification.top1Agreement is not None:
        yield "Top-1 agreement", f"{verification.top1Agreement} (a share of {verification.samples} samples)"
    if verification.maxRelativeError is not None:
        yield "Largest relative error", verification.maxRelativeError
    if verification.largerInputError is not None:
        yield "Of input up to 255", verification.largerInputError
    if verification.largerInputGone is not None:
        gone = f"{verification.largerInputGone} of an output is finite in the unconverted model alone"
        yield "Of input up to 255", gone
    if verification.maxChannelError is not None:
        yield "In a channel", f"{verification.maxChannelError}, relative to the channel's own largest value"
    if verification.equalElements is not None:
        yield "Equal elements", f"{verification.equalElements} of whole numbers, texts and truths"
    if verification.notFinite is not None:
        yield "Not finite", f"{verification.notFinite} (a share of an output's values), in both models alike"
    if verification.notANumber is not None:
        yield "NaN", f"{verification.notANumber} (a share of an output's values), which passes no gate"


def _rounded(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, str]]:
    """Of numbers that were rounded from floats, and may be a step off: both shares, of the output where it is worst."""
    steps = [
        (Decimal(each.withinOneStep), Decimal(each.equalElements), each.output)
        for each in comparisons
        if each.withinOneStep is not None and each.equalElements is not None
    ]
    if steps:
        near, equal, output = min(steps)
        yield "Rounded numbers", f"{equal} are equal, and {near} within one step (output {output!r})"


def _speed(benchmark: Benchmark | None) -> Iterator[tuple[str, str]]:
    if benchmark is None:
        return
    items = f"{benchmark.convertedItemsPerSecond} against {benchmark.nativeItemsPerSecond} items/s"
    yield "Speed-up", f"{benchmark.speedup} ({benchmark.how}: {items})"
    if benchmark.fp32Speedup is not None:
        yield "Against true FP32", benchmark.fp32Speedup
    if benchmark.speedupOnDevice is not None:
        yield "On the device", f"{benchmark.speedupOnDevice} (input there already: no client over the network has that)"


def _out() -> Console:
    return Console(highlight=False, soft_wrap=True)
