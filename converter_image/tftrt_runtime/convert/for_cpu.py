"""The parent of a conversion for machines without a GPU."""

from __future__ import annotations

from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.benchmark import rows, run
from tftrt_runtime.contract.artifact import CPU, Conversion, Device, Versions
from tftrt_runtime.contract.errors import GPUUnfit
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.convert.messages import ConvertAnswer, ConvertRequest
from tftrt_runtime.processes import child
from tftrt_runtime.report.data import TENSORBOARD, Findings
from tftrt_runtime.verification import verify
from tftrt_runtime.verification.messages import CheckRequest, ComparisonData


def product(spec: JobSpec) -> str:
    """`cpu`.

    Raises:
        GPUUnfit: the spec asks for a precision that needs TensorRT.
    """
    if spec.conversion.precision != "FP32":
        raise GPUUnfit(
            f"Precision {spec.conversion.precision} needs TensorRT and a GPU, and the runtime "
            f"{spec.runtime.name!r} has neither: set spec.conversion.precision to FP32 or choose "
            "another spec.runtime."
        )
    return CPU


def convert(spec: JobSpec, source: Path, target: Path, references: Path, data: ComparisonData | None) -> Findings:
    """Write the converted model to `target`; it is compared on `data`, or on made-up input."""
    started = log.now()
    events = target.parent / TENSORBOARD
    request = ConvertRequest(
        uri=spec.source.uri,
        source=str(source),
        signature=spec.source.signature,
        tensorflow=spec.runtime.tensorflow,
        batch_sizes=spec.conversion.batchSizes,
        input_shapes=spec.conversion.inputShapes,
        references=str(references),
        data=data,
        events=str(events / "before"),
        top1_output=spec.verification.top1Output,
        target=str(target),
    )
    with log.timed("convert", "Converted"):
        answer = child.run("tftrt_runtime.convert.cpu", request, ConvertAnswer, "convert")
    check = CheckRequest(
        model=str(target),
        signature=spec.source.signature,
        references=str(references),
        compared=answer.compared,
        not_compared=answer.not_compared,
        origins=answer.origins,
        top1_output=spec.verification.top1Output,
        data=data,
        events=str(events / "after"),
        inputs=answer.inputs,
        outputs=answer.outputs,
        left_out=answer.left_out,
        batched=answer.batched,
        batch_sizes=answer.batch_sizes,
        samples=answer.samples,
        finite=answer.finite,
        exact=True,
        engines=False,
    )
    checked = verify.check(check)
    timed = (
        ()
        if answer.sample is None
        else run.on_cpu(source, target, spec.source.signature, answer.inputs, answer.sample, answer.batch_sizes)
    )
    conversion = Conversion(
        device=Device(name=CPU, computeCapability="", memoryBytes=None, driver=""),
        versions=Versions(tensorflow=answer.tensorflow, tensorrt="", runtime=spec.runtime.name),
        engines=0,
        convertedOps=0,
        totalOps=answer.total_ops,
        batchSizes=answer.batch_sizes,
        batched=answer.batched,
        inputs=answer.inputs,
        outputs=answer.outputs,
        leftOut=answer.left_out,
        sample=answer.sample,
        startedAt=started,
        verification=checked.verification,
        benchmark=rows.summary(timed),
        batching=answer.batching,
    )
    return Findings(
        conversion=conversion, comparisons=checked.comparisons, rows=timed, before=answer.graph, after=checked.graph
    )
