"""A folder or file of a mounted volume, or of a person's own machine."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tftrt_runtime.contract.errors import NotAModel, SourceNotFound
from tftrt_runtime.fetching import desktop
from tftrt_runtime.fetching.budget import Budget
from tftrt_runtime.fetching.tree import Entry, Tree, changed
from tftrt_runtime.storage import claims, digest
from tftrt_runtime.storage.digest import FileDigest

TOLD_NAMES = 5


@dataclass(frozen=True)
class ClaimTree:
    """A folder or file of a mounted volume. The links in it are copied as what they point to."""

    uri: str
    single: bool
    entries: tuple[Entry, ...]
    path: Path
    within: Path  # which no link leads out of

    def copy(self, entry: Entry, target: Path, budget: Budget) -> FileDigest:
        """Copy one file.

        Raises:
            SourceUnavailable: it is there no more.
            OSError: it cannot be read, or the disk is full.
        """
        budget.take(self.uri, entry.size or 0)
        try:
            return digest.copy_file(Path(entry.place), target, target.name)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ESTALE}:  # the latter is NFS's word for it
                raise changed(self.uri, entry.path) from error
            raise

    def listed(self) -> tuple[Entry, ...]:
        """The entries, looked for anew.

        Raises:
            NotAModel, SourceNotFound: as when it was opened.
        """
        return _local_entries(self.uri, self.path, self.within)


def claim_tree(uri: str) -> Tree:
    """What is behind a `pvc://` URI.

    Raises:
        SourceNotFound: nothing is there, or nothing that this user may read.
        NotAModel: links lead out of its volume, to nothing or round and round.
    """
    claim, path = claims.claim_root(uri), claims.folder(uri)
    if not claim.is_dir():
        raise SourceNotFound(f"{uri} was not found: nothing is mounted at {claim}.")
    try:
        is_there = path.exists()
    except PermissionError as error:  # of a folder above it
        raise _not_readable(uri, Path(error.filename)) from error
    if not is_there:
        raise SourceNotFound(f"{uri} was not found: its volume has no {path.relative_to(claim)}{what_is_there(path)}.")
    root, within = path.resolve(), claim.resolve()
    if not root.is_relative_to(within):
        raise NotAModel(f"{uri} is a link that leads out of its volume, to {root}; it is not followed.")
    # All of its volume may be named by whoever names this part of it, so that links may lead to the rest as well: the
    # caches of hubs are made of such.
    return local_tree(uri, path, within)


def local_tree(uri: str, path: Path, within: Path) -> Tree:
    """A folder or file that is there; no link in it may lead out of the folder `within`.

    Raises:
        SourceNotFound, NotAModel: as above.
    """
    return ClaimTree(uri, path.resolve().is_file(), _local_entries(uri, path, within), path, within)


def _local_entries(uri: str, path: Path, within: Path) -> tuple[Entry, ...]:
    """The entries of a folder or file that is there. The links in it are copied as what they point to."""
    root = path.resolve()
    if root.is_file():
        entries: tuple[Entry, ...] = (_entry(PurePosixPath(path.name), root, root.stat()),)
        unreadable = None if os.access(root, os.R_OK) else root
    else:
        try:
            entries = tuple(_files(uri, root, root, (), within))
            unreadable = next((Path(entry.place) for entry in entries if not os.access(entry.place, os.R_OK)), None)
        except PermissionError as error:
            unreadable = Path(error.filename)
    if unreadable is not None:
        raise _not_readable(uri, unreadable)
    return entries


def _entry(path: PurePosixPath, place: Path, status: os.stat_result) -> Entry:
    return Entry(path, status.st_size, str(place), f"mtime={status.st_mtime_ns}")


def _not_readable(uri: str, what: Path) -> SourceNotFound:
    return SourceNotFound(f"{uri} cannot be read: user {os.getuid()} of this container has no right to {what}.")


def what_is_there(folder: Path) -> str:
    """For the message about a missing folder: what lies where it was looked for."""
    parent = next(path for path in folder.parents if path.is_dir())
    names = sorted(path.name for path in parent.iterdir() if not path.name.startswith("."))
    more = ", ..." if len(names) > TOLD_NAMES else ""
    return f" ({parent.name or parent} holds {', '.join(names[:TOLD_NAMES])}{more})" if names else ""


def _files(uri: str, root: Path, folder: Path, above: tuple[Path, ...], within: Path) -> Iterator[Entry]:
    real = folder.resolve()
    if real in above:
        raise NotAModel(f"{uri} never ends: {folder.relative_to(root)} is a link to a folder that it lies in.")
    for entry in sorted(folder.iterdir()):
        relative = PurePosixPath(entry.relative_to(root))
        if desktop.is_left_by_one(relative):
            continue
        target = entry.resolve()
        if not target.is_relative_to(within):
            raise NotAModel(
                f"{uri} holds the link {relative}, which leads out of {'it' if within == root else 'its volume'} to "
                f"{target}; it is not followed. `cp -rL` makes a copy without links."
            )
        try:
            status = target.stat()
        except FileNotFoundError as error:
            raise NotAModel(f"{uri} holds the link {relative}, which leads to nothing ({target}).") from error
        if stat.S_ISDIR(status.st_mode):
            yield from _files(uri, root, entry, (*above, real), within)
        elif stat.S_ISREG(status.st_mode):
            yield _entry(relative, target, status)
        else:
            raise NotAModel(f"{uri} holds {relative}, which is neither a file nor a folder.")
