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
from tftrt_runtime.convert import freeze, shapes
from tftrt_runtime.convert.messages import REFERENCE, ReferenceAnswer, ReferenceRequest
from tftrt_runtime.errors import SignatureNotFound, UsageError
from tftrt_runtime.report import graphs

# What to try for dimensions that the signature leaves open: short texts and small pictures, then pictures for networks
# that need some size, then whatever takes a single element.
OPEN_DIMENSIONS = (32, 224, 1)


def refer(request: ReferenceRequest) -> ReferenceAnswer:
    """Save the answers to every batch size."""
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
        sample, outputs = _ask(function, inputs, outputs, request)
    answer = ReferenceAnswer(
        tensorflow=tf.__version__,
        inputs=inputs,
        outputs=outputs,
        sample=sample,
        kept=freeze.why_not(loaded, function),
        tables=freeze.has_tables(loaded, function),
        graph=graphs.show(function, Path(request.events)),
    )
    return (loaded, function), answer


def _ask(
    function: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], request: ReferenceRequest
) -> tuple[Sample | None, tuple[Tensor, ...]]:
    """Save the model's answer to each batch size; the sample that it took, and its outputs' shapes as far as they show.

    A model may refuse made-up input (a decoder of JPEG gets none) or answer differently each time (it draws random
    numbers): then there is nothing to compare with, and no sample.
    """
    is_open = any(-1 in tensor.shape[1:] for tensor in inputs if tensor.name not in request.input_shapes)
    for open_dimension in OPEN_DIMENSIONS if is_open else (1,):
        sample = shapes.usual(inputs, request.input_shapes, open_dimension)
        try:
            first = _answer(function, samples.batch(inputs, request.batch_sizes[0], sample))
            again = _answer(function, samples.batch(inputs, request.batch_sizes[0], sample))
        except (tf.errors.OpError, ValueError) as error:
            log.event("convert", "The model does not take this sample", shapes=sample.shapes, error=str(error)[:500])
            continue
        if not all(same(first[name], again[name]) for name in first):
            log.event("convert", "The model answers differently each time: nothing to compare with")
            return None, _ranked(outputs, first)
        for batch_size in request.batch_sizes:
            answers = _answer(function, samples.batch(inputs, batch_size, sample))
            _expect_batch(answers, batch_size, request.uri)
            np.savez(Path(request.references, REFERENCE.format(batch_size)), **_picklable(answers))
        return sample, _ranked(outputs, first)
    log.event("convert", "The model takes no made-up input: the converted one is not compared with it")
    return None, _ranked(outputs, {})


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
