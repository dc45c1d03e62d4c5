"""SHA-256 of files and of trees."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tftrt_runtime.storage import files

CHUNK_BYTES = 1 << 20


class FileDigest(BaseModel):
    """One file of a tree: its path in it with forward slashes, its size in bytes, the SHA-256 of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size: int
    sha256: str


def of_tree(tree: Iterable[FileDigest]) -> str:
    """`sha256:...` over all paths, sizes and contents, whatever the order in which the files came."""
    total = hashlib.sha256()
    for file in sorted(tree, key=lambda file: os.fsencode(file.path)):
        total.update(b"%s\0%d\0%s\n" % (os.fsencode(file.path), file.size, file.sha256.encode()))
    return f"sha256:{total.hexdigest()}"


def of_file(file: Path, path: str) -> FileDigest:
    """The digest of one regular file, under the path that it has in its tree."""
    content = hashlib.sha256()
    size = 0
    with files.opened(file) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            content.update(chunk)
            size += len(chunk)
    return FileDigest(path=path, size=size, sha256=content.hexdigest())


def copy_file(source: Path, target: Path, path: str) -> FileDigest:
    """Copy a regular file and digest the bytes on the way; on return they are on the disk, not only in its cache."""
    content = hashlib.sha256()
    size = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.opened(source) as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            content.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return FileDigest(path=path, size=size, sha256=content.hexdigest())
