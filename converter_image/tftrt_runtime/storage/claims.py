"""`pvc://claim/path` is a folder of a mounted volume."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from tftrt_runtime.contract.errors import UsageError

DEFAULT_PVC_ROOT = "/mnt/pvc"


def claim_root(uri: str) -> Path:
    """The folder at which the volume of this `pvc://` URI is mounted."""
    return _mount(_parts(uri)[0])


def folder(uri: str) -> Path:
    """The folder of a mounted volume that this URI means; whether it exists is the caller's to see.

    Raises:
        UsageError: the URI is none of a claim.
    """
    claim, path = _parts(uri)
    return _mount(claim).joinpath(*path.parts)


def _mount(claim: str) -> Path:
    return Path(os.environ.get("TFTRT_PVC_ROOT", DEFAULT_PVC_ROOT), claim)


def _parts(uri: str) -> tuple[str, PurePosixPath]:
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme != "pvc":
        raise UsageError(f"{uri!r} is no pvc://claim/path.")
    claim, _, path = rest.partition("/")
    parts = PurePosixPath(path)
    if not claim or claim in {".", ".."} or parts.is_absolute() or ".." in parts.parts:
        raise UsageError(f"{uri!r} is no pvc://claim/path: it needs a claim's name and a path without '..'.")
    return claim, parts
