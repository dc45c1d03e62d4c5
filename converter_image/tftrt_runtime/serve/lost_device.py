"""A device that computes nothing any more: what is said of it, and how a process tells that dies of it."""

from __future__ import annotations

from collections.abc import Iterable

from tftrt_runtime.errors import GPULost

# TensorFlow ends its process where a stream of the device reports an error that nobody has asked after
# (tensorflow/core/common_runtime/gpu/gpu_event_mgr.cc, "Unexpected Event status"); CUDA's own names are beside it.
_SIGNS = ("CUDA_ERROR_", "Unexpected Event status", "CUDA error")


def gpu_lost(why: str) -> GPULost:
    """The failure, with the words of whoever noticed."""
    return GPULost(
        f"The GPU computes nothing for this server any more: {why}. A new process may have it back; where it has not, "
        "see the driver's messages on the node (dmesg, Xid)."
    )


def told(lines: Iterable[str]) -> str | None:
    """The first of a process's last lines that says that its device is lost; None where none does."""
    return next((line for line in lines if any(sign in line for sign in _SIGNS)), None)
