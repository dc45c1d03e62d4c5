"""What a process has used, as the kernel tells it (proc(5))."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MiB: now, and the most that it has been."""

    now: float
    peak: float


def cpu_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process has used, user and system, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> Memory:
    """Return a process's resident memory."""
    kib = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return Memory(round(int(kib["VmRSS"]) / 1024, 1), round(int(kib["VmHWM"]) / 1024, 1))
