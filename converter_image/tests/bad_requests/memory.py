"""What a server's processes hold of memory while it is under load, and whether that grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# After which allocators, caches and pools of threads have what they need; left out of the slope.
WARM_SHARE = 0.25


@dataclass(frozen=True)
class Sample:
    """The resident memory of each process in MiB, so many seconds after the beginning."""

    seconds: float
    resident: dict[str, float]


def processes(root: int) -> dict[str, int]:
    """The process and all that descend from it, by name; those of one name are told apart by a number."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it has ended
            continue
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found: dict[str, int] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop(0)
        waiting += sorted(children.get(pid, ()))
        name = _name(pid)
        number = sum(key == name or key.startswith(f"{name} ") for key in found)
        found[f"{name} {number + 1}" if number else name] = pid
    return found


def _name(pid: int) -> str:
    """The program's file name, or the Python module that it runs."""
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return words[words.index("-m") + 1] if "-m" in words else Path(words[0]).name


def resident_mib(pid: int) -> float:
    """VmRSS.

    Raises:
        OSError: there is no such process any more.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def slope(samples: Sequence[Sample], name: str) -> float:
    """By how many MiB an hour a process grew, by least squares, its first quarter left out."""
    since = samples[-1].seconds * WARM_SHARE
    warm = [(sample.seconds / 3600, sample.resident[name]) for sample in samples if sample.seconds >= since]
    hours, resident = zip(*warm)
    return float(np.polyfit(hours, resident, 1)[0])
