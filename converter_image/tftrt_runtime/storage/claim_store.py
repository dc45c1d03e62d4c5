"""Artifacts in a claim.

Each attempt writes into a folder of its own, and `manifest.json` comes last, created exclusively from a file in that
folder. A writer that is killed anywhere leaves nothing that the next attempt does not clear away or that a reader could
mistake for an artifact.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import BUILDS, MANIFEST, File, Manifest, expect_identity, read_manifest
from tftrt_runtime.contract.errors import ArtifactCorrupt, StoreUnavailable
from tftrt_runtime.storage import claims, digest, files
from tftrt_runtime.storage.store import MakeManifest, uri_of

# Servers read the store as the same group or as anyone. The set-group-ID bit, where the store has it, is kept.
FOLDER_MODE = 0o775
FILE_MODE = 0o644

# What a file system answers that knows no hard links: SMB (Azure Files), FUSE over object stores.
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

# What `rmdir` answers for a folder that still holds something: another model's artifacts, or those of a writer.
NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}


class ClaimStore:
    """The artifacts of one fingerprint: `<store>/<namespace>/<fingerprint>/<product>/`."""

    def __init__(self, store: str, namespace: str, fingerprint: str) -> None:
        self._store = store
        self._claim = claims.claim_root(store)
        self._folder = claims.folder(store) / namespace / fingerprint
        self._uri = uri_of(store, namespace, fingerprint)
        self._fingerprint = fingerprint

    def uri(self, product: str) -> str:
        """The URI of a product's artifact."""
        return f"{self._uri}/{product}"

    def manifests(self) -> dict[str, bytes]:
        """The text of every manifest that there is, by product."""
        with _told(self._store, self._claim):
            return {path.parent.name: files.read(path) for path in sorted(self._folder.glob(f"*/{MANIFEST}"))}

    def manifest(self, product: str) -> Manifest | None:
        """A product's manifest, or None."""
        place = self._folder / product / MANIFEST
        with _told(self._store, self._claim):
            found = read_manifest(place)
        return found and expect_identity(found, self._fingerprint, product, str(place))

    def publish(self, artifact: Path, build: str, product: str, make_manifest: MakeManifest) -> None:
        """Write the build and its manifest, unless another writer's manifest is there first."""
        with _told(self._store, self._claim):
            _publish(artifact, build, self._folder / product, self._claim, make_manifest)

    def clear(self, build: str, product: str, manifest: Manifest) -> None:
        """Delete other attempts' folders; most went before this one wrote its own, for the room that they took."""
        folder = self._folder / product
        with _told(self._store, self._claim):
            for leftover in folder.glob(f"{BUILDS}/{build}.*"):
                if leftover.name != manifest.build:
                    _clear(leftover, folder)

    def bring(self, product: str, manifest: Manifest, target: Path) -> None:
        """Copy the artifact's files, and no others that lie with them; one that is missing, the next step tells."""
        build = Path(BUILDS, manifest.build)
        with _told(self._store, self._claim):
            for file in manifest.files:
                with contextlib.suppress(FileNotFoundError):
                    digest.copy_file(self._folder / product / build / file.path, target / build / file.path, file.path)
            (target / MANIFEST).write_text(manifest.model_dump_json(indent=1))


def delete(store: str, namespace: str, fingerprints: Sequence[str]) -> None:
    """Delete `<store>/<namespace>/<fingerprint>` for every fingerprint, then the namespace's folder if it is empty.

    Raises:
        StoreUnavailable: the store is not there, leads elsewhere by a link, or cannot be written.
    """
    claim, root = claims.claim_root(store), claims.folder(store)
    folder = root / namespace
    with _told(store, claim):
        if folder.is_symlink() or not root.resolve().is_relative_to(claim.resolve()):
            # What is deleted is what the spec names, and not what that may point to.
            raise StoreUnavailable(
                f"{store} leads elsewhere by a link, to {folder.resolve()}: nothing is deleted there. "
                "Delete it by hand."
            )
        for fingerprint in fingerprints:
            _delete(folder / fingerprint)
        _delete_if_empty(folder)


@contextlib.contextmanager
def _told(store: str, claim: Path) -> Iterator[None]:
    if not claim.is_dir():
        raise StoreUnavailable(f"The store {store} is not there: nothing is mounted at {claim}.")
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"The store {store} cannot be read or written: {error}.") from error


def _publish(artifact: Path, build: str, product: Path, claim: Path, make_manifest: MakeManifest) -> None:
    builds = product / BUILDS
    _make_folders(builds, claim)
    for leftover in builds.glob(f"{build}.*"):
        _clear(leftover, product)
    # An attempt whose node was lost may still be writing: each attempt has a folder of its own.
    folder = Path(tempfile.mkdtemp(prefix=f"{build}.", dir=builds))
    try:
        copied = _copy(artifact, folder)
        manifest = make_manifest(folder.name, copied)
        _write(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
        _open_to_readers(folder)
        _sync_folder(builds)
        won = _create_exclusively(folder / MANIFEST, product / MANIFEST)
    except BaseException:
        if not _is_named(folder, product):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if not won:
        log.event("publish", "Another writer was first", folder=product)
        shutil.rmtree(folder, ignore_errors=True)


def _clear(leftover: Path, product: Path) -> None:
    """Delete what an attempt that was given up left, unless it has published meanwhile.

    Its writer, should it still be alive, loses the folder at once and not file by file: from then on it has nothing
    that it could make a manifest of. What it published before that is given back.
    """
    aside = leftover.with_name(f"{leftover.name.partition('.')[0]}.{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        leftover.rename(aside)
        if _is_named(leftover, product):
            aside.rename(leftover)
        else:
            shutil.rmtree(aside, ignore_errors=True)


def _is_named(folder: Path, product: Path) -> bool:
    """Whether the manifest that is there names this build."""
    try:
        found = read_manifest(product / MANIFEST)
    except (OSError, ArtifactCorrupt):
        return True  # not known: what may be an artifact is left alone
    return found is not None and found.build == folder.name


def _copy(artifact: Path, target: Path) -> tuple[File, ...]:
    """Copy the artifact's files and folders (empty ones too: a SavedModel has some)."""
    made = []
    for path in files.below(artifact):
        relative = path.relative_to(artifact)
        if path.is_dir():
            (target / relative).mkdir(parents=True, exist_ok=True)
        else:
            copied = digest.copy_file(path, target / relative, relative.as_posix())
            made.append(File(**copied.model_dump()))
    return tuple(made)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _make_folders(folder: Path, root: Path) -> None:
    """Make the folders that are missing below `root`, open to the group and to readers whatever the process's umask."""
    missing = [path for path in (folder, *folder.parents) if path.is_relative_to(root) and not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _set_folder_mode(path)


def _open_to_readers(folder: Path) -> None:
    """Modes for readers, then everything on the disk: folders hold the names of their files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            _set_folder_mode(path)
            _sync_folder(path)
        else:
            path.chmod(FILE_MODE)
    _set_folder_mode(folder)
    _sync_folder(folder)


def _set_folder_mode(folder: Path) -> None:
    folder.chmod(FOLDER_MODE | (folder.stat().st_mode & stat.S_ISGID))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create_exclusively(written: Path, manifest: Path) -> bool:
    """Make `manifest` with the content of `written`, all at once; False where there is one already."""
    try:
        os.link(written, manifest)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Without hard links exclusive creation is still exclusive, though a reader may see the manifest half written.
        try:
            _write(manifest, written.read_bytes())
        except FileExistsError:
            return False
        except BaseException:
            manifest.unlink(missing_ok=True)
            raise
        if not written.exists():  # cleared away since it was read
            manifest.unlink(missing_ok=True)
            raise FileNotFoundError(errno.ENOENT, "another attempt cleared the build away", str(written)) from error
    _sync_folder(manifest.parent)
    return True


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
