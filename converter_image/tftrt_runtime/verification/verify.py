"""The parent of a comparison without a conversion: a converted model that is there already, against its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Batching, Tensor
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.convert.build_log import BuildLog
from tftrt_runtime.device.tensorrt import NO_FALLBACK
from tftrt_runtime.processes import child
from tftrt_runtime.verification import messages


def run(
    spec: JobSpec,
    source: Path,
    model: Path,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    left_out: tuple[str, ...],
    data: messages.ComparisonData | None,
    calibration: Path | None,
    workplace: Path,
) -> tuple[messages.CheckAnswer, Batching | None]:
    """Compare the SavedModel in `model` with the one in `source`, on `data` or on made-up input.

    What comes beside it is whether requests may be put together, as `reference` sees it. `spec` is what the former was
    made by, and `workplace` has room for the answers of the latter.

    Raises:
        AccuracyBelowThreshold: an answer is not finite where the unconverted model's is.
        CalibrationDataUnfit: the data does not fit the model.
        Failure: as the conversion has it.
    """
    on_gpu = spec.runtime.accelerator == "GPU"
    with TemporaryDirectory(prefix="verify-", dir=workplace) as folder:
        answer = reference(spec, source, Path(folder), Path(folder, "before"), data, calibration)
        request = messages.CheckRequest(
            model=str(model),
            signature=spec.source.signature,
            references=folder,
            compared=answer.compared,
            not_compared=answer.not_compared,
            origins=answer.origins,
            top1_output=spec.verification.top1Output,
            precision=spec.conversion.precision,
            data=data,
            events=str(Path(folder, "after")),
            inputs=inputs,
            outputs=outputs,
            left_out=left_out,
            batched=answer.batched,
            batch_sizes=answer.batch_sizes,
            samples=answer.samples,
            finite=answer.finite,
            exact=not on_gpu,
            engines=on_gpu,
            dynamic=strategy(spec, answer.batched) is not None,
        )
        return check(request), answer.batching


def strategy(spec: JobSpec, batched: bool) -> str | None:
    """The profile strategy of the engines.

    Without batches there is always one, for engines that TensorRT builds without a profile have a batch in front.
    """
    return spec.conversion.dynamicShapes or (None if batched else "Optimal")


def reference(
    spec: JobSpec,
    source: Path,
    references: Path,
    events: Path,
    data: messages.ComparisonData | None,
    calibration: Path | None,
) -> messages.ReferenceAnswer:
    """Ask the unconverted model, without TF32; its answers are in `references`.

    The folder `calibration` has the calibration data, where the spec names any and it was fetched.
    """
    named = spec.conversion.calibration
    calibrated = named and calibration and messages.ComparisonData(uri=named.uri, folder=str(calibration))
    request = messages.ReferenceRequest(
        uri=spec.source.uri,
        source=str(source),
        signature=spec.source.signature,
        tensorflow=spec.runtime.tensorflow,
        batch_sizes=spec.conversion.batchSizes,
        input_shapes=spec.conversion.inputShapes,
        # Without TensorRT there is no engine, and any size is served.
        dynamic_shapes=spec.conversion.dynamicShapes if spec.runtime.accelerator == "GPU" else None,
        references=str(references),
        data=data,
        calibration=calibrated,
        events=str(events),
        top1_output=spec.verification.top1Output,
        larger_too=named is None,
        engines=spec.runtime.accelerator == "GPU",
    )
    return child.run("tftrt_runtime.verification.reference", request, messages.ReferenceAnswer, "convert")


def check(request: messages.CheckRequest) -> messages.CheckAnswer:
    """Compare the converted model with the answers in `request.references`."""
    watched: tuple[Mapping[str, str], BuildLog] = (NO_FALLBACK, BuildLog())
    with log.timed("convert", "Checked the converted model in a fresh process"):
        return child.run("tftrt_runtime.verification.check", request, messages.CheckAnswer, "convert", *watched)
