"""GPU memory: which fraction of the device TensorFlow's allocator may take in each inference pod.

`per_process_gpu_memory_fraction = memory TensorFlow's allocator may take / total memory of the device`
(tensorflow/core/protobuf/config.proto, GPUOptions). TensorRT's workspace must fit beside it: the rule of the
TensorFlow 1.7 announcement, where a 12 GB device with a workspace of 4 GB gives 0.67.
"""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from ..api.gpu import GPU, MemoryPolicy
from ..api.quantity import quantity_bytes

PROCESS_OVERHEAD = 1200 * 2**20
"""Bytes that one TensorFlow process takes outside its pool (CUDA context, cuDNN, cuBLAS), whatever the fraction.

Measured on an H100 80GB with TensorFlow 2.14.1 and TensorRT 8.5.3.1: 538 MiB for an FP16 engine, 672 MiB for INT8,
1,054 MiB unconverted. This is the largest of them with a margin.
"""

_PLACES = Decimal("0.0001")
"""The step of a fraction, and the smallest: TensorFlow takes 0 for all of the device."""
_HEADROOM = Decimal("1.1")


@dataclass(frozen=True, slots=True)
class MemoryGrant:
    """What each inference pod's TensorFlow may take of its device."""

    fraction: Decimal
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryShortage:
    """Why no fraction can be given, with the sum written out."""

    message: str


@dataclass(frozen=True, slots=True)
class MeasuredPool:
    """What the converter measured of one server, in bytes: the pool's peak, and what lies outside the pool."""

    peak: int
    overhead: int


def memory_grant(
    gpu: GPU, max_workspace_size: int, device_memory: int, measured: MeasuredPool | None
) -> MemoryGrant | MemoryShortage:
    """Return the fraction of a device of `device_memory` bytes, floored to four decimals so that it never exceeds.

    What would be floored to 0 is no grant; the CRD admits no such `memoryFraction`, and did once.
    An explicit `memoryFraction` is taken where it leaves room for what lies outside the pool: what was measured, or in
    what `memory` allows what is assumed. Beside `memory` or `Measured` the CRD admits none; it wins in what was there
    before that rule.
    `ReserveWorkspace` gives `(memory - reserve) / device`, where `reserve` is the larger of `max_workspace_size`
    (bytes) and what lies outside TensorFlow's pool, and `memory` defaults to the device.
    `Measured` gives `peak x 1.1 / device`. However it comes about, the pool must hold the measured peak.
    """
    grant = _granted(gpu, max_workspace_size, device_memory, measured)
    if isinstance(grant, MemoryGrant) and measured is not None and grant.limit_bytes < measured.peak:
        return MemoryShortage(
            f"the fraction {grant.fraction} of {device_memory} bytes is {grant.limit_bytes},"
            f" but the model needs {measured.peak} at its largest batch:"
            " raise gpu.memory or gpu.memoryFraction, or lower conversion.maxBatchSize"
        )
    return grant


def _granted(
    gpu: GPU, max_workspace_size: int, device_memory: int, measured: MeasuredPool | None
) -> MemoryGrant | MemoryShortage:
    memory = device_memory if gpu.memory is None else quantity_bytes(gpu.memory)
    if memory > device_memory:
        return MemoryShortage(
            f"gpu.memory asks for {memory} bytes, but the device has {device_memory}: lower gpu.memory"
        )
    overhead = measured.overhead if measured is not None else PROCESS_OVERHEAD
    if gpu.memory_fraction is not None:
        # Of a fraction alone nothing is assumed: whoever names it knows the device, and may know the model.
        known = measured is not None or gpu.memory is not None
        return _explicit_grant(gpu, memory, device_memory, overhead if known else 0)
    if gpu.memory_policy is MemoryPolicy.MEASURED:
        return _measured_grant(memory, device_memory, measured)
    reserve = max(max_workspace_size, overhead)
    if memory <= reserve:
        return MemoryShortage(
            f"{memory} bytes of device memory less {reserve} reserved"
            f" (the larger of maxWorkspaceSize {max_workspace_size} and {overhead} outside TensorFlow's pool)"
            f" leave {memory - reserve}: raise gpu.memory or lower conversion.maxWorkspaceSize"
        )
    grant = _grant(Decimal(memory - reserve) / Decimal(device_memory), device_memory)
    return grant or MemoryShortage(
        f"{memory} bytes of device memory less {reserve} reserved leave {memory - reserve}, which is less than"
        f" {_PLACES} of the device's {device_memory}: raise gpu.memory or lower conversion.maxWorkspaceSize"
    )


def _explicit_grant(gpu: GPU, memory: int, device_memory: int, overhead: int) -> MemoryGrant | MemoryShortage:
    """Return what the spec itself names, if what lies outside the pool fits beside it."""
    grant = _grant(Decimal(str(gpu.memory_fraction)), device_memory)
    if grant is None:
        return MemoryShortage(
            f"gpu.memoryFraction {gpu.memory_fraction} is less than {_PLACES}, the smallest that can be given: raise it"
        )
    if grant.limit_bytes + overhead > memory:
        of = "the device has" if gpu.memory is None else "gpu.memory is"
        return MemoryShortage(
            f"gpu.memoryFraction {gpu.memory_fraction} gives TensorFlow {grant.limit_bytes} bytes, and a server takes"
            f" {overhead} beside them, but {of} {memory}: lower gpu.memoryFraction"
            + ("" if gpu.memory is None else ", or raise or drop gpu.memory")
        )
    return grant


def _measured_grant(memory: int, device_memory: int, measured: MeasuredPool | None) -> MemoryGrant | MemoryShortage:
    if measured is None:
        return MemoryShortage(
            "gpu.memoryPolicy is Measured, but the record of this engine has no measurement:"
            " set memoryPolicy to ReserveWorkspace"
        )
    pool = Decimal(measured.peak) * _HEADROOM
    if pool + measured.overhead > memory:
        return MemoryShortage(
            f"a measured peak of {measured.peak} bytes and a tenth more, with {measured.overhead} outside the pool,"
            f" makes {int(pool) + measured.overhead}, but gpu.memory is {memory}: raise it, or lower maxBatchSize"
        )
    # One step up, so that flooring never takes from the measured peak what it needs.
    return _of(min(pool / Decimal(device_memory) + _PLACES, Decimal(1)), device_memory)


def _grant(fraction: Decimal, device_memory: int) -> MemoryGrant | None:
    """Return what a fraction gives; None where that is nothing."""
    return _of(fraction, device_memory) if fraction >= _PLACES else None


def _of(fraction: Decimal, device_memory: int) -> MemoryGrant:
    floored = fraction.quantize(_PLACES, ROUND_FLOOR)
    return MemoryGrant(fraction=floored, limit_bytes=int(floored * device_memory))
