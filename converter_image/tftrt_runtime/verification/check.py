"""A child process that loads the converted model afresh, as a server will, and compares it with the unconverted one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.contract.errors import Internal, NothingConvertible
from tftrt_runtime.model import samples
from tftrt_runtime.model.quick_call import Call, QuickCall
from tftrt_runtime.processes import child
from tftrt_runtime.report import graphs
from tftrt_runtime.verification import comparisons, expectations, figures
from tftrt_runtime.verification.agreement import Seen, seen
from tftrt_runtime.verification.figures import Asked, Compared
from tftrt_runtime.verification.messages import REFERENCE, CheckAnswer, CheckRequest


def check(request: CheckRequest) -> CheckAnswer:
    """Load, look into the engines, ask for every batch size, compare.

    Raises:
        Internal: the converted model is not the unconverted one.
        NothingConvertible: an engine lacks a batch size.
        AccuracyBelowThreshold: an answer is not finite where the unconverted model's is.
    """
    loaded = tf.saved_model.load(request.model)
    if list(loaded.signatures) != [request.signature]:
        raise Internal(
            f"The converted model has the signatures {sorted(loaded.signatures)}, not {request.signature!r} alone."
        )
    function = loaded.signatures[request.signature]
    _expect_names("inputs", function.structured_input_signature[1], [tensor.name for tensor in request.inputs])
    names = [*(tensor.name for tensor in request.outputs), *request.left_out]
    _expect_names("outputs", function.structured_outputs, names)
    if request.engines:
        _expect_engines(request, function.graph.as_graph_def())
    graph = graphs.show(function, Path(request.events))
    call = QuickCall(function)
    if request.data is not None:
        _expect_finite(call, request)
    compared = _compare(call, request)
    if not compared.asked:
        _expect_answer(call, request)
    rows = figures.comparisons(compared, request)
    return CheckAnswer(verification=figures.verification(compared, rows, request), comparisons=rows, graph=graph)


def _expect_finite(call: Call, request: CheckRequest) -> None:
    """Ask for every shape that is served, for the user's data has hardly all of them.

    Raises:
        AccuracyBelowThreshold: an answer is not finite where the unconverted model's all are.
    """
    for batch in comparisons.made_up(request.inputs, request.batch_sizes, request.samples):
        for name, answer in _answers(call, batch).items():
            gone = int(np.count_nonzero(~np.isfinite(answer))) if name in request.finite else 0
            if gone:
                size = comparisons.size(batch, None if request.batched else request.batch_sizes[0])
                raise expectations.not_finite(name, size, gone, answer.size, request.precision)


def _expect_answer(call: Call, request: CheckRequest) -> None:
    """Ask once what has nothing to be compared with: a model that fails at every call is not converted.

    Raises:
        Internal: there is nothing to ask.
    """
    for question in _questions(request):
        _answers(call, question.batch)
        return
    raise Internal("The converted model was asked nothing: there is neither made-up input nor data that it takes.")


def _questions(request: CheckRequest) -> Iterator[comparisons.Question]:
    return comparisons.questions(request.inputs, request.batch_sizes, request.samples, request.data, request.batched)


def _compare(call: Call, request: CheckRequest) -> Compared:
    """Each output at each batch size, over all batches of that size whose answers were kept."""
    every: dict[tuple[Asked, str], Seen] = defaultdict(Seen)
    asked: dict[Asked, int] = defaultdict(int)
    of_calls: set[str] = set()
    for number, question in enumerate(_questions(request) if request.compared else ()):
        reference = Path(request.references, REFERENCE.format(number))
        if not reference.exists():
            continue
        answers = _answers(call, question.batch)
        with np.load(reference, allow_pickle=True) as references:
            expected = {name: references[f"output{index}"] for index, name in enumerate(answers)}
        found = {name: answers[name] for name in answers if name not in request.left_out}
        kind = question.size, question.up_to
        asked[kind] += question.size
        of_calls |= {name for name, value in found.items() if value.shape[:1] != (question.size,)}
        for name, value in found.items():
            expectations.expect_comparable(name, question, value, expected[name], request)
            every[kind, name] |= seen(value, expected[name])
    if request.exact:
        for ((size, up_to), name), each in every.items():
            # Larger input than a model was made for may show more of its rounding than it ever will.
            if up_to != comparisons.LARGER:
                expectations.expect_exact(name, size, each, request)
    return Compared(every, asked, frozenset(of_calls))


def _answers(call: Call, batch: samples.Batch) -> dict[str, Any]:
    """The outputs by name, in the order of the names."""
    answers = call({name: tf.constant(value) for name, value in batch.items()})
    return {name: np.asarray(answers[name].numpy()) for name in sorted(answers)}


def _expect_names(what: str, found: dict[str, Any], expected: list[str]) -> None:
    if sorted(found) != sorted(expected):
        raise Internal(f"The converted model has the {what} {sorted(found)} instead of {sorted(expected)}.")


def _expect_engines(request: CheckRequest, graph: Any) -> None:
    """Hold that the saved file of every engine has the batch sizes asked for, no more and no fewer."""
    from tftrt_runtime.convert import engine_files, segments

    for engine in segments.engines(graph):
        sizes = engine_files.batch_sizes(Path(request.model), engine.name)
        if request.dynamic and len(sizes) != 1:
            raise NothingConvertible(
                f"The engine {engine.name} was saved {len(sizes)} times instead of once for all shapes: TensorRT could "
                "not build it. Raise spec.conversion.minimumSegmentSize to leave that part to TensorFlow."
            )
        if not request.dynamic and sizes != request.batch_sizes:
            raise NothingConvertible(
                f"The engine {engine.name} was saved for the batch sizes {list(sizes)} instead of "
                f"{list(request.batch_sizes)}: its input does not have the batch as its first dimension, or TensorRT "
                "could not build it. Raise spec.conversion.minimumSegmentSize to leave that part to TensorFlow."
            )


if __name__ == "__main__":
    child.answer(CheckRequest, check)
