"""One file from an object store or a web server: streamed, digested on the way, resumed where it broke off."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tftrt_runtime import log
from tftrt_runtime.storage.digest import FileDigest
from tftrt_runtime.storage.remote import WEB, Remote, Unavailable, scheme_of, told, version

PIECE_BYTES = 16 << 20
ATTEMPTS = 5  # for one piece: what came before it is on the disk
Account = Callable[[int], None]


def download(remote: Remote, path: str, size: int | None, target: Path, name: str, account: Account) -> FileDigest:
    """Copy one file; on return it is on the disk, not only in its cache.

    `size` in bytes is None where the server does not tell it; such a file is fetched again from its start when the
    connection breaks. `account` is told of the bytes before they are written, and raises where they are too many.

    Raises:
        NotThere, Forbidden: what the server says.
        Unavailable: the connection broke off too often, or the file changed meanwhile.
        OSError: the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    counted = 0
    in_pieces = size is not None and _in_pieces(remote, path, size)
    # A piece is tried again by itself: what came before it is on the disk.
    for attempt in _attempts(1 if in_pieces else ATTEMPTS):
        with attempt:
            content, written = hashlib.sha256(), 0
            with target.open("wb") as writer:
                for piece in _pieces(remote, path, size) if size is not None and in_pieces else _stream(remote, path):
                    if written + len(piece) > counted:  # of an earlier attempt's bytes, each is counted once
                        account(written + len(piece) - counted)
                        counted = written + len(piece)
                    content.update(piece)
                    written += writer.write(piece)
                writer.flush()
                os.fsync(writer.fileno())
            if size is not None and written != size:
                raise Unavailable(f"{remote.uri}: {name} has {size} bytes, and {written} came")
            return FileDigest(path=name, size=written, sha256=content.hexdigest())
    raise AssertionError("the last attempt raises")


def _in_pieces(remote: Remote, path: str, size: int) -> bool:
    return scheme_of(remote.uri) not in WEB or size <= PIECE_BYTES or _takes_ranges(remote, path, size)


def _pieces(remote: Remote, path: str, size: int) -> Iterator[bytes]:
    before = _version(remote, path) if size > PIECE_BYTES else None
    for start in range(0, size, PIECE_BYTES):
        yield _piece(remote, path, start, min(start + PIECE_BYTES, size), size)
    if before is not None and _version(remote, path) != before:
        raise Unavailable(f"{remote.uri} changed while it was fetched")


def _piece(remote: Remote, path: str, start: int, end: int, size: int) -> bytes:
    # All of it at once where it is small: some servers answer no range of an empty file.
    bounds = {} if (start, end) == (0, size) else {"start": start, "end": end}
    for attempt in _attempts():
        with attempt, told():
            data = bytes(remote.filesystem.cat_file(path, **bounds))
            if len(data) != end - start:
                raise Unavailable(f"{remote.uri}: of the bytes {start} to {end}, {len(data)} came")
    return data


def _stream(remote: Remote, path: str) -> Iterator[bytes]:
    with told(), remote.filesystem.open(path, "rb", block_size=0) as reader:
        while piece := reader.read(PIECE_BYTES):
            yield bytes(piece)


def _takes_ranges(remote: Remote, path: str, size: int) -> bool:
    """Whether the web server answers a request for a part with a part, as few say of themselves in advance."""
    for attempt in _attempts():
        with attempt, told(), remote.filesystem.open(path, "rb", cache_type="none", size=size) as reader:
            reader.seek(1)
            try:
                return len(reader.read(1)) == 1
            except ValueError:  # fsspec's word for a server that answers with the whole
                return False
    raise AssertionError("the last attempt raises")


def _version(remote: Remote, path: str) -> str:
    with told():
        return version(remote.filesystem.info(path))


def _attempts(count: int = ATTEMPTS) -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_attempt(count),
        wait=wait_exponential(multiplier=0.2, max=5),
        before_sleep=lambda state: log.event(
            "fetch", "Trying again", attempt=state.attempt_number, why=str(state.outcome and state.outcome.exception())
        ),
        reraise=True,
    )
