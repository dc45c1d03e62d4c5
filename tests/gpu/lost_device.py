"""Loses the device of the process that imports this in place of `processes.timers`, once the file `LOSE_DEVICE` exists.

A kernel that does nothing but trap leaves an error in this process's CUDA context that sticks: every later call of it
fails, as after an illegal address or an uncorrectable memory error. Other processes on the device see nothing of it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from pathlib import Path

PTX = b"""
.version 6.0
.target sm_52
.address_size 64
.visible .entry lose() { trap; }
"""
POLL_SECONDS = 0.05


def set_slack() -> None:
    """What the module in whose place this one is does; here it begins to wait for the file."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    file = Path(os.environ["LOSE_DEVICE"])
    while not file.exists():
        time.sleep(POLL_SECONDS)
    driver = ctypes.CDLL("libcuda.so.1")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    module, kernel = ctypes.c_void_p(), ctypes.c_void_p()
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)  # TensorFlow's own
    driver.cuCtxPushCurrent_v2(context)
    codes = [
        driver.cuModuleLoadData(ctypes.byref(module), PTX),
        driver.cuModuleGetFunction(ctypes.byref(kernel), module, b"lose"),
        driver.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, None, None, None),
        driver.cuCtxSynchronize(),
    ]
    file.with_suffix(".codes").write_text(" ".join(map(str, codes)))
