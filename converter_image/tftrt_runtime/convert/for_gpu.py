"""The parent of a conversion with TensorRT: each step in a process of its own, whose switches are no other's."""

from __future__ import annotations

from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.benchmark import rows, run
from tftrt_runtime.contract.artifact import Conversion, Device, Memory, Sample, Versions
from tftrt_runtime.contract.errors import GPUUnfit, NothingConvertible
from tftrt_runtime.contract.spec import JobSpec, Runtime
from tftrt_runtime.convert.build_log import BuildLog
from tftrt_runtime.convert.layer_log import VERBOSE, LayerLog
from tftrt_runtime.convert.messages import CalibrationData, EnginesAnswer, EnginesRequest
from tftrt_runtime.device import cuda, server_memory
from tftrt_runtime.device.messages import DevicesAnswer, DevicesRequest, MeasureAnswer, MeasureRequest
from tftrt_runtime.device.tensorrt import NO_FALLBACK
from tftrt_runtime.loading import sources
from tftrt_runtime.model import shapes
from tftrt_runtime.processes import child
from tftrt_runtime.report.data import TENSORBOARD, EngineLayers, Findings
from tftrt_runtime.verification import verify
from tftrt_runtime.verification.messages import CheckAnswer, CheckRequest, ComparisonData, ReferenceAnswer


def look(spec: JobSpec, seen: DevicesAnswer | None = None) -> DevicesAnswer:
    """The device to convert on, where it was not `seen` already.

    Raises:
        GPUUnfit: there is none, or one that is newer than the runtime's TensorRT, or it is not that TensorRT.
    """
    seen = seen or child.run("tftrt_runtime.device.devices", DevicesRequest(), DevicesAnswer, "convert")
    if not seen.gpus:
        raise GPUUnfit(
            f"The runtime {spec.runtime.name!r} converts on a GPU, and TensorFlow sees none in this container: "
            "check spec.gpu.resourceName and the node's driver."
        )
    wanted = spec.runtime.tensorrt
    if not seen.tensorrt or not f"{wanted}.".startswith(f"{seen.tensorrt}."):
        raise GPUUnfit(
            f"The runtime {spec.runtime.name!r} has TensorRT {wanted}, and this image has {seen.tensorrt or 'none'}: "
            "the operator's runtime catalogue names the wrong image or the wrong version."
        )
    expect_known(spec.runtime, seen.name, seen.compute_capability)
    return seen


def expect_known(runtime: Runtime, device: str, compute_capability: str) -> None:
    """Hold that the device is no newer than what the runtime's TensorRT knows, before an hour is spent on it.

    Raises:
        GPUUnfit: it is.
    """
    newest = runtime.maxComputeCapability
    if newest is not None and _version(compute_capability) > _version(newest):
        raise GPUUnfit(
            f"This node's GPU is a {device}, of compute capability {compute_capability}, and TensorRT "
            f"{runtime.tensorrt} of the runtime {runtime.name!r} knows GPUs up to {newest}: set spec.gpu.product or "
            "spec.pods.nodeSelector to nodes with an older one, or spec.runtime to one that knows it."
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def look_for(spec: JobSpec, device: Device) -> None:
    """See whether engines that were built on `device` run on the one that is here.

    Raises:
        GPUUnfit: there is none, or not the runtime's TensorRT.
        EngineDeviceMismatch: it is another kind of device.
    """
    cuda.expect_product(cuda.product(device.name), look(spec).name)


def convert(
    spec: JobSpec,
    device: DevicesAnswer,
    ranges: Path,
    source: Path,
    target: Path,
    references: Path,
    data: ComparisonData | None,
) -> Findings:
    """Write the converted model with its engines to `target`.

    The folder `ranges` has the calibration data; the model is compared on `data`, or on made-up input.
    """
    started = log.now()
    calibration = sources.calibration(spec, source, ranges)
    events = target.parent / TENSORBOARD
    # While the unconverted model is asked, another process with TensorFlow gets ready to tell all that TensorRT says.
    with child.prepared("convert", {**NO_FALLBACK, **VERBOSE}, LayerLog()):
        model = verify.reference(spec, source, references, events / "before", data, ranges)
        sample = expect_convertible(model, spec.source.uri)
        numeric = _numeric(spec, model, source, references)
        built, layers = _build(spec, model, calibration, numeric, target)
    checked = _check(spec, model, target, references, events / "after", data)
    memory = _measure(model, target)
    found = Device(
        name=device.name,
        computeCapability=device.compute_capability,
        memoryBytes=device.memory_bytes,
        driver=device.driver,
    )
    sizes = model.batch_sizes
    timed = run.on_gpu(source, target, spec.source.signature, model.inputs, sample, sizes, found, memory)
    conversion = Conversion(
        device=found,
        versions=Versions(tensorflow=model.tensorflow, tensorrt=device.tensorrt, runtime=spec.runtime.name),
        engines=built.engines,
        convertedOps=built.converted_ops,
        totalOps=built.total_ops,
        batchSizes=sizes,
        batched=model.batched,
        inputs=model.inputs,
        outputs=model.outputs,
        leftOut=model.left_out,
        sample=model.sample,
        dynamicShapes=verify.strategy(spec, model.batched),
        inputShapes=model.input_shapes,
        startedAt=started,
        verification=checked.verification,
        memory=memory,
        benchmark=rows.summary(timed),
        segments=built.segments,
        batching=model.batching,
    )
    return Findings(
        conversion=conversion,
        comparisons=checked.comparisons,
        rows=timed,
        before=model.graph,
        after=checked.graph,
        layers=layers,
        rewrites=built.rewrites,
        remarks=built.remarks,
    )


def _numeric(spec: JobSpec, model: ReferenceAnswer, source: Path, references: Path) -> Path:
    """The folder of the SavedModel that TF-TRT takes: the source, or one that is made of it beside `references`.

    Raises:
        SignatureNotFound: its inputs leave open what engines need to know.
    """
    shapes.expect_closed(model.inputs, model.input_shapes, spec.source.uri, model.batched)
    numeric = source
    if model.unranked:
        unranked = [tensor for tensor in model.inputs if tensor.name in model.unranked]
        numeric = sources.ranked(spec, numeric, references.parent / "ranked", unranked)
    if model.tables:
        numeric = sources.frozen(spec, numeric, references.parent / "frozen")
    return numeric


def expect_convertible(model: ReferenceAnswer, uri: str) -> Sample:
    """The sample that a model takes, once it was found that there can be engines of it, and before any is built.

    Raises:
        NothingConvertible: it draws random numbers, cannot be frozen, or takes no input that engines are built with.
    """
    # First: what draws them may also keep what it drew last, and that it cannot be frozen then says nothing of why.
    if model.not_compared == "AnswersDiffer":
        raise NothingConvertible(
            f"{uri} answers the same input differently each time, and engines are checked by its answers: "
            "export it for inference, without layers that draw random numbers, such as augmentation or dropout."
        )
    if model.kept is not None:
        raise NothingConvertible(
            f"{uri} cannot be frozen for TensorRT: {model.kept}. Export the numeric part of it alone."
        )
    if model.sample is None:
        raise NothingConvertible(
            f"{uri} takes no made-up input, and engines are built and checked by running it. Export the "
            "numeric part of it alone."
        )
    return model.sample


def product(device: DevicesAnswer) -> str:
    """The folder of the store for this kind of device."""
    return cuda.product(device.name)


def _build(
    spec: JobSpec,
    model: ReferenceAnswer,
    calibration: CalibrationData | None,
    source: Path,
    target: Path,
) -> tuple[EnginesAnswer, tuple[EngineLayers, ...]]:
    """The engines, and what TensorRT told of each."""
    request = EnginesRequest(
        source=str(source),
        signature=spec.source.signature,
        target=str(target),
        frozen=model.tables,
        inputs=model.inputs,
        samples=model.samples,
        precision=spec.conversion.precision,
        max_workspace_size_bytes=spec.conversion.maxWorkspaceSizeBytes,
        minimum_segment_size=spec.conversion.minimumSegmentSize,
        batched=model.batched,
        batch_sizes=model.batch_sizes,
        dynamic_shapes=verify.strategy(spec, model.batched),
        calibration=calibration,
    )
    told = LayerLog(request.calibrated)
    module = "tftrt_runtime.convert.engines"
    with log.timed("convert", "Converted"):
        answer = child.run(module, request, EnginesAnswer, "convert", {**NO_FALLBACK, **VERBOSE}, told)
    for engine in told.engines:
        log.event("convert", "Built an engine", engine=engine.engine, shapes=engine.shapes, layers=len(engine.layers))
    return answer, told.engines


def _check(
    spec: JobSpec,
    model: ReferenceAnswer,
    target: Path,
    references: Path,
    events: Path,
    data: ComparisonData | None,
) -> CheckAnswer:
    request = CheckRequest(
        model=str(target),
        signature=spec.source.signature,
        references=str(references),
        compared=model.compared,
        not_compared=model.not_compared,
        origins=model.origins,
        top1_output=spec.verification.top1Output,
        precision=spec.conversion.precision,
        data=data,
        events=str(events),
        inputs=model.inputs,
        outputs=model.outputs,
        left_out=model.left_out,
        batched=model.batched,
        batch_sizes=model.batch_sizes,
        samples=model.samples,
        finite=model.finite,
        exact=False,
        engines=True,
        dynamic=verify.strategy(spec, model.batched) is not None,
    )
    return verify.check(request)


def _measure(model: ReferenceAnswer, target: Path) -> Memory:
    """The memory that a server takes."""

    def run(limit_mib: int | None) -> server_memory.Measured:
        request = MeasureRequest(
            model=str(target),
            inputs=model.inputs,
            batch_sizes=model.batch_sizes,
            sample=model.samples[-1],
            limit_mib=limit_mib,
        )
        module = "tftrt_runtime.device.measure"
        before = free()
        answer = child.run(module, request, MeasureAnswer, "convert", NO_FALLBACK, BuildLog())
        taken, returned = before - answer.free, cuda.settled(free) - answer.free
        return server_memory.Measured(answer.weights, answer.peak, taken, returned)

    with log.timed("convert", "Measured GPU memory in fresh processes"), cuda.meter() as free:
        return server_memory.measured(run)
