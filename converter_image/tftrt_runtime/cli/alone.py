"""The commands for a person: the steps of a Job over a workspace of their own, without a store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tftrt_runtime.benchmark import run
from tftrt_runtime.benchmark.rows import Row
from tftrt_runtime.cli.options import ConvertOptions, look, place, runtime, spec_of
from tftrt_runtime.contract.artifact import MODEL, REPORT
from tftrt_runtime.contract.errors import (
    GPUUnfit,
    NothingConvertible,
    SourceChanged,
    SourceNotFound,
    StoreUnavailable,
    UsageError,
)
from tftrt_runtime.contract.told_uri import told_uri
from tftrt_runtime.convert import for_gpu
from tftrt_runtime.fetching import trees
from tftrt_runtime.loading import sources
from tftrt_runtime.report import data
from tftrt_runtime.report.data import Report
from tftrt_runtime.steps import convert as step
from tftrt_runtime.steps import fetch
from tftrt_runtime.steps.workspace import Workspace
from tftrt_runtime.storage.remote import WEB, scheme_of
from tftrt_runtime.verification import verify as comparison
from tftrt_runtime.verification.messages import CheckAnswer, ComparisonData


def convert(options: ConvertOptions) -> Report:
    """Leave the converted model and its report in `options.target`, complete or not at all.

    Raises:
        UsageError: the target is there already or lies in the source, or the options do not fit together.
        GPUUnfit: the precision needs a GPU, and there is none.
        Failure: as the steps have it.
    """
    target = _new(options.target, options.source)
    seen = look()
    spec = spec_of(options, runtime(seen))
    if spec.runtime.accelerator == "None" and spec.conversion.precision != "FP32":
        raise GPUUnfit(
            f"Precision {spec.conversion.precision} needs TensorRT, and TensorFlow sees no GPU on this machine: see "
            "`nvidia-smi` and the libraries of CUDA and TensorRT on LD_LIBRARY_PATH; --verbose shows what TensorFlow "
            "says of them. Without a GPU only spec.conversion.precision FP32 goes."
        )
    with _workspace(target.parent) as workspace:
        fetch.run(spec, workspace, trees.open_here)
        step.run(spec.told(), workspace, seen)
        workspace.artifact.rename(target)
    return read(target)


def benchmark(folder: Path, source: str | None, batch_sizes: tuple[int, ...]) -> tuple[Row, ...]:
    """Time a converted model and the one that it was made from.

    Raises:
        NothingConvertible: the model takes no made-up input.
        GPUUnfit, EngineDeviceMismatch: it has engines, and not for the device that is here.
        UsageError: an engine for such a batch size was not built.
    """
    report = read(folder)
    conversion = report.findings.conversion
    if conversion.sample is None:
        raise NothingConvertible(f"The model in {folder} takes no made-up input: there is nothing to time it with.")
    sizes = batch_sizes or conversion.batchSizes
    missing = sorted(set(sizes) - set(conversion.batchSizes))
    if missing and not conversion.batched:
        raise UsageError(f"The model in {folder} takes no batches: it is timed with a call as it is, without a size.")
    if missing and conversion.engines:
        raise UsageError(
            f"{folder} has no engine for the batch size {missing[0]}, only for "
            f"{', '.join(map(str, conversion.batchSizes))}."
        )
    _expect_device(report)
    with _fetched(report, source, folder, None) as (unconverted, _):
        given = (unconverted, folder / MODEL, report.spec.source.signature, conversion.inputs, conversion.sample, sizes)
        if report.spec.runtime.accelerator == "GPU":
            return run.on_gpu(*given, conversion.device, conversion.memory)
        return run.on_cpu(*given)


def verify(folder: Path, source: str | None, samples: str | None, top1_output: str | None) -> CheckAnswer:
    """Compare a converted model with the one that it was made from; on the same data as then if no other is named.

    So it is with the output of classes.

    Raises:
        AccuracyBelowThreshold: an answer is not finite where the unconverted model's is.
        CalibrationDataUnfit: the data does not fit the model.
        GPUUnfit, EngineDeviceMismatch: it has engines, and not for the device that is here.
        UsageError: the source or the data is to be named again.
    """
    report = read(folder)
    conversion = report.findings.conversion
    _expect_device(report)
    then = report.spec.verification.uri
    uri = place(samples) if samples is not None else then and _whole(then, "--data")
    with _fetched(report, source, folder, uri) as (unconverted, workspace):
        compared = None if uri is None else ComparisonData(uri=told_uri(uri), folder=str(workspace.verification))
        spec = report.spec
        if top1_output is not None:
            named = spec.verification.model_copy(update={"top1Output": top1_output})
            spec = spec.model_copy(update={"verification": named})
        return comparison.run(
            spec,
            unconverted,
            folder / MODEL,
            conversion.inputs,
            conversion.outputs,
            conversion.leftOut,
            compared,
            None,
            workspace.root,
        )[0]


def bring(uri: str, target: Path) -> str:
    """Copy a model to the folder `target`, out of its archive where it is in one; its digest.

    Raises:
        UsageError: the target is there already, or lies in the source.
        Failure: as `fetch` has it.
    """
    target = _new(target, uri)
    with _workspace(target.parent) as workspace:
        digest = fetch.source(place(uri), workspace, trees.open_here)
        workspace.source.rename(target)
    return digest


def draw(report: Path, page: Path | None) -> Path:
    """Write the page of a report; where it is.

    Raises:
        UsageError: there is no report, or the page cannot be written.
    """
    from tftrt_runtime.report.page import render

    file = report / data.FILE if report.is_dir() else report
    target = page or file.with_name(REPORT)
    text = render(data.read(file))
    try:
        target.write_text(text)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from error
    return target


def read(folder: Path) -> Report:
    """The report of a converted model."""
    return data.read(folder / data.FILE)


def _expect_device(report: Report) -> None:
    """Hold that engines are asked on the kind of device that they were built on, by the same TensorRT.

    Raises:
        GPUUnfit, EngineDeviceMismatch: they are not.
    """
    if report.spec.runtime.accelerator == "GPU":
        for_gpu.look_for(report.spec, report.findings.conversion.device)


def _new(target: Path, source: str) -> Path:
    """The path of a folder to write, from the root on.

    Raises:
        UsageError: it is there already, or it would lie in the source, which then is another one while it is copied.
    """
    if target.exists():
        raise UsageError(f"{target} is there already: name a folder that is not, or delete it.")
    if "://" not in source and Path(source).resolve() in target.resolve().parents:
        raise UsageError(f"{target} would lie in the model itself, {source}: name a folder outside of it.")
    return target.absolute()


def _whole(uri: str, option: str) -> str:
    """An address of a report, held to lead somewhere.

    Raises:
        UsageError: it has a digest in place of its query.
    """
    if scheme_of(uri) in WEB and "?" in uri:
        raise UsageError(f"{uri} had a query that no report has, for it may be a key: name the address by {option}.")
    return uri


@contextlib.contextmanager
def _fetched(report: Report, source: str | None, folder: Path, samples: str | None) -> Iterator[tuple[Path, Workspace]]:
    """The folder of the SavedModel that was converted, and the workspace with the data to compare on, for a while.

    Raises:
        SourceNotFound: it is no longer there, or is read with a signature only.
        SourceChanged: it is another one now.
        UsageError: the report has not the whole address of it.
    """
    spec = report.spec
    uri = _whole(spec.source.uri, "--source") if source is None else place(source)
    spec = spec.model_copy(update={"source": spec.source.model_copy(update={"uri": uri})})
    # Calibration is over.
    conversion = spec.conversion.model_copy(update={"calibration": None})
    verification = spec.verification.model_copy(update={"uri": samples})
    spec = spec.model_copy(update={"conversion": conversion, "verification": verification})
    with _workspace(None) as workspace:
        try:
            fetched = fetch.run(spec, workspace, trees.open_here)
        except SourceNotFound as error:
            if source is not None or not uri.startswith("http"):
                raise
            raise SourceNotFound(
                f"{error.message} Where the model came from an address that was signed, name a new one by --source: "
                "the report keeps no signature."
            ) from error
        if fetched.sourceDigest != report.sourceDigest:
            raise SourceChanged(
                f"{told_uri(spec.source.uri)} is not what {folder} was converted from: its digest is "
                f"{fetched.sourceDigest[:19]}... instead of {report.sourceDigest[:19]}... Convert it again."
            )
        unconverted = sources.saved_model(spec.told(), workspace.source, workspace.root / "saved_model")
        yield unconverted.folder, workspace


@contextlib.contextmanager
def _workspace(beside: Path | None) -> Iterator[Workspace]:
    """A folder for the steps, on the disk of what is to come of them, for a while."""
    try:
        if beside is not None:
            beside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tftrt-", dir=beside) as folder:
            yield Workspace(Path(folder))
    except OSError as error:
        raise StoreUnavailable(f"{beside or tempfile.gettempdir()} cannot be written: {error}.") from error
