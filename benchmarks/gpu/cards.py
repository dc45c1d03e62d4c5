"""The NVIDIA GPUs of this machine, or those of them that this process may use."""

import os
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder for each card


def cards() -> list[str]:
    """Their names as `CUDA_VISIBLE_DEVICES` takes them; the first alone where the driver does not say how many."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [str(index) for index in range(len(list(DRIVER.glob("*"))))] or ["0"]
