"""The unconverted model: its signature, and what it answers to seeded input. Imports TensorFlow.

As a child process of its own it answers in true FP32 (without TF32), on the GPU that converts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime import child, log, samples, saved_model
from tftrt_runtime.artifact import Sample, Tensor
from tftrt_runtime.convert import comparisons, freeze, shapes
from tftrt_runtime.convert.messages import REFERENCE, ReferenceAnswer, ReferenceRequest
from tftrt_runtime.errors import CalibrationDataUnfit, SignatureNotFound, UsageError
from tftrt_runtime.report import graphs

# What to try for dimensions that the signature leaves open: short texts and small pictures, then pictures for networks
# that need some size, then whatever takes a single element.
OPEN_DIMENSIONS = (32, 224, 1)

# They lie in the workspace while the converted model is compared with them.
MAX_REFERENCE_BYTES = 2 << 30


def refer(request: ReferenceRequest) -> ReferenceAnswer:
    """Save the answers to every batch."""
    # A process-wide switch: what converts must have it as TensorFlow does, and so is another process.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return ask(request)[1]


def ask(request: ReferenceRequest) -> tuple[tuple[Any, Any], ReferenceAnswer]:
    """The loaded model and its signature's function; what it answered is in `request.references`.

    Raises:
        UsageError: this is not the runtime's TensorFlow.
        NotAModel, SignatureNotFound: it cannot be loaded or served.
    """
    if tf.__version__ != request.tensorflow:
        raise UsageError(
            f"The spec's runtime has TensorFlow {request.tensorflow}, but this image has {tf.__version__}: "
            "the operator's runtime catalogue names the wrong image or the wrong version."
        )
    with log.timed("convert", "Loaded the unconverted model"):
        loaded = saved_model.load(Path(request.source), request.uri)
    function = saved_model.signature(loaded, request.signature, request.uri)
    inputs = saved_model.inputs(function, request.uri)
    outputs = saved_model.outputs(function, request.uri)
    shapes.expect_fit(inputs, request.input_shapes, request.uri)
    with log.timed("convert", "Asked the unconverted model"):
        sample, outputs, compared = _ask(function, inputs, outputs, request)
    answer = ReferenceAnswer(
        tensorflow=tf.__version__,
        inputs=inputs,
        outputs=outputs,
        sample=sample,
        compared=compared,
        kept=freeze.why_not(loaded, function),
        tables=freeze.has_tables(loaded, function),
        graph=graphs.show(function, Path(request.events)),
    )
    return (loaded, function), answer


def _ask(
    function: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], request: ReferenceRequest
) -> tuple[Sample | None, tuple[Tensor, ...], int]:
    """The sample that the model takes, its outputs' shapes as far as they show, and how many answers were saved.

    A model may refuse made-up input (a decoder of JPEG gets none) or answer differently each time (it draws random
    numbers): then there is no sample, and for the latter nothing to compare with.
    """
    sample = _sample(function, inputs, request)
    first: samples.Batch = {}
    compared = written = 0
    for batch in comparisons.batches(inputs, request.batch_sizes, sample, request.data):
        answers = _answer_to_data(function, batch, request) if request.data else _answer(function, batch)
        if compared == 0:
            first, again = answers, _answer(function, batch)
            if not all(same(first[name], again[name]) for name in first):
                log.event("convert", "The model answers differently each time: nothing to compare with")
                return None, _ranked(outputs, first), 0
        _expect_batch(answers, comparisons.size(batch), request.uri)
        np.savez(Path(request.references, REFERENCE.format(compared)), **_picklable(answers))
        compared += 1
        written += sum(answer.nbytes for answer in answers.values())
        if written > MAX_REFERENCE_BYTES:
            log.event("convert", "The data's answers are many: the rest of it is not compared", batches=compared)
            break
    return sample, _ranked(outputs, first), compared


def _sample(function: Any, inputs: tuple[Tensor, ...], request: ReferenceRequest) -> Sample | None:
    """A sample that the model takes; None where it takes no made-up input."""
    is_open = any(-1 in tensor.shape[1:] for tensor in inputs if tensor.name not in request.input_shapes)
    for open_dimension in OPEN_DIMENSIONS if is_open else (1,):
        sample = shapes.usual(inputs, request.input_shapes, open_dimension)
        try:
            _answer(function, samples.batch(inputs, request.batch_sizes[0], sample))
        except (tf.errors.OpError, ValueError) as error:
            log.event("convert", "The model does not take this sample", shapes=sample.shapes, error=str(error)[:500])
        else:
            return sample
    log.event("convert", "The model takes no made-up input")
    return None


def _answer_to_data(function: Any, batch: samples.Batch, request: ReferenceRequest) -> samples.Batch:
    """The answer to a batch of the user's own.

    Raises:
        CalibrationDataUnfit: the model does not take it.
    """
    shapes.expect_in_range(batch, request.input_shapes, "Verification")
    try:
        return _answer(function, batch)
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        raise CalibrationDataUnfit(
            f"The unconverted model does not take the verification data: {child.one_line(error)}"
        ) from error


def _answer(function: Any, batch: samples.Batch) -> samples.Batch:
    return {
        name: np.asarray(tensor.numpy())
        for name, tensor in function(**{name: tf.constant(value) for name, value in batch.items()}).items()
    }


def same(one: Any, other: Any) -> bool:
    """Whether two arrays are equal up to rounding."""
    if one.shape != other.shape:
        return False
    if one.dtype.kind == "f":
        return bool(np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True))
    return bool(np.array_equal(one, other))


def _expect_batch(answers: samples.Batch, batch_size: int, uri: str) -> None:
    for name, value in answers.items():
        if value.ndim == 0 or value.shape[0] != batch_size:
            raise SignatureNotFound(
                f"Output {name!r} of {uri} has shape {list(value.shape)} for a batch of {batch_size}: its first "
                "dimension must be the batch, so that each request of a batch gets its own part."
            )


def _ranked(outputs: Iterable[Tensor], answers: samples.Batch) -> tuple[Tensor, ...]:
    """Outputs of unknown rank get the rank that an answer showed; where none did, one dimension beside the batch."""
    return tuple(
        tensor
        if tensor.shape
        else tensor.model_copy(update={"shape": (-1,) * (answers[tensor.name].ndim if tensor.name in answers else 2)})
        for tensor in outputs
    )


def _picklable(answers: samples.Batch) -> dict[str, Any]:
    """The answers by position: a tensor's name may be none that a file in an archive can have."""
    return {f"output{index}": answers[name] for index, name in enumerate(sorted(answers))}


if __name__ == "__main__":
    child.answer(ReferenceRequest, refer)
