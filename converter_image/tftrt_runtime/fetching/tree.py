"""The files behind a URI, before any of them is copied: a claim's folder or file, a bucket's prefix or key, a URL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from tftrt_runtime.contract.errors import NotAModel, SourceNotFound, SourceUnavailable
from tftrt_runtime.fetching.budget import Budget
from tftrt_runtime.storage.digest import FileDigest


@dataclass(frozen=True)
class Entry:
    """A file of a tree: its path in it, its size in bytes where that is known, and where its bytes are.

    `version` is what the place says of its content without having it read, such as an ETag or a time.
    """

    path: PurePosixPath
    size: int | None
    place: str
    version: str


class Tree(Protocol):
    """What is behind a URI. `single`: a file itself, whose entry has the file's own name."""

    @property
    def uri(self) -> str: ...  # noqa: D102

    @property
    def single(self) -> bool: ...  # noqa: D102

    @property
    def entries(self) -> tuple[Entry, ...]: ...  # noqa: D102

    def copy(self, entry: Entry, target: Path, budget: Budget) -> FileDigest:
        """Copy a file to `target`; its digest has the name that `target` has.

        Raises:
            SourceUnavailable: it is there no more, or a server broke off.
        """
        ...

    def listed(self) -> tuple[Entry, ...]:
        """The entries, looked for anew."""
        ...


def expect_unchanged(tree: Tree, copied: Sequence[Entry]) -> None:
    """Hold that what was copied is still what is there, and so of one version; a whole tree has no other files either.

    Raises:
        SourceUnavailable: somebody has written to the tree meanwhile. Another attempt copies what is there then.
    """
    try:
        there = tree.listed()
    except (SourceNotFound, NotAModel, FileNotFoundError) as error:
        raise changed(tree.uri) from error
    paths = {entry.path for entry in copied}
    if len(copied) < len(tree.entries):
        there = tuple(entry for entry in there if entry.path in paths)
    others = {entry.path for entry in set(there) ^ set(copied)}
    if others:
        raise changed(tree.uri, min(others))


def changed(uri: str, what: PurePosixPath | str = "") -> SourceUnavailable:
    """The failure of a tree that somebody writes to while it is copied."""
    named = f" ({what})" if str(what) else ""
    return SourceUnavailable(
        f"{uri} changed while it was fetched{named}, and two versions of it are not mixed: it is fetched anew. Upload "
        "each version to a folder of its own."
    )
