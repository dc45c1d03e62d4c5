"""`tftrt fetch`: copy the source into the workspace and digest it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tftrt_runtime import digest, log, stores
from tftrt_runtime.errors import NotAModel, SourceNotFound, StoreUnavailable
from tftrt_runtime.spec import JobSpec
from tftrt_runtime.workspace import Fetched, Workspace

SAVED_MODEL = "saved_model.pb"


def run(spec: JobSpec, workspace: Workspace) -> Fetched:
    """Copy the source's files, the links among them as what they point to, and write `fetch.json`.

    Raises:
        SourceNotFound: nothing is there, or nothing that this user may read.
        NotAModel: it is no SavedModel, or links lead out of it.
        StoreUnavailable: the workspace cannot be written.
    """
    uri = spec.source.uri
    source = _source_folder(uri)
    try:
        _expect_saved_model(uri, source)
        files = list(_files(uri, source, source, ()))
        unreadable = next((path for _, path in files if not os.access(path, os.R_OK)), None)
    except PermissionError as error:
        unreadable = Path(error.filename)
    if unreadable is not None:
        raise SourceNotFound(
            f"{uri} cannot be read: user {os.getuid()} of this container has no right to {unreadable}."
        )
    try:
        shutil.rmtree(workspace.source, ignore_errors=True)
        with log.timed("fetch", "Copied the source", uri=uri, files=len(files)):
            copied = [digest.copy_file(path, workspace.source / relative, str(relative)) for relative, path in files]
        fetched = Fetched(
            sourceDigest=digest.of_tree(copied), bytes=sum(file.size for file in copied), files=len(copied)
        )
        workspace.fetched.write_text(fetched.model_dump_json())
    except OSError as error:
        raise StoreUnavailable(f"{uri} could not be copied to {workspace.source}: {error}.") from error
    log.event("fetch", "Digested the source", **fetched.model_dump())
    return fetched


def _source_folder(uri: str) -> Path:
    """The folder with all links on the way to it followed; it must not lie outside the volume."""
    claim = stores.claim_root(uri)
    folder = stores.folder(uri)
    if not claim.is_dir():
        raise SourceNotFound(f"{uri} was not found: nothing is mounted at {claim}.")
    if not folder.exists():
        raise SourceNotFound(
            f"{uri} was not found: its volume has no {folder.relative_to(claim)}{_what_is_there(folder)}."
        )
    resolved = folder.resolve()
    if not resolved.is_relative_to(claim.resolve()):
        raise NotAModel(f"{uri} is a link that leads out of its volume, to {resolved}; it is not followed.")
    if not resolved.is_dir():
        raise NotAModel(f"{uri} is a file; a SavedModel is a folder with a {SAVED_MODEL} in it.")
    return resolved


def _expect_saved_model(uri: str, source: Path) -> None:
    if (source / SAVED_MODEL).is_file():
        return
    nested = sorted(path.parent.name for path in source.glob(f"*/{SAVED_MODEL}"))
    if nested:
        raise NotAModel(
            f"{uri} has no {SAVED_MODEL}, but {', '.join(nested[:5])} in it has one: name that folder instead."
        )
    names = sorted(path.name for path in source.iterdir())[:5]
    there = f"it holds {', '.join(names)}" if names else "it is empty"
    raise NotAModel(f"{uri} is no SavedModel: there is no {SAVED_MODEL}; {there}.")


def _what_is_there(folder: Path) -> str:
    """For the message about a missing folder: what lies where it was looked for."""
    parent = next(path for path in folder.parents if path.is_dir())
    names = sorted(path.name for path in parent.iterdir())
    return f" ({parent.name} holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""


def _files(uri: str, root: Path, folder: Path, above: tuple[Path, ...]) -> Iterator[tuple[PurePosixPath, Path]]:
    """Every file under `folder`: its path in the tree, and where its bytes are."""
    real = folder.resolve()
    if real in above:
        raise NotAModel(f"{uri} never ends: {folder.relative_to(root)} is a link to a folder that it lies in.")
    for entry in sorted(folder.iterdir()):
        relative = PurePosixPath(entry.relative_to(root))
        target = entry.resolve()
        if not target.is_relative_to(root):
            raise NotAModel(f"{uri} holds the link {relative}, which leads out of it to {target}; it is not followed.")
        try:
            mode = target.stat().st_mode
        except FileNotFoundError as error:
            raise NotAModel(f"{uri} holds the link {relative}, which leads to nothing ({target}).") from error
        if stat.S_ISDIR(mode):
            yield from _files(uri, root, entry, (*above, real))
        elif stat.S_ISREG(mode):
            yield relative, target
        else:
            raise NotAModel(f"{uri} holds {relative}, which is neither a file nor a folder.")
