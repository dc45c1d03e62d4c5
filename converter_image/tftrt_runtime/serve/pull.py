"""`tftrt pull`: bring an artifact from an object store to the folder that a server reads, before the server starts."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import MANIFEST
from tftrt_runtime.contract.errors import ArtifactNotFound, StoreUnavailable, UsageError
from tftrt_runtime.contract.spec import Artifacts, ServerSpec
from tftrt_runtime.storage.stores import open_store


def run(spec: ServerSpec, target: Path) -> None:
    """Copy the build that the manifest names, and the manifest last. The server checks every hash.

    Raises:
        UsageError: `spec.artifact.uri` is no artifact of this model and fingerprint.
        ArtifactNotFound: nothing is there.
        StoreUnavailable: the store cannot be reached, or `target` cannot be written.
    """
    store_uri, product = _parts(spec)
    store = open_store(Artifacts(uri=store_uri), spec.model, spec.fingerprint)
    manifest = store.manifest(product)
    if manifest is None:
        raise ArtifactNotFound(
            f"{spec.artifact.uri} has no {MANIFEST}: the artifact was deleted. Delete its record to make it again."
        )
    try:
        # What a killed attempt left; the folder itself is a mount.
        (target / MANIFEST).unlink(missing_ok=True)
        for left in target.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        with log.timed("pull", "Copied the artifact", uri=spec.artifact.uri, files=len(manifest.files)):
            store.bring(product, manifest, target)
    except OSError as error:
        raise StoreUnavailable(f"{spec.artifact.uri} could not be written to {target}: {error}.") from error


def _parts(spec: ServerSpec) -> tuple[str, str]:
    """The store's URI and the product, of `<store>/<namespace>/<fingerprint>/<product>`."""
    path = PurePosixPath(spec.artifact.uri)
    middle = f"/{spec.model.namespace}/{spec.fingerprint}/{path.name}"
    if not spec.artifact.uri.endswith(middle):
        raise UsageError(f"{spec.artifact.uri} does not end in {middle}: it is no artifact of this model.")
    return spec.artifact.uri.removesuffix(middle), path.name
