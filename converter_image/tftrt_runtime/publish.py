"""`tftrt publish`: put the artifact into the store, complete or not at all.

The build is written beside its place and moved there, and `manifest.json` comes last, created exclusively: its presence
means complete, and of two writers one wins. A writer that is killed anywhere leaves nothing that the next attempt does
not clear away or that a reader could mistake for an artifact.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from tftrt_runtime import digest, log, stores
from tftrt_runtime.artifact import BUILDS, MANIFEST, File, Manifest, Summary, read_manifest
from tftrt_runtime.errors import SourceChanged, StoreUnavailable, UsageError
from tftrt_runtime.lookup import fingerprint_folder
from tftrt_runtime.spec import JobSpec
from tftrt_runtime.workspace import Converted, Fetched, Workspace

# Servers read the store as the same group or as anyone. The set-group-ID bit, where the store has it, is kept.
FOLDER_MODE = 0o775
FILE_MODE = 0o644

# What a file system answers that knows no hard links: SMB (Azure Files), FUSE over object stores.
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


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
        StoreUnavailable: the store cannot be written; nothing of this build is left in it.
    """
    build = build_name()
    fetched = Fetched.model_validate_json(_note(workspace.fetched, "fetch"))
    converted = Converted.model_validate_json(_note(workspace.converted, "convert"))
    product = fingerprint_folder(spec) / converted.product
    try:
        there = read_manifest(product / MANIFEST)
        if there is None and converted.conversion is None:
            raise StoreUnavailable(
                f"{product / MANIFEST} was there when this Job began and is gone; run it again to build."
            )
        if there is None:
            with log.timed("publish", "Published", folder=product, build=build):
                _publish(spec, workspace, converted, fetched, build, product)
            there = read_manifest(product / MANIFEST)
    except OSError as error:
        raise StoreUnavailable(f"The store {spec.artifacts.uri} cannot be written: {error}.") from error
    if there is None:
        raise StoreUnavailable(f"{product / MANIFEST} was deleted while it was being published.")
    if there.sourceDigest != fetched.sourceDigest:
        raise SourceChanged(changed(spec, product, there, fetched))
    summary = there.summary
    return summary if there.build == build else summary.model_copy(update={"result": "Reused"})


def changed(spec: JobSpec, where: Path, manifest: Manifest, fetched: Fetched) -> str:
    """The sentence for a source that is not the one that the artifact was made from."""
    return (
        f"{spec.source.uri} has changed: it is {fetched.sourceDigest[:19]}..., while the artifact in {where} was made "
        f"from {manifest.sourceDigest[:19]}... Set spec.source.revision to a new value to convert it again."
    )


def _note(path: Path, step: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): `tftrt {step}` comes before `tftrt publish`."
        ) from error


def _publish(
    spec: JobSpec, workspace: Workspace, converted: Converted, fetched: Fetched, build: str, product: Path
) -> None:
    """Write the build and its manifest, unless another writer's manifest is there first."""
    builds = product / BUILDS
    _make_folders(builds, stores.claim_root(spec.artifacts.uri))
    for leftover in (builds / build, *builds.glob(f"{build}.*")):
        shutil.rmtree(leftover, ignore_errors=True)
    # An attempt whose node was lost may still be writing: each attempt has a folder of its own until it is complete.
    staged = Path(tempfile.mkdtemp(prefix=f"{build}.", dir=builds))
    try:
        files = _copy(workspace.artifact, staged)
        manifest = _manifest(spec, converted, fetched, build, product.name, files)
        _write(staged / MANIFEST, manifest.model_dump_json(indent=1).encode())
        _open_to_readers(staged)
        staged.rename(builds / build)
        _sync_folder(builds)
        won = _create_exclusively(builds / build / MANIFEST, product / MANIFEST)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        if not (product / MANIFEST).exists():
            shutil.rmtree(builds / build, ignore_errors=True)
        raise
    if not won:
        log.event("publish", "Another writer was first", folder=product)
        winner = read_manifest(product / MANIFEST)
        if winner is not None and winner.build != build:
            shutil.rmtree(builds / build, ignore_errors=True)


def _manifest(
    spec: JobSpec, converted: Converted, fetched: Fetched, build: str, product: str, files: tuple[File, ...]
) -> Manifest:
    conversion = converted.conversion
    assert conversion is not None, "`run` publishes only what was converted"
    summary = Summary(
        result="Published",
        fingerprint=spec.fingerprint,
        build=build,
        product=product,
        artifact=f"{spec.artifacts.uri.rstrip('/')}/{spec.model.namespace}/{spec.fingerprint}/{product}",
        sourceDigest=fetched.sourceDigest,
        artifactBytes=sum(file.size for file in files),
        finishedAt=log.now(),
        **conversion.model_dump(exclude={"sample", "dynamicShapes", "inputShapes", "segments"}),
    )
    return Manifest(
        build=build,
        sourceDigest=fetched.sourceDigest,
        summary=summary,
        sample=conversion.sample,
        dynamicShapes=conversion.dynamicShapes,
        inputShapes=conversion.inputShapes,
        segments=conversion.segments,
        files=files,
    )


def _copy(artifact: Path, target: Path) -> tuple[File, ...]:
    """Copy the artifact's files and folders (empty ones too: a SavedModel has some)."""
    files = []
    for path in sorted(artifact.rglob("*")):
        relative = path.relative_to(artifact)
        if path.is_dir():
            (target / relative).mkdir(parents=True, exist_ok=True)
        else:
            copied = digest.copy_file(path, target / relative, relative.as_posix())
            files.append(File(**copied.model_dump()))
    return tuple(files)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _make_folders(folder: Path, root: Path) -> None:
    """Make the folders that are missing below `root`, open to the group and to readers whatever the process's umask."""
    if not root.is_dir():
        raise StoreUnavailable(f"Nothing is mounted at {root}.")
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
    _sync_folder(manifest.parent)
    return True
