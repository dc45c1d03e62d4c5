"""A child process that reads the calibration data once and sees whether it fits the model, before a GPU is used."""

from __future__ import annotations

from pathlib import Path

from tftrt_runtime import log
from tftrt_runtime.contract.errors import CalibrationDataUnfit
from tftrt_runtime.convert import shapes
from tftrt_runtime.convert.messages import CalibrationAnswer, CalibrationRequest
from tftrt_runtime.model import data, saved_model
from tftrt_runtime.processes import child


def check(request: CalibrationRequest) -> CalibrationAnswer:
    """Read all batches.

    Raises:
        CalibrationDataUnfit: they do not fit the signature or `input_shapes`, or there are too few.
        NotAModel, SignatureNotFound: there is no signature to fit.
    """
    function = saved_model.signature(
        saved_model.load(Path(request.source), request.uri), request.signature, request.uri
    )
    inputs = saved_model.inputs(function, request.uri)
    shapes.expect_fit(inputs, request.input_shapes, request.uri)
    wanted = request.data.samples // request.data.batch_size
    read = 0
    with log.timed("convert", "Read the calibration data"):
        for batch in data.batches(Path(request.data.folder), inputs, request.data.batch_size, request.data.samples):
            if read == 0:
                shapes.expect_in_range(batch, request.input_shapes, None, "Calibration")
            read += 1
    if read < wanted:
        raise CalibrationDataUnfit(
            f"The calibration data makes {read} whole batches of {request.data.batch_size}, and "
            f"spec.conversion.calibration.samples asks for {request.data.samples} samples: give more data or lower it."
        )
    return CalibrationAnswer()


if __name__ == "__main__":
    child.answer(CalibrationRequest, check)
