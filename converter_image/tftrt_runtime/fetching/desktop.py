"""What a desktop leaves beside files, in folders and in archives: it is nobody's, and is not seen at all."""

from __future__ import annotations

from pathlib import PurePath

# A Mac's archiver puts what its file system knows of `x` into `__MACOSX/._x`, and its copies into `._x`.
_FOLDER, _PREFIX, _FILE = "__MACOSX", "._", ".DS_Store"


def is_left_by_one(path: PurePath) -> bool:
    """Whether a file or folder is such."""
    return any(part in (_FOLDER, _FILE) or part.startswith(_PREFIX) for part in path.parts)
