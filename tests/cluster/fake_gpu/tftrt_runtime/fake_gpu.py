"""A GPU that is played: CUDA's driver and what TensorFlow tells of its devices; all that is computed, the CPU computes.

The node tells in a folder that its containers have which device it is (tests/cluster/devices.py). The device's memory
is kept there, too: what a process holds is a file that it has locked, so that all of the node's containers see it, and
that it is free again however the process ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib.abc
import importlib.machinery
import json
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PLACE = Path("/run/fake-gpu")
DEVICE, MEMORY = PLACE / "device.json", PLACE / "memory"

DRIVER = "libcuda.so.1"
TENSORRT = (8, 5, 3)
COMPUTE_CAPABILITY = (75, 76)  # CUdevice_attribute's COMPUTE_CAPABILITY_MAJOR and _MINOR

MIB = 1 << 20
CONTEXT_BYTES = 400 * MIB  # what a process takes beside TensorFlow's pool
WEIGHTS_BYTES, PEAK_BYTES = 64 * MIB, 128 * MIB  # what every model takes of the pool
TIMING_SECONDS = 0.5  # nobody wants to know how fast it is


class Memory:
    """The device's, of which each process holds what its file says."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._held = 0

    def take(self, size: int) -> None:
        """Hold so many bytes more, until this process ends."""
        if self._file is None:
            self._file = os.open(MEMORY / uuid.uuid4().hex, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._held += size
        os.pwrite(self._file, f"{self._held:20}".encode(), 0)

    def held_by_all(self) -> int:
        """Bytes that processes hold which live."""
        return sum(held(path) for path in MEMORY.iterdir())


def held(path: Path) -> int:
    """What the process holds that has this file locked; 0 where it has ended."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(file, 20, 0) or 0)
    finally:
        os.close(file)
    return 0


memory = Memory()


class Driver:
    """The functions of CUDA's driver that the converter calls, as `ctypes` would call them."""

    def __init__(self) -> None:
        self._device = json.loads(DEVICE.read_text())
        self._has_context = False

    def cuInit(self, _flags: int) -> int:  # noqa: N802 - the driver's own names
        return 0

    def cuDeviceGet(self, device: Any, _ordinal: int) -> int:  # noqa: N802
        device._obj.value = 0
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, _device: Any) -> int:  # noqa: N802
        if not self._has_context:
            memory.take(CONTEXT_BYTES)
        self._has_context = True
        context._obj.value = 1
        return 0

    def cuCtxPushCurrent_v2(self, _context: Any) -> int:  # noqa: N802
        return 0

    def cuCtxPopCurrent_v2(self, _context: Any) -> int:  # noqa: N802
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        total._obj.value = self._device["memory_bytes"]
        free._obj.value = max(self._device["memory_bytes"] - memory.held_by_all(), 0)
        return 0

    def cuDeviceGetName(self, name: Any, _size: int, _device: Any) -> int:  # noqa: N802
        name.value = self._device["name"].encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, _device: Any) -> int:  # noqa: N802
        part = COMPUTE_CAPABILITY.index(attribute)
        value._obj.value = int(self._device["compute_capability"].split(".")[part])
        return 0

    def cuStreamCreate(self, _stream: Any, _flags: int) -> int:  # noqa: N802
        return 0

    def cuEventCreate(self, _event: Any, _flags: int) -> int:  # noqa: N802
        return 0

    def cuEventRecord(self, _event: Any, _stream: Any) -> int:  # noqa: N802
        return 0

    def cuEventSynchronize(self, _event: Any) -> int:  # noqa: N802
        return 0

    def cuMemHostRegister_v2(self, _address: Any, _size: Any, _flags: int) -> int:  # noqa: N802
        return 0

    def cuMemHostUnregister(self, _address: Any) -> int:  # noqa: N802
        return 0

    def cuMemcpyHtoDAsync_v2(self, target: Any, source: Any, size: Any, _stream: Any) -> int:  # noqa: N802
        ctypes.memmove(target.value, source.value, size.value)  # the device's memory is the machine's
        return 0


_driver: list[Driver] = []


class CDLL(ctypes.CDLL):
    """`ctypes.CDLL`, for which the driver is one of the machine's libraries where its node has a device."""

    def __new__(cls, name: str | None, *_arguments: Any, **_named: Any) -> Any:
        if name != DRIVER or not DEVICE.exists():
            return super().__new__(cls)
        if not _driver:
            _driver.append(Driver())  # a process has its primary context once
        return _driver[0]


def play_devices(config: Any) -> None:
    """Have TensorFlow tell of a GPU, and keep what it is told of it."""
    listed, made_visible, divided = (
        config.list_physical_devices,
        config.set_visible_devices,
        config.set_logical_device_configuration,
    )
    gpu = config.context.PhysicalDevice(name="/physical_device:GPU:0", device_type="GPU")

    def list_physical_devices(device_type: str | None = None) -> list[Any]:
        gpus = [gpu] if device_type in {None, "GPU"} and DEVICE.exists() else []
        return [*listed(device_type), *gpus]

    def set_visible_devices(devices: Any, device_type: str | None = None) -> None:
        if device_type != "GPU":
            made_visible(devices, device_type)

    def set_logical_device_configuration(device: Any, logical_devices: Sequence[Any]) -> None:
        if device is gpu:
            memory.take(sum(one.memory_limit for one in logical_devices) * MIB)
        else:
            divided(device, logical_devices)

    def get_memory_info(_device: str) -> dict[str, int]:
        return {"current": WEIGHTS_BYTES, "peak": PEAK_BYTES}

    def reset_memory_stats(_device: str) -> None:
        pass

    for played in (
        list_physical_devices,
        set_visible_devices,
        set_logical_device_configuration,
        get_memory_info,
        reset_memory_stats,
    ):
        setattr(config, played.__name__, played)


def play_tensorrt(utilities: Any) -> None:
    """Have TensorFlow tell of a TensorRT."""
    utilities.is_tensorrt_enabled = lambda: True
    utilities.get_loaded_tensorrt_version = lambda: TENSORRT


def time_shortly(run: Any) -> None:
    """Have the benchmark end soon."""
    run.GPU_SECONDS = TIMING_SECONDS
    run.SERVED_SECONDS = 0.0


AFTER_IMPORT: dict[str, Callable[[Any], None]] = {
    "tensorflow.python.framework.config": play_devices,
    "tensorflow.compiler.tf2tensorrt._pywrap_py_utils": play_tensorrt,
    "tftrt_runtime.benchmark.run": time_shortly,
}


class Finder(importlib.abc.MetaPathFinder):
    """Finds these modules as they are found anyway, and has something done to each when it is imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """The module's spec, with a loader of ours around its own."""
        if name not in AFTER_IMPORT:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = Loader(spec.loader, AFTER_IMPORT[name])
        return spec


class Loader(importlib.abc.Loader):
    """Loads as the module's own loader does, and has something done then."""

    def __init__(self, own: Any, then: Callable[[Any], None]) -> None:
        self._own, self._then = own, then

    def create_module(self, spec: Any) -> Any:
        """As its own."""
        return self._own.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """As its own, and then."""
        self._own.exec_module(module)
        self._then(module)


def install() -> None:
    """Play the GPU in this process."""
    ctypes.CDLL = CDLL  # type: ignore[misc]
    sys.meta_path.insert(0, Finder())
