"""`tftrt lookup`: bring the manifests that the store has for this fingerprint into the workspace.

A container of its own, so that neither the one that fetches nor the one that converts ever holds the store's secret.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tftrt_runtime import log, stores
from tftrt_runtime.artifact import MANIFEST
from tftrt_runtime.errors import StoreUnavailable
from tftrt_runtime.spec import JobSpec
from tftrt_runtime.workspace import Workspace


def fingerprint_folder(spec: JobSpec) -> Path:
    """The folder of the store that holds one folder a product."""
    return stores.folder(spec.artifacts.uri) / spec.model.namespace / spec.fingerprint


def run(spec: JobSpec, workspace: Workspace) -> None:
    """Copy every `<product>/manifest.json`.

    Raises:
        StoreUnavailable: the store's volume is not there or cannot be read, or the workspace cannot be written.
    """
    claim = stores.claim_root(spec.artifacts.uri)
    if not claim.is_dir():
        raise StoreUnavailable(f"The store {spec.artifacts.uri} is not there: nothing is mounted at {claim}.")
    folder = fingerprint_folder(spec)
    try:
        shutil.rmtree(workspace.manifests, ignore_errors=True)
        workspace.manifests.mkdir(parents=True)
        found = sorted(folder.glob(f"*/{MANIFEST}"))
        for manifest in found:
            shutil.copyfile(manifest, workspace.manifests / f"{manifest.parent.name}.json")
    except OSError as error:
        raise StoreUnavailable(f"Manifests could not be copied from {folder}: {error}.") from error
    log.event("lookup", "Looked for artifacts in the store", folder=folder, found=[path.parent.name for path in found])
