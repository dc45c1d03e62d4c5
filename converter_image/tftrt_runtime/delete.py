"""`tftrt delete`: take the artifacts of some fingerprints out of the store.

What it deletes is named by the spec's own types, which cannot lead out of the store. It may be run again at any time:
what is gone already is as it should be.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from tftrt_runtime import log, stores
from tftrt_runtime.artifact import MANIFEST
from tftrt_runtime.errors import StoreUnavailable
from tftrt_runtime.spec import DeleteSpec

# What `rmdir` answers for a folder that still holds something: another model's artifacts, or those of a writer.
NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}


def run(spec: DeleteSpec) -> None:
    """Delete `<store>/<namespace>/<fingerprint>` for every fingerprint, then the namespace's folder if it is empty.

    Raises:
        StoreUnavailable: the store is not there or cannot be written.
    """
    claim = stores.claim_root(spec.artifacts.uri)
    if not claim.is_dir():
        raise StoreUnavailable(f"The store {spec.artifacts.uri} is not there: nothing is mounted at {claim}.")
    store = stores.folder(spec.artifacts.uri)
    namespace = store / spec.model.namespace
    try:
        if namespace.is_symlink() or not store.resolve().is_relative_to(claim.resolve()):
            # What is deleted is what the spec names, and not what that may point to.
            raise StoreUnavailable(
                f"{spec.artifacts.uri} leads elsewhere by a link, to {namespace.resolve()}: nothing is deleted there. "
                "Delete it by hand."
            )
        for fingerprint in spec.fingerprints:
            _delete(namespace / fingerprint)
        _delete_if_empty(namespace)
    except OSError as error:
        raise StoreUnavailable(f"The store {spec.artifacts.uri} cannot be written: {error}.") from error


def _delete(folder: Path) -> None:
    """Delete a fingerprint's tree, its manifests first, so that what is left of it is never taken for whole."""
    if folder.is_symlink():
        folder.unlink()
        log.event("delete", "Deleted a link; what it leads to is left alone", folder=folder)
        return
    if not folder.exists():
        log.event("delete", "There is nothing to delete", folder=folder)
        return
    for product in folder.iterdir():
        if product.is_dir() and not product.is_symlink():
            (product / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)
    log.event("delete", "Deleted", folder=folder)


def _delete_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in NOT_EMPTY:
            raise
