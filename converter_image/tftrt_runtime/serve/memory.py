"""How much GPU memory TensorFlow's allocator may take, and whether it got that.

The limit is one logical device of `floor(fraction x total)` MiB, the total as CUDA reports it. (A session config handed
to `enable_eager_execution` is accepted and ignored.)
"""

from __future__ import annotations

from collections.abc import MutableMapping
from decimal import ROUND_FLOOR, Decimal

from tftrt_runtime.cuda import Cuda
from tftrt_runtime.errors import GPUUnfit, InsufficientGPUMemory

MIB = 1 << 20

# Of what is free: the rest is for what lies outside of the pool, such as what TensorRT's builder tries its kernels in.
POOL_SHARE = 0.8

# Each of these would change what the limit means, or override it.
OVERRIDES = (
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_DEVICE_MIN_SYS_MEMORY_IN_MB",
    "TF_PER_DEVICE_MEMORY_LIMIT_MB",
    "TF_FORCE_UNIFIED_MEMORY",
)


def unset_overrides(environment: MutableMapping[str, str]) -> list[str]:
    """Take the overrides out of the environment; the names of those that were there."""
    return [name for name in OVERRIDES if environment.pop(name, None) is not None]


def limit_mib(fraction: str, total_bytes: int) -> int:
    """The limit in MiB, rounded down.

    Raises:
        InsufficientGPUMemory: it would be 0, which TensorFlow takes for all of the device.
    """
    limit = int((Decimal(fraction) * total_bytes / MIB).to_integral_value(ROUND_FLOOR))
    if limit < 1:
        raise InsufficientGPUMemory(
            f"A memory fraction of {fraction} of the device's {total_bytes // MIB} MiB leaves TensorFlow nothing: "
            "raise spec.gpu.memory."
        )
    return limit


def expect_free(limit: int, free_bytes: int) -> None:
    """Hold that the device has `limit` MiB free before TensorFlow reserves them.

    Raises:
        InsufficientGPUMemory: it has not; TensorFlow would shrink its pool without a word.
    """
    if free_bytes < limit * MIB:
        raise InsufficientGPUMemory(
            f"The device has {free_bytes // MIB} MiB free, less than the {limit} MiB that this server must reserve: "
            "another pod uses more of the device than its share."
        )


def expect_reserved(limit: int, free_before: int, free_after: int) -> None:
    """Hold that TensorFlow's pool took `limit` MiB from the device.

    Raises:
        InsufficientGPUMemory: it took less.
    """
    if free_before - free_after < limit * MIB:
        raise InsufficientGPUMemory(
            f"TensorFlow reserved {(free_before - free_after) // MIB} MiB of the device instead of {limit} MiB: "
            "another pod uses more of the device than its share."
        )


def reserve(fraction: str, environment: MutableMapping[str, str]) -> int:
    """Put the limit in force before anything else makes TensorFlow touch the GPU; the limit in MiB.

    Raises:
        GPUUnfit: there is no GPU.
        InsufficientGPUMemory: the device has less free than the limit.
    """
    limit = limit_mib(fraction, Cuda().free_and_total()[1])
    reserve_mib(limit, environment)
    return limit


def most_mib() -> int:
    """The largest limit in MiB that leaves room outside of the pool, where a process has the device to itself."""
    return int(Cuda().free_and_total()[0] * POOL_SHARE) // MIB


def reserve_mib(limit: int, environment: MutableMapping[str, str]) -> None:
    """As `reserve`, with the limit in MiB."""
    unset_overrides(environment)
    cuda = Cuda()
    free_before, _ = cuda.free_and_total()
    expect_free(limit, free_before)

    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        raise GPUUnfit("CUDA sees a GPU, but TensorFlow does not: its libraries do not fit the driver.")
    tf.config.set_visible_devices(devices[:1], "GPU")
    tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration(memory_limit=limit)])
    with tf.device("GPU:0"):
        tf.zeros([1]).numpy()  # the pool is reserved, whole, at the first allocation
    expect_reserved(limit, free_before, cuda.free_and_total()[0])
