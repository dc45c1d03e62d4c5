"""The unconverted model: its signature, and what it answers to seeded input. Imports TensorFlow.

As a child process of its own it answers in true FP32 (without TF32), on the GPU that converts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Batching, Sample, Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit, SignatureNotFound, UsageError
from tftrt_runtime.convert import freeze, shapes
from tftrt_runtime.model import operations, samples, saved_model
from tftrt_runtime.processes import child
from tftrt_runtime.report import graphs
from tftrt_runtime.verification import comparisons, independence, texts
from tftrt_runtime.verification.messages import REFERENCE, ReferenceAnswer, ReferenceRequest

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
    operations.expect_runnable(function, request.uri)
    shapes.expect_fit(inputs, request.input_shapes, request.uri)
    with log.timed("convert", "Asked the unconverted model"):
        sample = _sample(function, inputs, request)
        every = () if sample is None else shapes.distinct(sample, request.input_shapes)
        asked = _ask(function, inputs, every, request)
        finite = () if request.data is None or asked is None else _finite(function, inputs, every, request)
    with log.timed("convert", "Asked the unconverted model for items in other company"):
        batching = _batching(function, inputs, sample, asked, request)
    log.event("convert", "Saw whether requests may be put together", batching=batching and batching.model_dump())
    answer = ReferenceAnswer(
        tensorflow=tf.__version__,
        inputs=inputs,
        outputs=_ranked(outputs, asked.first if asked else {}),
        sample=sample,
        samples=every,
        compared=asked.compared if asked else 0,
        finite=finite,
        kept=freeze.why_not(loaded, function),
        tables=freeze.has_tables(loaded, function),
        batching=batching,
        graph=graphs.show(function, Path(request.events)),
    )
    return (loaded, function), answer


@dataclass(frozen=True)
class Asked:
    """The answers to the first batch, and how many batches' answers were saved."""

    first: samples.Batch
    compared: int


def _ask(
    function: Any, inputs: tuple[Tensor, ...], every: tuple[Sample, ...], request: ReferenceRequest
) -> Asked | None:
    """Save the answers to the batches to compare; None where they differ each time, for it draws random numbers.

    Each batch size has its share of the room for them.
    """
    asked: Asked | None = None
    room = dict.fromkeys(request.batch_sizes, MAX_REFERENCE_BYTES // len(request.batch_sizes))
    for number, batch in enumerate(comparisons.batches(inputs, request.batch_sizes, every, request.data)):
        size = comparisons.size(batch)
        if room[size] <= 0:
            continue
        answers = _answer_to_data(function, batch, request) if request.data else _answer_to_made_up(function, batch)
        if asked is None:
            again = _answer(function, batch)
            if not all(same(answers[name], again[name]) for name in answers):
                log.event("convert", "The model answers differently each time: nothing to compare with")
                return None
        _expect_batch(answers, size, request.uri)
        np.savez(Path(request.references, REFERENCE.format(number)), **_picklable(answers))
        asked = Asked(asked.first if asked else answers, asked.compared + 1 if asked else 1)
        room[size] -= sum(answer.nbytes for answer in answers.values())
        if room[size] <= 0:
            log.event("convert", "The answers are large: the rest of the data is not compared", batch_size=size)
    return asked or Asked({}, 0)


def _finite(
    function: Any, inputs: tuple[Tensor, ...], every: tuple[Sample, ...], request: ReferenceRequest
) -> tuple[str, ...]:
    """The outputs that are numbers, none of them infinite, for made-up input of every shape."""
    finite: set[str] | None = None
    for batch in comparisons.made_up(inputs, request.batch_sizes, every):
        answers = _answer_to_made_up(function, batch)
        numbers = {name for name, answer in answers.items() if answer.dtype.kind == "f" and np.isfinite(answer).all()}
        finite = numbers if finite is None else finite & numbers
    return tuple(sorted(finite or ()))


def _batching(
    function: Any, inputs: tuple[Tensor, ...], sample: Sample | None, asked: Asked | None, request: ReferenceRequest
) -> Batching | None:
    """Whether requests may be put together; None where the largest batch is one item, and there is no question."""
    if max(request.batch_sizes) == 1:
        return None
    if asked is None:
        return independence.not_checked("the model answers differently each time")

    def ask(batch: samples.Batch) -> samples.Batch:
        try:
            return _answer(function, batch)
        except saved_model.MACHINE_FAULTS:
            raise
        except (tf.errors.OpError, ValueError) as error:
            count = comparisons.size(batch)
            raise independence.NotTakenError(
                f"the model does not take {count} of the items that it takes in a batch: {child.one_line(error)}"
            ) from error

    tolerance = max(independence.TOLERANCE, independence.ROUNDINGS * _half_rounding(function))
    own = request.data or request.calibration
    batches = comparisons.companions(inputs, request.batch_sizes, sample, own)
    return independence.judge(ask, batches, tolerance, "made-up input" if own is None else own.uri)


def _half_rounding(function: Any) -> float:
    """The spacing at 1 of the coarsest half precision that the graph computes in; 0 where it computes in none."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for part in graph.library.function for node in part.node_def)]
    # What only takes, passes on or converts a value does not round an intermediate one.
    kinds = {
        attribute.type
        for node in nodes
        if node.op not in {"Placeholder", "Cast", "Identity", "Const"}
        for attribute in node.attr.values()
    }
    spacings = {tf.bfloat16.as_datatype_enum: 2.0**-7, tf.float16.as_datatype_enum: 2.0**-10}
    return max((spacing for kind, spacing in spacings.items() if kind in kinds), default=0.0)


def _sample(function: Any, inputs: tuple[Tensor, ...], request: ReferenceRequest) -> Sample | None:
    """A sample that the model takes; None where it takes none, and there is data of the user's to ask.

    Raises:
        SignatureNotFound: it takes none, and there is nothing else to ask.
        NotAModel: it takes none, for what it is made of.
    """
    refusal: Exception | None = None
    for sample in _samples(function, inputs, request):
        refusal = _refusal(function, samples.batch(inputs, request.batch_sizes[0], sample))
        if refusal is None:
            return sample
        log.event("convert", "The model does not take this sample", shapes=sample.shapes, error=str(refusal)[:500])
    operations.expect_no_program(function, request.uri)
    if request.data is None:
        raise SignatureNotFound(
            f"{request.uri} answers nothing that was made up after its signature, so that nobody can say whether it "
            f"works when it is converted: {child.one_line(refusal) if refusal else 'no input'}. Give samples that it "
            "takes in spec.verification.dataUri."
        )
    log.event("convert", "The model takes no made-up input")
    return None


def _refusal(function: Any, batch: samples.Batch) -> Exception | None:
    """Why the model does not take a batch; None where it does."""
    try:
        _answer(function, batch)
    except saved_model.MACHINE_FAULTS:
        raise
    except (tf.errors.OpError, ValueError) as error:
        return error
    return None


def _samples(function: Any, inputs: tuple[Tensor, ...], request: ReferenceRequest) -> Iterator[Sample]:
    """Samples to try: words for texts, then the user's own texts, then what the model may want for its operations."""
    is_open = any(-1 in tensor.shape[1:] for tensor in inputs if tensor.name not in request.input_shapes)
    plain = [
        shapes.usual(inputs, request.input_shapes, open_dimension)
        for open_dimension in (OPEN_DIMENSIONS if is_open else (1,))
    ]
    yield from plain
    if request.data is not None and any(tensor.dtype == "BYTES" for tensor in inputs):
        own = texts.of_data(inputs, request.data)
        chosen = {name: shape.opt for name, shape in request.input_shapes.items()}
        yield own.model_copy(update={"shapes": {**own.shapes, **chosen}})
    for made in texts.made_up(function, inputs):
        for sample in plain:
            yield sample.model_copy(update={"texts": made})


def _answer_to_made_up(function: Any, batch: samples.Batch) -> samples.Batch:
    """The answer to made-up input of a model that takes some.

    Raises:
        SignatureNotFound: it does not take all of `inputShapes`, or not so large a batch.
    """
    try:
        return _answer(function, batch)
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        told = ", ".join(f"{name!r} {list(values.shape)}" for name, values in batch.items())
        raise SignatureNotFound(
            f"The unconverted model does not take inputs of the shapes {told}, the batch first: "
            f"{child.one_line(error)}. Set spec.conversion.inputShapes and batchSizes to what it takes."
        ) from error


def _answer_to_data(function: Any, batch: samples.Batch, request: ReferenceRequest) -> samples.Batch:
    """The answer to a batch of the user's own.

    Raises:
        CalibrationDataUnfit: the model does not take it.
    """
    shapes.expect_in_range(batch, request.input_shapes, request.dynamic_shapes, "Verification")
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
