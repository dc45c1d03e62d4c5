"""A child process that reads the calibration data once and sees whether it fits the model, before a GPU is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit, SignatureNotFound
from tftrt_runtime.contract.spec import ShapeRange
from tftrt_runtime.convert.messages import CalibrationAnswer, CalibrationRequest
from tftrt_runtime.model import composites, data, saved_model, shapes
from tftrt_runtime.model.samples import Batch
from tftrt_runtime.processes import child
from tftrt_runtime.verification import calls


def check(request: CalibrationRequest) -> CalibrationAnswer:
    """Read all batches.

    Raises:
        CalibrationDataUnfit: they do not fit the signature or `input_shapes`, or there are too few.
        NotAModel, SignatureNotFound: there is no signature to fit.
    """
    loaded = saved_model.load(Path(request.source), request.uri)
    function = saved_model.signature(loaded, request.signature, request.uri)
    inputs = saved_model.inputs(function, request.uri, request.input_shapes)
    with log.timed("convert", "Read the calibration data"):
        if calls.why_no_batches(inputs, composites.found(loaded, inputs, 1)) is not None:
            _read_calls(inputs, request)
            return CalibrationAnswer()
        try:
            _read_batches(inputs, request)
        except CalibrationDataUnfit:
            # Whether an open dimension in front is the batch's also the answers tell, which nobody has asked for yet.
            try:
                _read_calls(inputs, request)
            except (CalibrationDataUnfit, SignatureNotFound):
                pass
            else:
                return CalibrationAnswer()
            raise
    return CalibrationAnswer()


def _read_batches(inputs: tuple[Tensor, ...], request: CalibrationRequest) -> None:
    """Of a model that takes batches."""
    shapes.expect_fit(inputs, request.input_shapes, request.uri)
    given = request.data
    batches = data.batches(Path(given.folder), inputs, given.batch_size, given.samples)
    _expect_enough(batches, request.input_shapes, request, given.batch_size, batched=True)


def _read_calls(inputs: tuple[Tensor, ...], request: CalibrationRequest) -> None:
    """Of one that takes none: each sample is a call."""
    given = shapes.of_calls(inputs, request.input_shapes)
    shapes.expect_fit(inputs, given, request.uri, batched=False)
    samples = data.calls(Path(request.data.folder), inputs, request.data.samples)
    _expect_enough(samples, given, request, 1, batched=False)


def _expect_enough(
    batches: Iterable[Batch], given: Mapping[str, ShapeRange], request: CalibrationRequest, size: int, batched: bool
) -> None:
    """Hold that there are as many samples as the spec asks for, and that the first ones are as large as is served."""
    read = 0
    for batch in batches:
        if read == 0:
            shapes.expect_in_range(batch, given, None, "Calibration", batched)
        read += 1
    if read < request.data.samples // size:
        raise CalibrationDataUnfit(
            f"The calibration data makes {read} whole batches of {size}, and "
            f"spec.conversion.calibration.samples asks for {request.data.samples} samples: give more data or lower it."
        )


if __name__ == "__main__":
    child.answer(CalibrationRequest, check)
