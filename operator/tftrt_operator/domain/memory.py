"""GPU memory: which fraction of the device TensorFlow's allocator may take in each inference pod.

`per_process_gpu_memory_fraction = memory TensorFlow's allocator may take / total memory of the device`
(tensorflow/core/protobuf/config.proto, GPUOptions). TensorRT's workspace must fit beside it: the rule of the
TensorFlow 1.7 announcement, where a 12 GB device with a workspace of 4 GB gives 0.67.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from ..api.gpu import GPU
from ..api.quantity import quantity_bytes

PROCESS_OVERHEAD = 1200 * 2**20
"""Bytes that one TensorFlow process takes outside its pool (CUDA context, cuDNN, cuBLAS), whatever the fraction.

Measured on an H100 80GB with TensorFlow 2.14.1 and TensorRT 8.5.3.1: 538 MiB for an FP16 engine, 672 MiB for INT8,
1,054 MiB unconverted. This is the largest of them with a margin.
"""

_PLACES = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class MemoryGrant:
    """What each inference pod's TensorFlow may take of its device."""

    fraction: Decimal
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryShortage:
    """Why no fraction can be given, with the sum written out."""

    message: str


def memory_grant(gpu: GPU, max_workspace_size: int, device_memory: int) -> MemoryGrant | MemoryShortage:
    """Return the fraction of a device of `device_memory` bytes, floored to four decimals so that it never exceeds.

    An explicit `memoryFraction` wins. Otherwise `(memory - reserve) / device`, where `reserve` is the larger of
    `max_workspace_size` (bytes) and what lies outside TensorFlow's pool, and `memory` defaults to the device.
    """
    if gpu.memory_fraction is not None:
        return _grant(Decimal(gpu.memory_fraction), device_memory)
    memory = device_memory if gpu.memory is None else quantity_bytes(gpu.memory)
    if memory > device_memory:
        return MemoryShortage(
            f"gpu.memory asks for {memory} bytes, but the device has {device_memory}: lower gpu.memory"
        )
    reserve = max(max_workspace_size, PROCESS_OVERHEAD)
    if memory <= reserve:
        return MemoryShortage(
            f"{memory} bytes of device memory less {reserve} reserved"
            f" (the larger of maxWorkspaceSize {max_workspace_size} and {PROCESS_OVERHEAD} outside TensorFlow's pool)"
            f" leave {memory - reserve}: raise gpu.memory or lower conversion.maxWorkspaceSize"
        )
    return _grant(Decimal(memory - reserve) / Decimal(device_memory), device_memory)


def _grant(fraction: Decimal, device_memory: int) -> MemoryGrant:
    floored = max(fraction.quantize(_PLACES, ROUND_FLOOR), _PLACES)
    return MemoryGrant(fraction=floored, limit_bytes=int(floored * device_memory))
