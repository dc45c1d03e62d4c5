"""A child process that reads the calibration data once and sees whether it fits the model, before a GPU is used."""

from __future__ import annotations

from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.convert import shapes
from tftrt_runtime.convert.messages import CalibrationAnswer, CalibrationRequest
from tftrt_runtime.model import composites, data, saved_model
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
    batched = calls.why_no_batches(inputs, composites.found(loaded, inputs, 1)) is None
    given = request.input_shapes if batched else shapes.of_calls(inputs, request.input_shapes)
    shapes.expect_fit(inputs, given, request.uri, batched)
    folder, samples = Path(request.data.folder), request.data.samples
    size = request.data.batch_size if batched else 1
    read = 0
    with log.timed("convert", "Read the calibration data"):
        for batch in data.batches(folder, inputs, size, samples) if batched else data.calls(folder, inputs, samples):
            if read == 0:
                shapes.expect_in_range(batch, given, None, "Calibration", batched)
            read += 1
    if read < samples // size:
        raise CalibrationDataUnfit(
            f"The calibration data makes {read} whole batches of {size}, and "
            f"spec.conversion.calibration.samples asks for {request.data.samples} samples: give more data or lower it."
        )
    return CalibrationAnswer()


if __name__ == "__main__":
    child.answer(CalibrationRequest, check)
