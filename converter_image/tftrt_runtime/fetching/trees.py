"""The files behind a URI, before any of them is copied: a claim's folder or file, a bucket's prefix or key, a URL."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

from tftrt_runtime.contract.errors import Failure, NotAModel, SourceNotFound, SourceUnavailable
from tftrt_runtime.contract.told_uri import told_uri
from tftrt_runtime.fetching.budget import Budget
from tftrt_runtime.storage import claims, digest
from tftrt_runtime.storage.digest import FileDigest
from tftrt_runtime.storage.download import download
from tftrt_runtime.storage.remote import WEB, Forbidden, NotThere, Remote, Unavailable, open_remote, scheme_of, told
from tftrt_runtime.storage.secret import KNOWN, Role

TOLD_NAMES = 5


@dataclass(frozen=True)
class Entry:
    """A file of a tree: its path in it, its size in bytes where that is known, and where its bytes are."""

    path: PurePosixPath
    size: int | None
    place: str


class Tree(Protocol):
    """What is behind a URI. `single`: a file itself, whose entry has the file's own name."""

    @property
    def uri(self) -> str: ...  # noqa: D102

    @property
    def single(self) -> bool: ...  # noqa: D102

    @property
    def entries(self) -> tuple[Entry, ...]: ...  # noqa: D102

    def copy(self, entry: Entry, target: Path, budget: Budget) -> FileDigest:
        """Copy a file to `target`; its digest has the name that `target` has."""
        ...


def open_tree(uri: str, role: Role) -> Tree:
    """The tree behind a URI.

    Raises:
        SourceNotFound: nothing is there, or nothing that may be read with the credentials at hand.
        NotAModel: links lead out of it.
        SourceUnavailable: the server cannot be reached.
    """
    if scheme_of(uri) == "pvc":
        return _claim_tree(uri)
    try:
        remote = open_remote(uri, role)
        return _web_tree(remote, role) if scheme_of(uri) in WEB else _bucket_tree(remote, role)
    except (NotThere, Forbidden, Unavailable) as error:
        raise failure(error, uri, role) from error


def open_here(uri: str, role: Role) -> Tree:
    """The same for a person's own machine, where an absolute path is a place, too."""
    if not uri.startswith("/"):
        return open_tree(uri, role)
    if not Path(uri).exists():
        raise SourceNotFound(f"{uri} was not found{_what_is_there(Path(uri))}.")
    return _local_tree(uri, Path(uri))


def failure(error: Exception, uri: str, role: Role) -> Failure:
    """The failure that a server's answer amounts to."""
    uri = told_uri(uri)
    if isinstance(error, NotThere):
        return SourceNotFound(f"{uri} was not found: {error}. Correct the URI, or upload the files.")
    if isinstance(error, Forbidden):
        keys = ", ".join(KNOWN[scheme_of(uri)])
        return SourceNotFound(
            f"{uri} may not be read: {error}. Check the keys of the Secret that secretName names for the {role} "
            f"({keys}; see docs/storage.md)."
        )
    return SourceUnavailable(f"{uri} could not be fetched: {error}.")


@dataclass(frozen=True)
class ClaimTree:
    """A folder or file of a mounted volume. The links in it are copied as what they point to."""

    uri: str
    single: bool
    entries: tuple[Entry, ...]

    def copy(self, entry: Entry, target: Path, budget: Budget) -> FileDigest:
        """Copy one file.

        Raises:
            OSError: it cannot be read, or the disk is full.
        """
        budget.take(self.uri, entry.size or 0)
        return digest.copy_file(Path(entry.place), target, target.name)


@dataclass(frozen=True)
class RemoteTree:
    """What an object store or a web server has."""

    uri: str
    single: bool
    entries: tuple[Entry, ...]
    remote: Remote
    role: Role

    def copy(self, entry: Entry, target: Path, budget: Budget) -> FileDigest:
        """Copy one file.

        Raises:
            SourceNotFound, SourceUnavailable: what the server says of it.
            OSError: the disk is full.
        """
        try:
            return download(
                self.remote, entry.place, entry.size, target, target.name, lambda size: budget.take(self.uri, size)
            )
        except (NotThere, Forbidden, Unavailable) as error:
            raise failure(error, self.uri, self.role) from error


def _bucket_tree(remote: Remote, role: Role) -> Tree:
    with told():
        found = remote.filesystem.find(remote.path, detail=True, withdirs=False)
    below, itself = [], None
    for place, info in sorted(found.items()):
        path = PurePosixPath(place.removeprefix(remote.path).lstrip("/"))
        if place == remote.path:
            itself = Entry(PurePosixPath(place.rpartition("/")[2]), info.get("size"), place)
        # Consoles make a key of no bytes, with a slash at its end, to show a folder.
        elif not place.endswith("/") and info.get("type") != "directory":
            if ".." in path.parts:
                raise NotAModel(f"{remote.uri} holds the key {place}, which leads out of it; it is not followed.")
            below.append(Entry(path, info.get("size"), place))
    if below:
        return RemoteTree(remote.uri, False, tuple(below), remote, role)
    if itself is None:
        raise NotThere("there is no such key, and none below it")
    return RemoteTree(remote.uri, True, (itself,), remote, role)


def _web_tree(remote: Remote, role: Role) -> Tree:
    with told():
        info = remote.filesystem.info(remote.path)
    name = PurePosixPath(unquote(urlsplit(remote.path).path)).name
    if name in {"", ".", ".."}:
        raise NotAModel(f"{remote.uri} names no file: a web server has no folders, so name an archive or a file.")
    return RemoteTree(remote.uri, True, (Entry(PurePosixPath(name), info.get("size"), remote.path),), remote, role)


def _claim_tree(uri: str) -> Tree:
    claim, path = claims.claim_root(uri), claims.folder(uri)
    if not claim.is_dir():
        raise SourceNotFound(f"{uri} was not found: nothing is mounted at {claim}.")
    try:
        is_there = path.exists()
    except PermissionError as error:  # of a folder above it
        raise _not_readable(uri, Path(error.filename)) from error
    if not is_there:
        raise SourceNotFound(f"{uri} was not found: its volume has no {path.relative_to(claim)}{_what_is_there(path)}.")
    root = path.resolve()
    if not root.is_relative_to(claim.resolve()):
        raise NotAModel(f"{uri} is a link that leads out of its volume, to {root}; it is not followed.")
    return _local_tree(uri, path)


def _local_tree(uri: str, path: Path) -> Tree:
    """A folder or file that is there. The links in it are copied as what they point to."""
    root = path.resolve()
    if root.is_file():
        entries: tuple[Entry, ...] = (Entry(PurePosixPath(path.name), root.stat().st_size, str(root)),)
        unreadable = None if os.access(root, os.R_OK) else root
    else:
        try:
            entries = tuple(_files(uri, root, root, ()))
            unreadable = next((Path(entry.place) for entry in entries if not os.access(entry.place, os.R_OK)), None)
        except PermissionError as error:
            unreadable = Path(error.filename)
    if unreadable is not None:
        raise _not_readable(uri, unreadable)
    return ClaimTree(uri, root.is_file(), entries)


def _not_readable(uri: str, what: Path) -> SourceNotFound:
    return SourceNotFound(f"{uri} cannot be read: user {os.getuid()} of this container has no right to {what}.")


def _what_is_there(folder: Path) -> str:
    """For the message about a missing folder: what lies where it was looked for."""
    parent = next(path for path in folder.parents if path.is_dir())
    names = sorted(path.name for path in parent.iterdir())
    more = ", ..." if len(names) > TOLD_NAMES else ""
    return f" ({parent.name or parent} holds {', '.join(names[:TOLD_NAMES])}{more})" if names else ""


def _files(uri: str, root: Path, folder: Path, above: tuple[Path, ...]) -> Iterator[Entry]:
    real = folder.resolve()
    if real in above:
        raise NotAModel(f"{uri} never ends: {folder.relative_to(root)} is a link to a folder that it lies in.")
    for entry in sorted(folder.iterdir()):
        relative = PurePosixPath(entry.relative_to(root))
        target = entry.resolve()
        if not target.is_relative_to(root):
            raise NotAModel(f"{uri} holds the link {relative}, which leads out of it to {target}; it is not followed.")
        try:
            status = target.stat()
        except FileNotFoundError as error:
            raise NotAModel(f"{uri} holds the link {relative}, which leads to nothing ({target}).") from error
        if stat.S_ISDIR(status.st_mode):
            yield from _files(uri, root, entry, (*above, real))
        elif stat.S_ISREG(status.st_mode):
            yield Entry(relative, status.st_size, str(target))
        else:
            raise NotAModel(f"{uri} holds {relative}, which is neither a file nor a folder.")
