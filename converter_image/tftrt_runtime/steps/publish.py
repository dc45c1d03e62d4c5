"""`tftrt publish`: put the artifact into the store, complete or not at all, and say what the store holds.

The manifest comes last and is created exclusively: its presence means complete, and of two writers one wins.
"""

from __future__ import annotations

import os
import re

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import REPORT, File, Manifest, Summary, stricter
from tftrt_runtime.contract.errors import SourceChanged, StoreUnavailable, UsageError
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.steps.workspace import Converted, Fetched, Workspace, read_note
from tftrt_runtime.storage.store import Store
from tftrt_runtime.storage.stores import open_store


def build_name() -> str:
    """The name of this run's build, from TFTRT_BUILD.

    Raises:
        UsageError: it is not set, or no name for a folder.
    """
    build = os.environ.get("TFTRT_BUILD", "")
    if not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9_]*", build):
        raise UsageError(f"TFTRT_BUILD must name this build (the operator gives the Job's uid); it is {build!r}.")
    return build


def run(spec: JobSpec, workspace: Workspace) -> Summary:
    """Publish what `convert` left in the workspace, or find that it is published; the summary of what the store holds.

    Raises:
        SourceChanged: the store has an artifact of this fingerprint made from other bytes.
        ArtifactCorrupt: the workspace holds a link, or a note that is none.
        StoreUnavailable: the store cannot be written; nothing of this build is left in it.
    """
    build = build_name()
    fetched = read_note(workspace.fetched, Fetched, "fetch")
    converted = read_note(workspace.converted, Converted, "convert")
    store = open_store(spec.artifacts, spec.model, spec.fingerprint)
    place = store.uri(converted.product)
    there = store.manifest(converted.product)
    if there is None:
        there = _publish(spec, workspace, converted, fetched, build, store)
    store.clear(build, converted.product, there)
    expect_unchanged(spec, place, there, fetched)
    summary = there.summary
    if summary.build != build:
        # Where it is, and not where it was when it was made: a store may have been copied or renamed since.
        report = f"{place}/builds/{there.build}/{REPORT}" if summary.reportUri is not None else None
        summary = summary.model_copy(update={"result": "Reused", "artifact": place, "reportUri": report})
    if converted.verification is not None:
        summary = summary.model_copy(update={"verification": converted.verification})
    # Also what this run saw on its own data: a faster writer may have had other data.
    built = converted.conversion.batching if converted.conversion is not None else None
    return summary.model_copy(update={"batching": stricter(summary.batching, built, converted.batching)})


def expect_unchanged(spec: JobSpec, place: str, manifest: Manifest, fetched: Fetched) -> None:
    """Hold that an artifact in the store was made from the very bytes that were fetched.

    Raises:
        SourceChanged: it was made from others.
    """
    what = f"the artifact in {place} was made"
    again = "Set spec.source.revision to a new value to convert it again."
    if manifest.sourceDigest != fetched.sourceDigest:
        raise SourceChanged(
            f"{spec.source.uri} has changed: it is {fetched.sourceDigest[:19]}..., while {what} from "
            f"{manifest.sourceDigest[:19]}... {again}"
        )
    calibration = spec.conversion.calibration
    if calibration is not None and manifest.calibrationDigest != fetched.calibrationDigest:
        raise SourceChanged(f"{calibration.uri} has changed: {what} with other calibration data. {again}")


def _publish(
    spec: JobSpec, workspace: Workspace, converted: Converted, fetched: Fetched, build: str, store: Store
) -> Manifest:
    """Publish, and return the manifest that is there then: this build's, or that of a writer who was faster."""
    product = converted.product
    place = store.uri(product)
    if converted.conversion is None:
        raise StoreUnavailable(
            f"The manifest in {place} was there when this Job began and is gone; run it again to build."
        )

    def manifest(folder: str, files: tuple[File, ...]) -> Manifest:
        return _manifest(converted, fetched, build, folder, place, files, spec.fingerprint)

    with log.timed("publish", "Published", folder=place, build=build):
        store.publish(workspace.artifact, build, product, manifest)
    there = store.manifest(product)
    if there is None:
        raise StoreUnavailable(f"The manifest in {place} was deleted while it was being published.")
    return there


def _manifest(
    converted: Converted,
    fetched: Fetched,
    build: str,
    folder: str,
    place: str,
    files: tuple[File, ...],
    fingerprint: str,
) -> Manifest:
    conversion = converted.conversion
    assert conversion is not None, "only what was converted is published"
    summary = Summary(
        result="Published",
        fingerprint=fingerprint,
        build=build,
        product=converted.product,
        artifact=place,
        sourceDigest=fetched.sourceDigest,
        artifactBytes=sum(file.size for file in files),
        finishedAt=log.now(),
        reportUri=f"{place}/builds/{folder}/{REPORT}" if any(file.path == REPORT for file in files) else None,
        **conversion.model_dump(exclude={"sample", "dynamicShapes", "inputShapes", "segments"}),
    )
    return Manifest(
        build=folder,
        sourceDigest=fetched.sourceDigest,
        calibrationDigest=fetched.calibrationDigest,
        summary=summary,
        sample=conversion.sample,
        dynamicShapes=conversion.dynamicShapes,
        inputShapes=conversion.inputShapes,
        segments=conversion.segments,
        files=files,
    )
