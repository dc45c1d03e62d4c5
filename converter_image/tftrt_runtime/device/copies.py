"""Copies to the GPU by the device itself, which the processor starts and does not make."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from threading import Lock
from typing import ClassVar

from tftrt_runtime import log
from tftrt_runtime.contract.errors import Failure
from tftrt_runtime.device.cuda import Cuda

# CUstream_flags: not held up by the default stream. CUevent_flags: a wait that sleeps, and no clock.
NON_BLOCKING = 1
BLOCKING_SYNC, DISABLE_TIMING = 1, 2


class Copies:
    """A CUDA stream beside those of TensorFlow; safe to use from one thread at a time."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._stream, self._event = ctypes.c_void_p(), ctypes.c_void_p()
        with cuda.current():
            cuda.call("cuStreamCreate", ctypes.byref(self._stream), NON_BLOCKING)
            cuda.call("cuEventCreate", ctypes.byref(self._event), BLOCKING_SYNC | DISABLE_TIMING)

    def to_device(self, parts: Iterable[tuple[int, int, int]]) -> None:
        """Copy to the first address from the second one so many bytes, for each part; all are there when it returns.

        Raises:
            GPUUnfit: CUDA fails.
        """
        with self._cuda.current():
            for target, source, size in parts:
                self._cuda.call(
                    "cuMemcpyHtoDAsync_v2",
                    ctypes.c_uint64(target),
                    ctypes.c_void_p(source),
                    ctypes.c_size_t(size),
                    self._stream,
                )
            self._cuda.call("cuEventRecord", self._event, self._stream)
            self._cuda.call("cuEventSynchronize", self._event)


class PageLocked:
    """Memory that stays where it is, so that the device reads it by itself, at the speed of the bus.

    Where the system does not allow it copies go by way of the driver's own memory: slower, and right.
    """

    refused: ClassVar[bool] = False
    """Whether this process may not lock any."""

    def __init__(self) -> None:
        self._cuda: Cuda | None = None
        self._address = self._size = 0
        self._changes = Lock()

    def lock(self, cuda: Cuda, address: int, size: int) -> None:
        """Have this memory be it, in place of what was before."""
        with self._changes:
            if (address, size) == (self._address, self._size) or PageLocked.refused:
                return
            self.release()
            try:
                with cuda.current():
                    cuda.call("cuMemHostRegister_v2", ctypes.c_void_p(address), ctypes.c_size_t(size), 0)
            except Failure as error:
                PageLocked.refused = True
                log.event("serve", "Memory cannot be page-locked: the driver copies it", why=error.message)
                return
            self._cuda, self._address, self._size = cuda, address, size

    def release(self) -> None:
        """Lock nothing any more. To be called before the memory goes."""
        if self._cuda is None:
            return
        with self._cuda.current():
            self._cuda.call("cuMemHostUnregister", ctypes.c_void_p(self._address))
        self._cuda, self._address, self._size = None, 0, 0
