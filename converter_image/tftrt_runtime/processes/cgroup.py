"""What the kernel tells about this container's memory limit, under cgroup v1 and v2."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def out_of_memory_kills(root: Path = ROOT, own: Path = OWN) -> int | None:
    """How many processes of this container the kernel has killed at its memory limit; None where it does not tell.

    v2 counts them in `memory.events`, v1 in `memory.oom_control`, both as a line `oom_kill <count>`.
    """
    for file in _files(root, own):
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            key, _, count = line.partition(" ")
            if key == "oom_kill":
                return int(count)
    return None


def killed(before: int | None, after: int | None) -> bool:
    """Whether the kernel has killed a process between the two counts."""
    return before is not None and after is not None and after > before


def _files(root: Path, own: Path) -> list[Path]:
    """Where to look: this process's own group, then the root, which is it where the container sees no other."""
    try:
        groups = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        groups = []
    files = []
    for _, controllers, path in groups:
        if controllers == "memory":
            files += [root / "memory" / path.lstrip("/") / "memory.oom_control", root / "memory" / "memory.oom_control"]
        if not controllers:
            files += [root / path.lstrip("/") / "memory.events", root / "memory.events"]
    return files
