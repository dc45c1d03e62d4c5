"""Archives of models, unpacked file by file: no name or link in one leads anywhere else, and none grows for ever."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tftrt_runtime.contract.errors import NotAModel
from tftrt_runtime.fetching import desktop
from tftrt_runtime.fetching.budget import Budget
from tftrt_runtime.storage import digest

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
MAX_FILES = 100_000
_TAR_END_BYTES = 1 << 20  # more than what any tar fills its last record with
_TYPE_BITS, _REGULAR = 0o170000, 0o100000

# How files begin: the two of a zip, one of which is empty; gzip, bzip2 and xz, of which nothing but a tar is taken.
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
_TAR, _TAR_AT = b"ustar", 257
HEAD_BYTES = _TAR_AT + len(_TAR)


def is_archive(name: str, head: bytes) -> bool:
    """Whether a file is an archive, by its name or by its first `HEAD_BYTES`: what hubs give often has no name."""
    return name.lower().endswith(SUFFIXES) or _is_zip(head) or _is_tar(head)


def _is_zip(head: bytes) -> bool:
    return head.startswith(_ZIPS)


def _is_tar(head: bytes) -> bool:
    return head.startswith(_COMPRESSED) or head[_TAR_AT:] == _TAR


def unpack(archive: Path, uri: str, target: Path, budget: Budget) -> None:
    """Write the archive's files below `target`.

    Raises:
        NotAModel: it is no archive, is damaged, or holds a link, a device, or a path that leads out of it.
        SourceTooLarge: what is in it is more than may be fetched.
        OSError: the disk is full.
    """
    with archive.open("rb") as reader:
        head = reader.read(HEAD_BYTES)
    named_zip = archive.name.lower().endswith(".zip") and not _is_tar(head)
    members = _zip if _is_zip(head) or named_zip else _tar
    try:
        for number, (name, stream) in enumerate(members(archive, uri)):
            if number == MAX_FILES:
                raise NotAModel(f"{uri} holds more than {MAX_FILES} files: no model has so many.")
            inside = _inside(name, uri)
            if desktop.is_left_by_one(inside):
                continue
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as writer:
                    # Counted as it comes: what an archive says of its sizes is its own word.
                    while piece := stream.read(digest.CHUNK_BYTES):
                        budget.take(uri, len(piece))
                        writer.write(piece)
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                raise NotAModel(f"{uri} holds {name} twice, or both as a file and as a folder.") from error
    except _DAMAGED as error:
        raise _damaged(uri, error) from error
    except OSError as error:
        # What a disk refuses has a number; gzip and bzip2 tell of damage by an error without one.
        if error.errno is None:
            raise _damaged(uri, error) from error
        raise


_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    NotImplementedError,  # a way to compress that zipfile does not know
    UnicodeDecodeError,
)


def _damaged(uri: str, error: Exception) -> NotAModel:
    # tarfile goes on with what each way of reading it failed of.
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return NotAModel(f"{uri} is no archive that can be read to its end: {first.rstrip(':.')}.")


def _tar(archive: Path, uri: str) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r:*") as opened:
        for member in opened:
            if member.isdir():
                continue
            stream = opened.extractfile(member) if member.isreg() else None
            if stream is None:
                raise NotAModel(f"{uri} holds {member.name}, which is a link or a device; only files are unpacked.")
            yield member.name, stream
        # The sum over all that was compressed comes last, behind the blocks that end a tar.
        if opened.fileobj is not None:
            opened.fileobj.read(_TAR_END_BYTES)


def _zip(archive: Path, uri: str) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if member.is_dir():
                continue
            kind = (member.external_attr >> 16) & _TYPE_BITS  # as Unix writes it; 0 elsewhere
            if kind not in (0, _REGULAR):
                raise NotAModel(f"{uri} holds {member.filename}, which is a link or a device; only files are unpacked.")
            if member.flag_bits & 1:
                raise NotAModel(f"{uri} is encrypted ({member.filename}).")
            with opened.open(member) as stream:
                yield member.filename, stream


def _inside(name: str, uri: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise NotAModel(f"{uri} holds {name!r}, which leads out of it; it is not unpacked.")
    return path
