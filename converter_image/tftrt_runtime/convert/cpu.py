"""A child process that converts for machines without a GPU: the graph frozen and optimised, no TensorRT."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime import child, log, samples, saved_model
from tftrt_runtime.artifact import Sample, Tensor
from tftrt_runtime.convert import freeze
from tftrt_runtime.convert.messages import REFERENCE, ConvertAnswer, ConvertRequest
from tftrt_runtime.errors import SignatureNotFound, UsageError

# What to try for dimensions that the signature leaves open: short texts and small pictures, then pictures for networks
# that need some size, then whatever takes a single element.
OPEN_DIMENSIONS = (32, 224, 1)


def convert(request: ConvertRequest) -> ConvertAnswer:
    """Write the converted SavedModel and the unconverted model's answers."""
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
    with log.timed("convert", "Asked the unconverted model"):
        sample, outputs = _ask(function, inputs, outputs, request)
    kept = freeze.why_not(function)
    if kept is None:
        with log.timed("convert", "Froze and optimised the graph"):
            frozen = freeze.freeze(function)
            total_ops = freeze.count(frozen.graph)
            root = tf.Module()
            root.converted = freeze.as_function(frozen, function)
            tf.saved_model.save(root, request.target, signatures={request.signature: root.converted})
    else:
        log.event("convert", "The model is kept as it is", why=kept)
        total_ops = freeze.count(function.graph.as_graph_def())
        tf.saved_model.save(loaded, request.target, signatures={request.signature: function})
    return ConvertAnswer(
        tensorflow=tf.__version__, inputs=inputs, outputs=outputs, total_ops=total_ops, kept=kept, sample=sample
    )


def _ask(
    function: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], request: ConvertRequest
) -> tuple[Sample | None, tuple[Tensor, ...]]:
    """Save the model's answer to each batch size; the sample that it took, and its outputs' shapes as far as they show.

    A model may refuse made-up input (a decoder of JPEG gets none) or answer differently each time (it draws random
    numbers): then there is nothing to compare with, and no sample.
    """
    open_dimensions = OPEN_DIMENSIONS if any(-1 in tensor.shape[1:] for tensor in inputs) else (1,)
    for size in open_dimensions:
        try:
            first = _answer(function, samples.batch(inputs, request.batchSizes[0], size))
            again = _answer(function, samples.batch(inputs, request.batchSizes[0], size))
        except (tf.errors.OpError, ValueError) as error:
            log.event("convert", "The model does not take this sample", open_dimension=size, error=str(error)[:500])
            continue
        if not all(same(first[name], again[name]) for name in first):
            log.event("convert", "The model answers differently each time: nothing to compare with")
            return None, _ranked(outputs, first)
        for batch_size in request.batchSizes:
            answers = _answer(function, samples.batch(inputs, batch_size, size))
            _expect_batch(answers, batch_size, request.uri)
            np.savez(Path(request.references, REFERENCE.format(batch_size)), **_picklable(answers))
        return Sample(openDimension=size), _ranked(outputs, first)
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
    child.answer(ConvertRequest, convert)
