"""`tftrt lookup`: bring the manifests that the store has for this fingerprint into the workspace.

A container of its own, so that neither the one that fetches nor the one that converts ever holds the store's secret.
"""

from __future__ import annotations

import shutil

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Manifest, expect_identity, parse_manifest
from tftrt_runtime.contract.errors import ArtifactCorrupt, StoreUnavailable
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.steps.workspace import Workspace
from tftrt_runtime.storage.store import Store
from tftrt_runtime.storage.stores import open_store


def run(spec: JobSpec, workspace: Workspace) -> None:
    """Copy every `<product>/manifest.json`, and the artifacts that are to be verified on other data than they were.

    Raises:
        StoreUnavailable: the store is not there or cannot be read, or the workspace cannot be written.
    """
    store = open_store(spec.artifacts, spec.model, spec.fingerprint)
    found = store.manifests()
    try:
        for left in (workspace.manifests, workspace.published):
            shutil.rmtree(left, ignore_errors=True)
        workspace.manifests.mkdir(parents=True)
        for product, text in found.items():
            (workspace.manifests / f"{product}.json").write_bytes(text)
            manifest = _readable(spec, text, product, store.uri(product))
            if manifest is not None and is_verified_elsewhere(spec, manifest):
                with log.timed("lookup", "Brought an artifact to verify", product=product):
                    _bring(store, product, manifest, workspace)
    except OSError as error:
        raise StoreUnavailable(f"What the store has could not be written to {workspace.root}: {error}.") from error
    log.event("lookup", "Looked for artifacts in the store", folder=store.uri(""), found=list(found))


def is_verified_elsewhere(spec: JobSpec, manifest: Manifest) -> bool:
    """Whether the spec asks for a comparison on data, or of classes, that the artifact's own was not made on."""
    wanted, measured = spec.verification, manifest.summary.verification
    if measured is None:
        return wanted.uri is not None or wanted.top1Output is not None
    return measured.top1Output != wanted.top1Output or (wanted.uri is not None and measured.uri != wanted.uri)


def _readable(spec: JobSpec, text: bytes, product: str, place: str) -> Manifest | None:
    try:
        return expect_identity(parse_manifest(text, place), spec.fingerprint, product, place)
    except ArtifactCorrupt:
        return None  # told by the step that would use it


def _bring(store: Store, product: str, manifest: Manifest, workspace: Workspace) -> None:
    store.bring(product, manifest, workspace.published / product)
