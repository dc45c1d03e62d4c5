"""The parent of a benchmark."""

from __future__ import annotations

from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.benchmark.messages import Model, TimingAnswer, TimingRequest
from tftrt_runtime.benchmark.rounds import IN_FLIGHT
from tftrt_runtime.benchmark.rows import Place, Row
from tftrt_runtime.contract.artifact import Device, Memory, Sample, Tensor
from tftrt_runtime.contract.errors import GPUOutOfMemory, InsufficientGPUMemory, NothingConvertible
from tftrt_runtime.convert.build_log import BuildLog
from tftrt_runtime.device.tensorrt import NO_FALLBACK
from tftrt_runtime.processes import child
from tftrt_runtime.serve import limits

TF32_SINCE = 8  # the compute capability's major number of the first GPUs that have it
CPU_SECONDS = 4.0
GPU_SECONDS = 10.0  # for each of up to three ways
SERVED_SECONDS = 1.0  # at least for what a client can have, which is what is judged; for each way


def on_cpu(
    source: Path, target: Path, signature: str, inputs: tuple[Tensor, ...], sample: Sample, sizes: tuple[int, ...]
) -> tuple[Row, ...]:
    """Rows of the unconverted model in `source` and the converted one in `target`, by turns in one process."""
    models = (
        Model(way="Native", folder=str(source), signature=signature),
        Model(way="Converted", folder=str(target), signature=signature),
    )
    with log.timed("convert", "Timed the converted and the unconverted model"):
        return _time(models, inputs, sample, sizes, ("Host",), CPU_SECONDS)


def on_gpu(
    source: Path,
    target: Path,
    signature: str,
    inputs: tuple[Tensor, ...],
    sample: Sample,
    sizes: tuple[int, ...],
    device: Device,
    memory: Memory | None,
) -> tuple[Row, ...]:
    """The same with TensorRT, each in a process of its own; the unconverted model without TF32, too.

    The converted model has as many streams as a server that takes so much `memory`; the unconverted one is run as
    TensorFlow does: on one.
    """
    places: tuple[Place, ...] = ("Device", "Host")
    native = Model(way="Native", folder=str(source), signature=signature)
    converted = Model(way="Converted", folder=str(target), signature=signature)
    without = native.model_copy(update={"way": "FP32"})
    has_tf32 = int(device.computeCapability.partition(".")[0]) >= TF32_SINCE
    rows: list[Row] = []
    for model in (native, without) if has_tf32 else (native,):
        with log.timed("convert", "Timed", way=model.way):
            rows += _time((model,), inputs, sample, sizes, places, GPU_SECONDS)
    with log.timed("convert", "Timed", way=converted.way):
        try:
            streams = limits.BATCHES_IN_FLIGHT
            rows += _time((converted,), inputs, sample, sizes, places, GPU_SECONDS, IN_FLIGHT, streams, memory)
        except (GPUOutOfMemory, InsufficientGPUMemory, NothingConvertible) as error:
            # TF-TRT takes an engine that lacks memory for one more call for one that is broken.
            log.event("convert", "More calls at a time could not be timed", why=error.message)
            rows += _time((converted,), inputs, sample, sizes, places, GPU_SECONDS, IN_FLIGHT[:1])
    return tuple(rows)


def _time(
    models: tuple[Model, ...],
    inputs: tuple[Tensor, ...],
    sample: Sample,
    sizes: tuple[int, ...],
    places: tuple[Place, ...],
    seconds: float,
    in_flight: tuple[int, ...] = IN_FLIGHT,
    streams: int = 1,
    memory: Memory | None = None,
) -> tuple[Row, ...]:
    """Time models in one process, for `seconds` in all where they are timed for every number of calls in flight."""
    request = TimingRequest(
        models=models,
        tf32=all(model.way != "FP32" for model in models),
        inputs=inputs,
        sample=sample,
        batch_sizes=sizes,
        places=places,
        in_flight=in_flight,
        streams=streams,
        memory=memory,
        each_seconds=seconds / (len(IN_FLIGHT) * len(sizes) * len(places) * len(models)),
        served_seconds=SERVED_SECONDS,
        limit_seconds=seconds,
    )
    module = "tftrt_runtime.benchmark.timing"
    return child.run(module, request, TimingAnswer, "convert", NO_FALLBACK, BuildLog()).rows
