"""A device that computes nothing any more: what is said of it, and how a process tells that dies of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tftrt_runtime.contract.errors import GPULost

# TensorFlow ends its process where a stream of the device reports an error that nobody has asked after
# (tensorflow/core/common_runtime/device/device_event_mgr.cc, "Unexpected Event status"); CUDA's own names are beside.
_SIGNS = ("CUDA_ERROR_", "Unexpected Event status", "CUDA error")
# When and where a line of TensorFlow's log was written: `2026-11-29 19:40:18.431444: E tensorflow/core/x.cc:29] `.
_WRITTEN = re.compile(r"^[-0-9]+ [:.0-9]+: [A-Z] \S+:\d+\] ")


def gpu_lost(why: str) -> GPULost:
    """The failure, with the words of whoever noticed."""
    return GPULost(
        f"The GPU computes nothing for this server any more: {why}. A new process may have it back; where it has not, "
        "see the driver's messages on the node (dmesg, Xid)."
    )


def told(lines: Iterable[str]) -> str | None:
    """The first of a process's last lines that says that its device is lost; None where none does."""
    return next((_WRITTEN.sub("", line) for line in lines if any(sign in line for sign in _SIGNS)), None)
