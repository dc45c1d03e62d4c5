"""The GPU as CUDA's driver reports it, without TensorFlow; and a meter of free memory that runs beside a process.

`python -m tftrt_runtime.device.cuda` is the meter: for every line on its standard input it prints the device's free
bytes.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tftrt_runtime.contract.errors import EngineDeviceMismatch, GPUOutOfMemory, GPUUnfit

# A kernel is loaded when it is first called. CUDA 11 by itself loads all of TensorFlow's, cuDNN's and TensorRT's when a
# process starts (docs.nvidia.com/cuda/cuda-c-programming-guide, "Lazy Loading").
LAZY_KERNELS = {"CUDA_MODULE_LOADING": "LAZY"}

NAME_BYTES = 256
# CUresult's CUDA_ERROR_OUT_OF_MEMORY: already a process's context takes half a GiB.
OUT_OF_MEMORY = 2
# CUdevice_attribute's COMPUTE_CAPABILITY_MAJOR and _MINOR.
MAJOR, MINOR = 75, 76
SETTLED_SECONDS, UNSETTLED_SECONDS, POLL_SECONDS = 0.2, 3.0, 0.01
DRIVER_FILE = Path("/proc/driver/nvidia/version")


class Cuda:
    """The first visible device.

    Its primary context, which TensorFlow uses as well, is retained for the life of the process.
    """

    def __init__(self) -> None:
        try:
            self._driver = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise GPUUnfit("The CUDA driver (libcuda.so.1) is not in this container: has the pod a GPU?") from error
        self.call("cuInit", 0)
        self._device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)

    def free_and_total(self) -> tuple[int, int]:
        """Bytes free and in all."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        with self.current():
            self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    @contextmanager
    def current(self) -> Iterator[None]:
        """Have the calls of this thread be of this context, while it lasts."""
        self.call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    @property
    def name(self) -> str:
        """The device's name: `NVIDIA H200`, `NVIDIA A100-SXM4-40GB MIG 1g.5gb`."""
        name = ctypes.create_string_buffer(NAME_BYTES)
        self.call("cuDeviceGetName", name, NAME_BYTES, self._device)
        return name.value.decode()

    @property
    def compute_capability(self) -> str:
        """The architecture: `9.0`."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(major), MAJOR, self._device)
        self.call("cuDeviceGetAttribute", ctypes.byref(minor), MINOR, self._device)
        return f"{major.value}.{minor.value}"

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the driver.

        Raises:
            GPUOutOfMemory, GPUUnfit: it fails.
        """
        code = getattr(self._driver, name)(*arguments)
        if code == OUT_OF_MEMORY:
            raise GPUOutOfMemory(
                f"The device has no memory left for another process (CUDA's {name} failed with error {code}): see what "
                "else uses it, or use a larger one."
            )
        if code:
            raise GPUUnfit(f"CUDA's {name} failed with error {code}: has the pod a GPU that works?")


def product(name: str) -> str:
    """The device's name as the node label `nvidia.com/gpu.product` spells it, and so the artifact's folder.

    As GPU feature discovery does it (github.com/NVIDIA/k8s-device-plugin, internal/lm/resource.go, `sanitise`).
    """
    return "-".join(re.sub(r"[^A-Za-z0-9_. -]", "", name).split())


def expect_product(expected: str, found: str) -> None:
    """Hold that the engines were built on this kind of device.

    Raises:
        EngineDeviceMismatch: they were not; TensorRT would refuse them, or run them badly.
    """
    if product(found) != expected:
        raise EngineDeviceMismatch(
            f"The engines were built for {expected}, and this pod's device is {product(found)}: set spec.gpu.product, "
            "so that pods go to nodes of one kind, or convert again for this one."
        )


def driver_version() -> str:
    """The version of NVIDIA's driver, from its management library, else from the kernel module's file; else ''."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return _version_of_module(DRIVER_FILE)
    if library.nvmlInit_v2():
        return _version_of_module(DRIVER_FILE)
    version = ctypes.create_string_buffer(NAME_BYTES)
    failed = library.nvmlSystemGetDriverVersion(version, NAME_BYTES)
    library.nvmlShutdown()
    return _version_of_module(DRIVER_FILE) if failed else version.value.decode()


def _version_of_module(file: Path) -> str:
    try:
        found = re.search(r"Kernel Module\D*([0-9.]+)", file.read_text())
    except OSError:
        return ""
    return found[1] if found else ""


@contextmanager
def meter() -> Iterator[Callable[[], int]]:
    """A function that returns the device's free bytes, as a process sees them that holds nothing but its CUDA context.

    So this process needs none, and what a child of it takes and gives back, with the child's context, is all of it.
    """
    command = [sys.executable, "-m", "tftrt_runtime.device.cuda"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def free() -> int:
            stdin.write("\n")
            stdin.flush()
            line = stdout.readline()
            if not line:
                raise GPUUnfit(
                    "The process that measures the device's free memory ended: has the pod a GPU that works?"
                )
            return int(line)

        try:
            yield free
        finally:
            stdin.close()  # the meter ends with its input


def settled(free: Callable[[], int]) -> int:
    """The device's free bytes, once they have been the same for a while: a process that ended has given all back.

    The last reading, where other processes change them all the time.
    """
    started = since = time.monotonic()
    last = free()
    while (now := time.monotonic()) - since < SETTLED_SECONDS and now - started < UNSETTLED_SECONDS:
        time.sleep(POLL_SECONDS)
        found = free()
        if found != last:
            last, since = found, time.monotonic()
    return last


def _measure() -> None:
    cuda = Cuda()
    for _ in sys.stdin:
        print(cuda.free_and_total()[0], flush=True)


if __name__ == "__main__":
    _measure()
