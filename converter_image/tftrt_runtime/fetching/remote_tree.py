"""What an object store or a web server has behind a URI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from tftrt_runtime.contract.errors import Failure, NotAModel, SourceNotFound, SourceUnavailable
from tftrt_runtime.contract.told_uri import told_uri
from tftrt_runtime.fetching import desktop
from tftrt_runtime.fetching.budget import Budget
from tftrt_runtime.fetching.tree import Entry, Tree, changed
from tftrt_runtime.storage import credentials, secret
from tftrt_runtime.storage.digest import FileDigest
from tftrt_runtime.storage.download import download
from tftrt_runtime.storage.remote import (
    WEB,
    Forbidden,
    NotThere,
    Remote,
    Unavailable,
    led_to,
    scheme_of,
    told,
    version,
)
from tftrt_runtime.storage.secret import Role

UNNAMED = "file"  # what a web server's file is called here whose address ends in no name


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
        except NotThere as error:  # which was there a moment ago
            raise changed(self.uri, entry.path) from error
        except (Forbidden, Unavailable) as error:
            raise failure(error, self.remote.address, self.role) from error

    def listed(self) -> tuple[Entry, ...]:
        """The entries, looked for anew; a web server's one file is of one version in any case (`download`).

        Raises:
            SourceNotFound, SourceUnavailable: what the server says.
        """
        if scheme_of(self.uri) in WEB:
            return self.entries
        try:
            return _bucket_entries(self.remote)[1]
        except (NotThere, Forbidden, Unavailable) as error:
            raise failure(error, self.remote.address, self.role) from error


def bucket_tree(remote: Remote, role: Role) -> Tree:
    """What is below a key of a bucket, or the key itself.

    Raises:
        NotThere, Forbidden, Unavailable: what the store says.
        NotAModel: a key leads out of it.
    """
    single, entries = _bucket_entries(remote)
    return RemoteTree(remote.uri, single, entries, remote, role)


def _bucket_entries(remote: Remote) -> tuple[bool, tuple[Entry, ...]]:
    """Whether there is but a key of this name, and it, or what is below it."""
    with told():
        found = remote.filesystem.find(remote.path, detail=True, withdirs=False)
    below, itself = [], None
    for place, info in sorted(found.items()):
        path = PurePosixPath(place.removeprefix(remote.path).lstrip("/"))
        if place == remote.path:
            itself = Entry(PurePosixPath(place.rpartition("/")[2]), info.get("size"), place, version(info))
        # Consoles make a key of no bytes, with a slash at its end, to show a folder.
        elif not place.endswith("/") and info.get("type") != "directory" and not desktop.is_left_by_one(path):
            if ".." in path.parts:
                raise NotAModel(f"{remote.uri} holds the key {place}, which leads out of it; it is not followed.")
            below.append(Entry(path, info.get("size"), place, version(info)))
    if below:
        return False, tuple(below)
    if itself is None:
        raise NotThere("there is no such key, and none below it")
    return True, (itself,)


def web_tree(remote: Remote, role: Role) -> Tree:
    """The file that a web server has.

    Raises:
        NotThere, Forbidden, Unavailable: what the server says.
    """
    with told():
        info = remote.filesystem.info(remote.path)
    name = PurePosixPath(unquote(urlsplit(remote.path).path)).name
    # Such as what a hub calls /models/resnet50/5, or nothing at all: its content tells.
    path = PurePosixPath(UNNAMED if name in {"", ".", ".."} else name)
    return RemoteTree(remote.uri, True, (Entry(path, info.get("size"), remote.path, version(info)),), remote, role)


def failure(error: Exception, address: str, role: Role) -> Failure:
    """The failure that a server's answer amounts to."""
    uri = told_uri(address)
    if isinstance(error, NotThere):
        return SourceNotFound(f"{uri} was not found: {error}. Correct the URI, or upload the files.")
    if isinstance(error, Forbidden):
        if host := led_to(error, address):
            return SourceNotFound(
                f"{uri} may not be read: {error}. It leads to {host}, which got no credentials, as no host does that a "
                "redirect leads to: name an address that it lets in."
            )
        asked = credentials.whose(secret.read(role, scheme_of(uri)), role, address)
        return SourceNotFound(f"{uri} may not be read: {error}. {asked}")
    return SourceUnavailable(f"{uri} could not be fetched: {error}.")
