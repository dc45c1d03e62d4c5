"""How much GPU memory TensorFlow's allocator may take, and whether it got that, on a device that others may use, too.

The limit is `floor(fraction x total)` MiB, the total as CUDA reports it, in logical devices: one, or one for each batch
that is worked on at a time where each of them still holds all that the model needs. (A session config handed to
`enable_eager_execution` is accepted and ignored.)
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from decimal import ROUND_FLOOR, Decimal

from tftrt_runtime.contract.errors import GPUUnfit, InsufficientGPUMemory
from tftrt_runtime.device.cuda import Cuda

MIB = 1 << 20

# What a further logical device takes outside of the pools: 6 to 7 MiB on an H100 (docs/decisions/0013).
STREAM_MIB = 16

# Each of these would change what the limit means, or override it.
OVERRIDES = (
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_DEVICE_MIN_SYS_MEMORY_IN_MB",
    "TF_PER_DEVICE_MEMORY_LIMIT_MB",
    "TF_FORCE_UNIFIED_MEMORY",
)


def mib(size: int) -> int:
    """So many bytes in MiB, rounded up."""
    return -(-size // MIB)


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


def expect_free(limit: int, free_bytes: int, total_bytes: int) -> None:
    """Hold that the device has `limit` MiB free before TensorFlow reserves them.

    Raises:
        InsufficientGPUMemory: it has not; TensorFlow would shrink its pool without a word.
    """
    if free_bytes < limit * MIB:
        total, taken = total_bytes // MIB, mib(total_bytes - free_bytes)
        raise InsufficientGPUMemory(
            f"The device has {free_bytes // MIB} MiB free, less than the {limit} MiB that this server must reserve: "
            f"{taken} MiB that are taken, this process's CUDA context included, and {limit} MiB make "
            f"{taken + limit} MiB of {total} MiB. The spec.gpu.memory of all pods on a device must fit it together."
        )


def pools(limit: int, needed: int, most: int) -> tuple[int, ...]:
    """The limit as up to `most` pools of one size in MiB, as many as can have what is `needed`, and at least one.

    What each further pool's device takes outside of it is taken off, so that all stay within the limit together.
    """
    for count in range(most, 1, -1):
        each = (limit - (count - 1) * STREAM_MIB) // count
        if each >= max(needed, 1):
            return (each,) * count
    return (limit,)


def free_mib() -> int:
    """What the device has free."""
    return Cuda().free_and_total()[0] // MIB


def reserve(limits: Sequence[int], environment: MutableMapping[str, str]) -> tuple[str, ...]:
    """Put a limit in force for each logical device, and have its pool take all of it now; the devices' names.

    Raises:
        GPUUnfit: there is no GPU.
        InsufficientGPUMemory: the device has less free than all limits together.
    """
    unset_overrides(environment)
    expect_free(sum(limits), *Cuda().free_and_total())
    names = _split(limits)
    for name, limit in zip(names, limits, strict=True):
        _hold(name, limit)
    return names


def _split(limits: Sequence[int]) -> tuple[str, ...]:
    """Have TensorFlow make a logical device of each limit, before anything else makes it touch the GPU; their names.

    Raises:
        GPUUnfit: there is no GPU.
    """
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        raise GPUUnfit("CUDA sees a GPU, but TensorFlow does not: its libraries do not fit the driver.")
    tf.config.set_visible_devices(devices[:1], "GPU")
    logical = [tf.config.LogicalDeviceConfiguration(memory_limit=one) for one in limits]
    tf.config.set_logical_device_configuration(devices[0], logical)
    return tuple(f"/GPU:{index}" for index in range(len(limits)))


def _hold(name: str, limit: int) -> None:
    """Have the pool of a logical device allocated, and hold that it is as large as its limit.

    Asking the device what is free would not tell: other processes take and return memory at the same time.

    Raises:
        InsufficientGPUMemory: TensorFlow got less, and made the pool smaller without a word.
    """
    import tensorflow as tf

    device = name.removeprefix("/")
    with tf.device(name):
        tf.zeros([1]).numpy()  # the pool is allocated, whole, at the first allocation
        taken = mib(int(tf.config.experimental.get_memory_info(device)["current"]))
        try:
            tf.raw_ops.Empty(shape=[max(limit - taken, 0), MIB], dtype=tf.uint8)  # nothing is written to it
        except tf.errors.ResourceExhaustedError as error:
            raise InsufficientGPUMemory(
                f"TensorFlow could not reserve {limit} MiB of the device: another pod uses more of it than its share."
            ) from error
    tf.config.experimental.reset_memory_stats(device)
