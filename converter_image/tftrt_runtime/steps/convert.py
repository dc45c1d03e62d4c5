"""The parent of a conversion: what to convert for, whether there is anything to do, and which child processes do it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Optional

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import (
    MANIFEST,
    MODEL,
    REPORT,
    Batching,
    Conversion,
    Manifest,
    Verification,
    check_files,
    expect_identity,
    read_manifest,
)
from tftrt_runtime.contract.errors import StoreUnavailable
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.convert import for_cpu, for_gpu, ranges
from tftrt_runtime.device.messages import DevicesAnswer
from tftrt_runtime.loading import sources
from tftrt_runtime.report import data, page
from tftrt_runtime.report.data import Findings, Report
from tftrt_runtime.steps.publish import expect_unchanged
from tftrt_runtime.steps.workspace import Converted, Fetched, Workspace, read_note
from tftrt_runtime.storage.store import uri_of
from tftrt_runtime.verification import verify
from tftrt_runtime.verification.messages import ComparisonData

# From the source, the place for the converted model, a folder for the unconverted one's answers, and the user's data.
Convert = Callable[[Path, Path, Path, Optional[ComparisonData]], Findings]


def run(spec: JobSpec, workspace: Workspace, seen: DevicesAnswer | None = None) -> None:
    """Leave `artifact/` and `convert.json` in the workspace; the latter alone where the store has the artifact.

    The device is looked for where it was not `seen` already. An artifact that the store has is compared once more where
    its own comparison was on other data.

    Raises:
        Failure: the user's mistakes; OutOfMemory, ChildAborted or Internal for what befell TensorFlow.
    """
    product, convert = _recipe(spec, workspace, seen)
    fetched = read_note(workspace.fetched, Fetched, "fetch")
    try:
        workspace.converted.unlink(missing_ok=True)  # first: it says that the artifact is whole
        shutil.rmtree(workspace.artifact, ignore_errors=True)
        manifest = _published(spec, workspace, fetched, product)
        if manifest is not None:
            log.event("convert", "The store has this artifact: nothing to convert", product=product)
            verification, batching = _verify(spec, workspace, manifest, product)
            converted = Converted(product=product, conversion=None, verification=verification, batching=batching)
        else:
            converted = Converted(product=product, conversion=_convert(spec, convert, workspace, fetched))
        workspace.converted.write_text(converted.model_dump_json())
    except OSError as error:
        raise StoreUnavailable(f"The workspace {workspace.root} cannot be written: {error}.") from error


def _recipe(spec: JobSpec, workspace: Workspace, seen: DevicesAnswer | None) -> tuple[str, Convert]:
    """The kind of device to convert for, which is a folder of the store, and how to convert for it.

    Raises:
        GPUUnfit: the runtime cannot do what the spec asks for.
        CalibrationDataUnfit: there is nothing to take INT8's ranges from.
    """
    if spec.runtime.accelerator == "None":
        return for_cpu.product(spec), partial(for_cpu.convert, spec)
    ranges.expect_some(spec, workspace.source)
    device = for_gpu.look(spec, seen)
    return for_gpu.product(device), partial(for_gpu.convert, spec, device, workspace.calibration)


def _published(spec: JobSpec, workspace: Workspace, fetched: Fetched, product: str) -> Manifest | None:
    """The manifest of the artifact, if the store had it when the Job began.

    Raises:
        ArtifactCorrupt: what the store has there cannot be read, or is another artifact's.
        SourceChanged: it has one, made from other bytes.
    """
    place = f"{uri_of(spec.artifacts.uri, spec.model.namespace, spec.fingerprint)}/{product}"
    manifest = read_manifest(workspace.manifests / f"{product}.json")
    if manifest is not None:
        expect_identity(manifest, spec.fingerprint, product, f"{place}/{MANIFEST}")
        expect_unchanged(spec, place, manifest, fetched)
    return manifest


def _verify(
    spec: JobSpec, workspace: Workspace, manifest: Manifest, product: str
) -> tuple[Verification | None, Batching | None]:
    """How an artifact that `lookup` brought compares on the spec's data, and whether that may be put together.

    None where it brought none.
    """
    folder = workspace.published / product
    if not folder.exists():
        return None, None
    model = check_files(manifest, folder) / MODEL
    with tempfile.TemporaryDirectory(prefix="verify-", dir=workspace.root) as made:
        source = sources.saved_model(spec, workspace.source, Path(made, "saved_model")).folder
        summary = manifest.summary
        data = _data(spec, workspace)
        ranges = workspace.calibration
        tensors = (summary.inputs, summary.outputs, summary.leftOut)
        answer, batching = verify.run(spec, source, model, *tensors, data, ranges, Path(made))
    log.event(
        "convert",
        "Compared the artifact with the unconverted model on other data",
        verification=answer.verification and answer.verification.model_dump(),
    )
    return answer.verification, batching


def _data(spec: JobSpec, workspace: Workspace) -> ComparisonData | None:
    uri = spec.verification.uri
    return None if uri is None else ComparisonData(uri=uri, folder=str(workspace.verification))


def _convert(spec: JobSpec, convert: Convert, workspace: Workspace, fetched: Fetched) -> Conversion:
    workspace.artifact.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="convert-", dir=workspace.root) as folder:
        references = Path(folder, "references")
        references.mkdir()
        source = sources.saved_model(spec, workspace.source, Path(folder, "saved_model"))
        findings = convert(source.folder, workspace.artifact / MODEL, references, _data(spec, workspace))
    report = Report(spec=spec, sourceDigest=fetched.sourceDigest, findings=source.tell(findings))
    (workspace.artifact / data.FILE).write_text(report.model_dump_json(indent=1))
    with log.timed("convert", "Wrote the report"):
        (workspace.artifact / REPORT).write_text(page.render(report))
    conversion = report.findings.conversion
    log.event(
        "convert",
        "Compared with the unconverted model",
        engines=conversion.engines,
        converted_ops=conversion.convertedOps,
        total_ops=conversion.totalOps,
        verification=conversion.verification and conversion.verification.model_dump(),
        memory=conversion.memory and conversion.memory.model_dump(),
        benchmark=conversion.benchmark and conversion.benchmark.model_dump(),
    )
    return conversion
