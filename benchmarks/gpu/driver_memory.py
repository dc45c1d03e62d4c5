"""What the driver says that processes hold of the GPU, and how busy it is, by NVIDIA's management library.

The functions and structures are those of `nvml.h` (docs.nvidia.com/deploy/nvml-api): device queries of version 3.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_PROCESSES = 64
INTERVAL_SECONDS = 0.1
NOT_AVAILABLE = 2**64 - 1


class _Process(ctypes.Structure):
    """`nvmlProcessInfo_t`."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class _Memory(ctypes.Structure):
    """`nvmlMemory_t`."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    """`nvmlUtilization_t`."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Driver:
    """The first device, as the driver's management library sees it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libnvidia-ml.so.1")
        self._call("nvmlInit_v2")
        self._device = ctypes.c_void_p()
        self._call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(self._device))

    def used(self) -> int:
        """Bytes of the device that are in use by anyone."""
        memory = _Memory()
        self._call("nvmlDeviceGetMemoryInfo", self._device, ctypes.byref(memory))
        return int(memory.used)

    def by_process(self) -> dict[int, int]:
        """Bytes that each process holds, by its pid; empty where the driver does not tell."""
        count = ctypes.c_uint(MOST_PROCESSES)
        found = (_Process * MOST_PROCESSES)()
        self._call("nvmlDeviceGetComputeRunningProcesses_v3", self._device, ctypes.byref(count), found)
        told = ((one.pid, one.used) for one in found[: count.value])
        return {int(pid): int(used) for pid, used in told if used != NOT_AVAILABLE}

    def busy_percent(self) -> int | None:
        """Of the driver's last sample period (up to 1 s), the part in which a kernel of anyone ran; None: not told."""
        rates = _Utilization()
        try:
            self._call("nvmlDeviceGetUtilizationRates", self._device, ctypes.byref(rates))
        except RuntimeError:
            return None
        return int(rates.gpu)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} failed with error {code}")


class Peaks:
    """The most that was seen at a time: of the device, and of each child of this process with its descendants."""

    def __init__(self) -> None:
        self.device = 0
        self.children: dict[int, int] = {}
        self.samples = 0
        self._busy: list[int] = []

    @property
    def busy_percent(self) -> float | None:
        """The mean of how busy the device was; None where nothing was read."""
        return round(sum(self._busy) / len(self._busy), 1) if self._busy else None

    def take(self, driver: Driver) -> None:
        """One more reading."""
        self.device = max(self.device, driver.used())
        held: Counter[int] = Counter()
        for pid, used in driver.by_process().items():
            line = [pid, *_ancestors(pid)]
            if os.getpid() in line[1:]:
                held[line[line.index(os.getpid()) - 1]] += used
        for child, used in held.items():
            self.children[child] = max(self.children.get(child, 0), used)
        if (busy := driver.busy_percent()) is not None:
            self._busy.append(busy)
        self.samples += 1


@contextmanager
def sampled(driver: Driver | None) -> Iterator[Peaks]:
    """Peaks that are kept up to date every tenth of a second; nothing is read where there is no driver."""
    peaks, over = Peaks(), threading.Event()

    def sample() -> None:
        while not over.wait(INTERVAL_SECONDS):
            if driver is not None:
                peaks.take(driver)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            # The name, in parentheses, may have spaces: what follows it has none. The second field then is the parent.
            pid = int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return
        yield pid
