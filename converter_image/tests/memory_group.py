"""A cgroup of this machine with a limit of memory, as a container's is: of version 2, or 1."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.box import until

TOP = Path("/sys/fs/cgroup")
UNIFIED = (TOP / "cgroup.controllers").exists()


class MemoryGroup:
    """The cgroup's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, command: Sequence[str]) -> list[str]:
        """The command that has another one run in it."""
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *command]

    @property
    def used(self) -> int:
        """Bytes that the kernel counts, without what it would give up first: files that are cached."""
        stat = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        now = int((self.folder / ("memory.current" if UNIFIED else "memory.usage_in_bytes")).read_text())
        return now - int(stat["file" if UNIFIED else "total_cache"]) + int(stat["shmem" if UNIFIED else "total_shmem"])

    def limit(self, size: int) -> None:
        """Allow so many bytes."""
        (self.folder / ("memory.max" if UNIFIED else "memory.limit_in_bytes")).write_text(str(size))


def can_be_made() -> bool:
    """Whether this machine lets us: root, and cgroups that are not read-only."""
    return os.geteuid() == 0 and os.access(TOP if UNIFIED else TOP / "memory", os.W_OK)


@contextmanager
def memory_group() -> Iterator[MemoryGroup]:
    """A new one, which must be empty in the end."""
    if UNIFIED:
        (TOP / "cgroup.subtree_control").write_text("+memory")
    folder = (TOP if UNIFIED else TOP / "memory") / f"tftrt-test-{os.getpid()}"
    folder.mkdir()
    try:
        yield MemoryGroup(folder)
    finally:
        for _ in until("the end of all processes of the cgroup"):
            if not (folder / "cgroup.procs").read_text():
                break
        folder.rmdir()
