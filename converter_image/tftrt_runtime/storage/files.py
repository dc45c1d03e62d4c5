"""Files that somebody else may have left here, such as the code of a model: none is read through a link.

What a link leads to is another's, such as the Secret of the container that follows it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tftrt_runtime.contract.errors import ArtifactCorrupt

NOTE_BYTES = 64 << 20  # of a manifest or a note: the lists of the largest models have a few


def opened(path: Path) -> BinaryIO:
    """A regular file, to be read.

    Raises:
        ArtifactCorrupt: it is a link, or none.
        OSError: it cannot be read.
    """
    try:
        # A pipe without a writer would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise _unfit(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _unfit(path)
    return os.fdopen(descriptor, "rb")


def read(path: Path) -> bytes:
    """A manifest or a note.

    Raises:
        ArtifactCorrupt: it is a link, no regular file, or larger than any.
        OSError: it cannot be read.
    """
    with opened(path) as stream:
        text = stream.read(NOTE_BYTES + 1)
    expect_note(len(text), str(path))
    return text


def expect_note(size: int, place: str) -> None:
    """Hold that a manifest or a note is not too large to be one.

    Raises:
        ArtifactCorrupt: it is.
    """
    if size > NOTE_BYTES:
        raise ArtifactCorrupt(f"{place} has more than {NOTE_BYTES} bytes, and so is none of ours: delete it.")


def below(root: Path) -> Iterator[Path]:
    """All folders and files of a folder, each folder before what is in it.

    Raises:
        ArtifactCorrupt: it is no folder, or holds a link, a pipe, a device or a socket.
        OSError: it cannot be read.
    """
    if not stat.S_ISDIR(_mode(root)):
        raise _unfit(root, "folder")
    for path in sorted(root.iterdir()):
        mode = _mode(path)
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            raise _unfit(path)
        yield path
        if stat.S_ISDIR(mode):
            yield from below(path)


def _mode(path: Path) -> int:
    return path.lstat().st_mode


def _unfit(path: Path, what: str = "regular file") -> ArtifactCorrupt:
    return ArtifactCorrupt(
        f"{path} is no {what}, but a link or something else that leads out of where it lies: it is neither read nor "
        "published. Delete it; if the model's own code makes it, export the model without that."
    )
