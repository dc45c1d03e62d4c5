"""The unconverted model: its signature, and what it answers to the user's data or to made-up input. Imports TensorFlow.

As a child process of its own it answers in true FP32 (without TF32), on the GPU that converts.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.contract.artifact import Batching, Sample, Tensor
from tftrt_runtime.contract.errors import CalibrationDataUnfit, NothingConvertible, SignatureNotFound, UsageError
from tftrt_runtime.loading import freeze
from tftrt_runtime.model import composites, data, half_precision, operations, samples, saved_model, shapes
from tftrt_runtime.model.composites import Composite
from tftrt_runtime.processes import child
from tftrt_runtime.report import graphs
from tftrt_runtime.verification import calls, comparisons, independence, texts
from tftrt_runtime.verification.calls import Calls
from tftrt_runtime.verification.comparisons import LARGER, Question
from tftrt_runtime.verification.messages import REFERENCE, ComparisonData, ReferenceAnswer, ReferenceRequest
from tftrt_runtime.verification.origins import origins

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
        NothingConvertible: engines are to be made of it, and it cannot be frozen.
    """
    if tf.__version__ != request.tensorflow:
        raise UsageError(
            f"The spec's runtime has TensorFlow {request.tensorflow}, but this image has {tf.__version__}: "
            "the operator's runtime catalogue names the wrong image or the wrong version."
        )
    with log.timed("convert", "Loaded the unconverted model"):
        loaded = saved_model.load(Path(request.source), request.uri)
    function = saved_model.signature(loaded, request.signature, request.uri)
    inputs = saved_model.inputs(function, request.uri, request.input_shapes)
    outputs = saved_model.outputs(function, request.uri)
    operations.expect_runnable(function, request.uri)
    kept = freeze.why_not(loaded, function)
    # Before the device is asked; but of what draws random numbers, which may keep the last ones, the answers say more.
    if kept is not None and request.engines and not _draws(function):
        raise NothingConvertible(
            f"{request.uri} cannot be frozen for TensorRT: {kept}. Export the numeric part of it alone."
        )
    _expect_named(outputs, request)
    with log.timed("convert", "Asked the unconverted model"):
        how = _calls(loaded, function, inputs, outputs, request)
        request = request.model_copy(update={"batch_sizes": how.batch_sizes, "input_shapes": how.input_shapes})
        inputs, sample = how.inputs, how.sample
        every = () if sample is None else shapes.distinct(sample, request.input_shapes)
        if sample is None:
            _expect_data(function, how, request)
        asked = _ask(function, inputs, every, request, how)
        not_compared = None if asked else "AnswersDiffer"
        if asked is not None:
            _expect_classes(asked.first, request)
        finite = () if request.data is None or asked is None else _finite(function, inputs, every, request)
    with log.timed("convert", "Asked the unconverted model for items in other company"):
        batching = _batching(function, inputs, sample, asked, how, request)
    log.event("convert", "Saw whether requests may be put together", batching=batching and batching.model_dump())
    answer = ReferenceAnswer(
        tensorflow=tf.__version__,
        batched=how.batched,
        batch_sizes=how.batch_sizes,
        input_shapes=how.input_shapes,
        inputs=inputs,
        outputs=_ranked(
            [tensor for tensor in outputs if tensor.name not in how.left_out],
            saved_model.unranked(function.structured_outputs),
            asked.first if asked else {},
        ),
        left_out=how.left_out,
        unranked=tuple(sorted(saved_model.unranked(function.structured_input_signature[1]))),
        sample=sample,
        samples=every,
        compared=asked.compared if asked else 0,
        not_compared=not_compared,
        origins=origins(function),
        finite=tuple(name for name in finite if name not in how.left_out),
        kept=kept,
        tables=freeze.has_tables(loaded, function),
        batching=batching,
        graph=graphs.show(function, Path(request.events)),
    )
    return (loaded, function), answer


def _calls(
    loaded: Any, function: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], request: ReferenceRequest
) -> Calls:
    """How the model is called: with batches where its signature and its answers have them.

    Raises:
        SignatureNotFound: `inputShapes` do not fit its inputs.
    """
    why = calls.why_no_batches(inputs, composites.found(loaded, inputs, 1))
    if why is None:
        shapes.expect_fit(inputs, request.input_shapes, request.uri)
        sample = _sample(function, inputs, request, [()])
        ragged = _ragged(function, inputs, request) if sample is None else None
        if ragged is not None:
            return ragged
        odd = _of_no_item(function, inputs, outputs, sample, request)
        of_items = len(odd) < len(outputs)
        if not odd or (of_items and max(request.batch_sizes) > 1):
            return Calls(inputs, None, request.batch_sizes, request.input_shapes, sample, tuple(sorted(odd)))
        why = f"{odd[min(odd)]}, and not an answer for each item"
        if of_items:
            why += "; the others are served in batches where spec.conversion.maxBatchSize is more than 1"
            inputs = calls.of_one_item(inputs)
    given = dict(shapes.of_calls(inputs, request.input_shapes))
    shapes.expect_fit(inputs, given, request.uri, batched=False)
    sizes = (calls.fixed_batch(inputs, outputs),)
    asked = request.model_copy(update={"input_shapes": given, "batch_sizes": sizes})
    return Calls(inputs, why, sizes, given, _sample_of_a_call(loaded, function, inputs, asked))


def _ragged(function: Any, inputs: tuple[Tensor, ...], request: ReferenceRequest) -> Calls | None:
    """How a model is called that takes no batch of made-up input, but rows of values; None where it does not either."""
    given = dict(shapes.of_calls(inputs, request.input_shapes))
    asked = request.model_copy(update={"input_shapes": given, "batch_sizes": (1,)})
    for composite in composites.guessed(inputs, OPEN_DIMENSIONS[0]):
        sample = _sample(function, inputs, asked, [(composite,)], batched=False)
        if sample is not None:
            return Calls(inputs, f"{composite}, whose first dimensions differ", (1,), given, sample)
    return None


def _sample_of_a_call(
    loaded: Any, function: Any, inputs: tuple[Tensor, ...], request: ReferenceRequest
) -> Sample | None:
    """A sample of a model that takes no batches."""
    for open_dimension in OPEN_DIMENSIONS:
        known = composites.found(loaded, inputs, open_dimension)
        every = [known] if known else [*((one,) for one in composites.guessed(inputs, open_dimension)), ()]
        sample = _sample(function, inputs, request, every, batched=False, open_dimensions=(open_dimension,))
        if sample is not None:
            return sample
    return None


def _of_no_item(
    function: Any,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    sample: Sample | None,
    request: ReferenceRequest,
) -> dict[str, str]:
    """The outputs whose first dimension is not the batch's, and what shape they have; by the first batch of each size.

    Of a single item any answer with one row may be taken for its. So two are asked for, too, where something else
    speaks against it: another output, or an input that may as well be one long sequence.

    Raises:
        SignatureNotFound, CalibrationDataUnfit: the model does not take a batch.
    """
    odd = calls.of_no_item(outputs, saved_model.unranked(function.structured_outputs))
    given, firsts = _first_batches(inputs, sample, request)
    for batch in firsts:
        answers = _answer_to_data(function, batch, request) if given else _answer_to_made_up(function, batch)
        odd = {**calls.of_another_number(answers, comparisons.size(batch)), **odd}
    doubtful = odd or any(len(tensor.shape) == 1 for tensor in inputs)
    if max(request.batch_sizes) == 1 and doubtful and sample is not None:
        with contextlib.suppress(tf.errors.InvalidArgumentError, ValueError):  # it takes one, and no more
            odd = {**calls.of_another_number(_answer(function, samples.batch(inputs, 2, sample)), 2), **odd}
    return odd


def _first_batches(
    inputs: tuple[Tensor, ...], sample: Sample | None, request: ReferenceRequest
) -> tuple[ComparisonData | None, list[samples.Batch]]:
    """The first batch of each size, and the user's data where it is of that.

    Raises:
        CalibrationDataUnfit: the data is of no batches, and there is nothing else to ask.
    """

    def firsts(given: ComparisonData | None) -> list[samples.Batch]:
        questions = comparisons.questions(inputs, request.batch_sizes, () if sample is None else (sample,), given)
        of_sizes = itertools.groupby(questions, lambda question: question.size)
        # Without a look at what comes after the last of them, which may be all of the data.
        return [next(of_size).batch for _, of_size in itertools.islice(of_sizes, len(request.batch_sizes))]

    try:
        return request.data, firsts(request.data)
    except CalibrationDataUnfit:
        if sample is None:
            raise
        # It may be of calls. If it is of nothing that the model takes, that is told where it is asked.
        return None, firsts(None)


@dataclass(frozen=True)
class Asked:
    """The answers to the first batch, and how many batches' answers were saved."""

    first: samples.Batch
    compared: int


def _ask(
    function: Any,
    inputs: tuple[Tensor, ...],
    every: tuple[Sample, ...],
    request: ReferenceRequest,
    how: Calls = calls.BATCHES,
) -> Asked | None:
    """Save the answers to the batches to compare; None where they differ each time, for it draws random numbers.

    Each batch size has its share of the room for them.
    """
    asked: Asked | None = None
    gaps: dict[tuple[tuple[int, ...], ...], Counter[str]] = defaultdict(Counter)
    room = dict.fromkeys(request.batch_sizes, MAX_REFERENCE_BYTES // len(request.batch_sizes))
    for number, question in enumerate(
        comparisons.questions(inputs, request.batch_sizes, every, request.data, how.batched)
    ):
        size = question.size
        if room[size] <= 0:
            continue
        answers = _answers_to(function, question, gaps[question.shapes], request)
        if answers is None:
            continue
        gaps[question.shapes].update({name: _not_finite(answer) for name, answer in answers.items()})
        if asked is None:
            again = _answer(function, question.batch)
            if not all(same(answers[name], again[name]) for name in answers):
                log.event("convert", "The model answers differently each time: nothing to compare with")
                return None
        if how.batched:
            of_items = {name: answer for name, answer in answers.items() if name not in how.left_out}
            _expect_batch(of_items, size, request.uri)
        np.savez(Path(request.references, REFERENCE.format(number)), **_picklable(answers))
        asked = Asked(asked.first if asked else answers, asked.compared + 1 if asked else 1)
        room[size] -= sum(answer.nbytes for answer in answers.values())
        if room[size] <= 0:
            log.event("convert", "The answers are large: the rest of the data is not compared", batch_size=size)
    return asked or Asked({}, 0)


def _answers_to(
    function: Any, question: Question, gaps: Counter[str], request: ReferenceRequest
) -> samples.Batch | None:
    """The answers; `gaps` counts by output what was not finite in those to the same input at its usual size.

    None for larger input that is not asked for, or that the model does not take, or at which more of its own answers
    are no numbers: it is not for such input.
    """
    if request.data is not None:
        return _answer_to_data(function, question.batch, request, question.batched)
    if question.up_to != LARGER:
        return _answer_to_made_up(function, question.batch, question.batched)
    if not request.larger_too:
        return None
    try:
        answers = _answer(function, question.batch)
    except (tf.errors.OpError, ValueError, MemoryError) as error:
        # Also where the machine is said to be at fault: a number may be a size. If it is, others will say so.
        log.event("convert", "The model does not take larger input", up_to=LARGER, error=str(error)[:500])
        return None
    overflowed = [name for name, answer in answers.items() if _not_finite(answer) > gaps[name]]
    if overflowed:
        log.event("convert", "The model's own answers to larger input are not finite", up_to=LARGER, outputs=overflowed)
        return None
    return answers


def _not_finite(answer: Any) -> int:
    return int(np.count_nonzero(~np.isfinite(answer))) if answer.dtype.kind == "f" else 0


def _draws(function: Any) -> bool:
    """Whether a function, or one that it calls, draws random numbers: by the names of TensorFlow's operations."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    return any("Random" in node.op or "Rng" in node.op for node in nodes)


def _expect_named(outputs: Iterable[Tensor], request: ReferenceRequest) -> None:
    """Hold that the output that the user calls one of classes is there.

    Raises:
        SignatureNotFound: it is not.
    """
    name, names = request.top1_output, [tensor.name for tensor in outputs]
    if name is not None and name not in names:
        raise SignatureNotFound(
            f"spec.verification.top1Output is {name!r}, which is no output of {request.uri}: "
            f"{shapes.near(name, names)}."
        )


def _expect_classes(answers: samples.Batch, request: ReferenceRequest) -> None:
    """Hold that the answers of that output can be classes; there are none where the model was not asked.

    Raises:
        SignatureNotFound: they cannot.
    """
    name = request.top1_output
    answer = answers.get(name) if name is not None else None
    if answer is not None and answer.dtype.kind == "f" and (answer.ndim < 2 or answer.shape[-1] < 2):
        raise SignatureNotFound(
            f"spec.verification.top1Output is {name!r}, and this output of {request.uri} has shape "
            f"{list(answer.shape)}, the batch first: of floats the last dimension must be the classes, at least two. "
            "Name another output, or none."
        )


def _finite(
    function: Any, inputs: tuple[Tensor, ...], every: tuple[Sample, ...], request: ReferenceRequest
) -> tuple[str, ...]:
    """The outputs that are numbers, none of them infinite, for made-up input of every shape."""
    finite: set[str] | None = None
    for batch in comparisons.made_up(inputs, request.batch_sizes, every):
        answers = _answer_to_made_up(function, batch, every[0].batched)
        numbers = {name for name, answer in answers.items() if answer.dtype.kind == "f" and np.isfinite(answer).all()}
        finite = numbers if finite is None else finite & numbers
    return tuple(sorted(finite or ()))


def _batching(
    function: Any,
    inputs: tuple[Tensor, ...],
    sample: Sample | None,
    asked: Asked | None,
    how: Calls,
    request: ReferenceRequest,
) -> Batching | None:
    """Whether requests may be put together; None where the largest batch is one item, and there is no question."""
    if how.why_no_batches is not None:
        return independence.no_batches(how.why_no_batches)
    if max(request.batch_sizes) == 1:
        return None
    if asked is None:
        return independence.not_checked(
            "the model answers differently each time", "export it without layers that draw random numbers"
        )

    def ask(batch: samples.Batch) -> samples.Batch:
        try:
            answers = _answer(function, batch)
            return {name: answer for name, answer in answers.items() if name not in how.left_out}
        except saved_model.MACHINE_FAULTS:
            raise
        except (tf.errors.OpError, ValueError) as error:
            count = comparisons.size(batch)
            raise independence.NotTakenError(
                f"the model does not take {count} of the items that it takes in a batch: {child.one_line(error)}"
            ) from error

    tolerance = max(
        independence.TOLERANCE, independence.ROUNDINGS * half_precision.spacing(function.graph.as_graph_def())
    )
    own = request.data or request.calibration
    batches = comparisons.companions(inputs, request.batch_sizes, sample, own)
    return independence.judge(ask, batches, tolerance, "made-up input" if own is None else own.uri)


def _sample(
    function: Any,
    inputs: tuple[Tensor, ...],
    request: ReferenceRequest,
    every: Sequence[Sequence[Composite]],
    batched: bool = True,
    open_dimensions: Sequence[int] = OPEN_DIMENSIONS,
) -> Sample | None:
    """A sample that the model takes, with one of these sets of ragged and sparse inputs; None where it takes none."""
    is_open = any(-1 in tensor.sizes(batched) for tensor in inputs if tensor.name not in request.input_shapes)
    plain = [
        shapes.usual(inputs, request.input_shapes, open_dimension, batched, composite)
        for open_dimension, composite in itertools.product(open_dimensions if is_open else open_dimensions[:1], every)
    ]
    for sample in itertools.chain(plain, _with_texts(function, inputs, request, plain, batched)):
        refusal = _refusal(function, samples.batch(inputs, request.batch_sizes[0], sample))
        if refusal is None:
            return sample
        log.event("convert", "The model does not take this sample", shapes=sample.shapes, error=str(refusal)[:500])
    log.event("convert", "The model takes no made-up input")
    return None


def _with_texts(
    function: Any, inputs: tuple[Tensor, ...], request: ReferenceRequest, plain: Sequence[Sample], batched: bool
) -> Iterator[Sample]:
    """The samples with other texts than words: the user's own, then what the model may want for its operations."""
    if request.data is not None and any(tensor.dtype == "BYTES" for tensor in inputs):
        # What does not fit is told where the model is asked it.
        with contextlib.suppress(CalibrationDataUnfit):
            own = texts.of_data(inputs, request.data, batched)
            chosen = {name: shape.opt for name, shape in request.input_shapes.items()}
            yield own.model_copy(update={"shapes": {**own.shapes, **chosen}})
    for made in texts.made_up(function, inputs):
        for sample in plain:
            yield sample.model_copy(update={"texts": made})


def _refusal(function: Any, batch: samples.Batch) -> Exception | None:
    """Why the model does not take a batch; None where it does."""
    try:
        _answer(function, batch)
    except saved_model.MACHINE_FAULTS:
        raise
    except (tf.errors.OpError, ValueError) as error:
        return error
    return None


def _expect_data(function: Any, how: Calls, request: ReferenceRequest) -> None:
    """Hold that there is something to ask a model that takes no made-up input.

    Raises:
        SignatureNotFound: there is nothing.
        NotAModel: it takes none for what it is made of.
    """
    operations.expect_no_program(function, request.uri)
    if request.data is None:
        sample = shapes.usual(how.inputs, request.input_shapes, OPEN_DIMENSIONS[0], how.batched, ())
        refusal = _refusal(function, samples.batch(how.inputs, request.batch_sizes[0], sample))
        raise SignatureNotFound(
            f"{request.uri} answers nothing that was made up after its signature, so that nobody can say whether it "
            f"works when it is converted: {child.one_line(refusal) if refusal else 'no input'}. Give samples that it "
            "takes in spec.verification.dataUri."
        )


def _answer_to_made_up(function: Any, batch: samples.Batch, batched: bool = True) -> samples.Batch:
    """The answer to made-up input of a model that takes some.

    Raises:
        SignatureNotFound: it does not take all of `inputShapes`, or not so large a batch.
    """
    try:
        return _answer(function, batch)
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        told = ", ".join(f"{name!r} {list(values.shape)}" for name, values in batch.items())
        what, fields = (", the batch first", "inputShapes and batchSizes") if batched else ("", "inputShapes")
        raise SignatureNotFound(
            f"The unconverted model does not take inputs of the shapes {told}{what}: "
            f"{child.one_line(error)}. Set spec.conversion.{fields} to what it takes."
        ) from error


def _answer_to_data(
    function: Any, batch: samples.Batch, request: ReferenceRequest, batched: bool = True
) -> samples.Batch:
    """The answer to a batch of the user's own.

    Raises:
        CalibrationDataUnfit: the model does not take it.
    """
    shapes.expect_in_range(batch, request.input_shapes, request.dynamic_shapes, "Verification", batched)
    try:
        return _answer(function, batch)
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        hint = data.on_texts(Path(request.data.folder), batch) if request.data else ""
        raise CalibrationDataUnfit(
            f"The unconverted model does not take the verification data: {child.one_line(error)}{hint}"
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


def _ranked(outputs: Iterable[Tensor], unranked: set[str], answers: samples.Batch) -> tuple[Tensor, ...]:
    """Outputs of unknown rank get the rank that an answer showed; where none did, one dimension beside the batch."""
    return tuple(
        tensor
        if tensor.name not in unranked
        else tensor.model_copy(update={"shape": (-1,) * (answers[tensor.name].ndim if tensor.name in answers else 2)})
        for tensor in outputs
    )


def _picklable(answers: samples.Batch) -> dict[str, Any]:
    """The answers by position: a tensor's name may be none that a file in an archive can have."""
    return {f"output{index}": answers[name] for index, name in enumerate(sorted(answers))}


if __name__ == "__main__":
    child.answer(ReferenceRequest, refer)
