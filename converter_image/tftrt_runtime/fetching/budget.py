"""How much may be fetched: a source is a user's word, and the node's disk is everybody's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from threading import Lock

from tftrt_runtime.contract.errors import SourceTooLarge, UsageError

DEFAULT_LIMIT_BYTES = 256 << 30
RESERVE_BYTES = 64 << 20  # of the disk, for what the other steps write


class Budget:
    """The bytes that are left to fetch."""

    def __init__(self, folder: Path) -> None:
        """Look how much is free where `folder` lies; TFTRT_MAX_SOURCE_BYTES overrides the limit.

        Raises:
            UsageError: TFTRT_MAX_SOURCE_BYTES is no number of bytes.
        """
        text = os.environ.get("TFTRT_MAX_SOURCE_BYTES", str(DEFAULT_LIMIT_BYTES))
        if not text.isdecimal() or int(text) == 0:
            raise UsageError(f"TFTRT_MAX_SOURCE_BYTES must be a number of bytes above 0; it is {text!r}.")
        self._limit = int(text)
        self._free = max(shutil.disk_usage(folder).free - RESERVE_BYTES, 0)
        self._taken = 0
        self._lock = Lock()  # several files are copied at a time

    def expect(self, uri: str, size: int) -> None:
        """Hold that so many bytes more may be fetched.

        Raises:
            SourceTooLarge: they may not.
        """
        if self._taken + size > self._limit:
            raise SourceTooLarge(
                f"{uri} has more than {self._limit} bytes, which is the limit here (TFTRT_MAX_SOURCE_BYTES): name the "
                "folder of one model, or have the limit raised."
            )
        if self._taken + size > self._free:
            raise SourceTooLarge(
                f"{uri} has {self._taken + size} bytes or more, and {self._free} are free for it on this node: use a "
                "node with a larger disk."
            )

    def take(self, uri: str, size: int) -> None:
        """Count bytes that are about to be written.

        Raises:
            SourceTooLarge: they are too many.
        """
        with self._lock:
            self.expect(uri, size)
            self._taken += size
