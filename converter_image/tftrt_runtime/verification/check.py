"""A child process that loads the converted model afresh, as a server will, and compares it with the unconverted one."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.contract.artifact import Verification
from tftrt_runtime.contract.errors import AccuracyBelowThreshold, Internal, NothingConvertible
from tftrt_runtime.model import samples
from tftrt_runtime.model.quick_call import Call, QuickCall
from tftrt_runtime.processes import child
from tftrt_runtime.report import graphs
from tftrt_runtime.report.data import Comparison
from tftrt_runtime.verification import comparisons
from tftrt_runtime.verification.agreement import Deviation, decimal_text, deviation, share_text, top1_agreements
from tftrt_runtime.verification.messages import REFERENCE, CheckAnswer, CheckRequest, ComparisonData

# Of our own rewriting, which only reorders sums; it says nothing about precisions.
MAX_EXACT_ERROR = 1e-4


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
    _expect_names("outputs", function.structured_outputs, [tensor.name for tensor in request.outputs])
    if request.engines:
        _expect_engines(request, function.graph.as_graph_def())
    graph = graphs.show(function, Path(request.events))
    call = QuickCall(function)
    if request.data is not None:
        _expect_finite(call, request)
    compared, agreeing = _compare(call, request)
    if not compared:
        _expect_answer(call, request)
    return CheckAnswer(
        verification=_verification(compared, agreeing, request.data) if compared else None,
        comparisons=compared,
        graph=graph,
    )


def _expect_finite(call: Call, request: CheckRequest) -> None:
    """Ask for every shape that is served, for the user's data has hardly all of them.

    Raises:
        AccuracyBelowThreshold: an answer is not finite where the unconverted model's all are.
    """
    for batch in comparisons.made_up(request.inputs, request.batch_sizes, request.samples):
        for name, answer in _answers(call, batch).items():
            if name in request.finite and not np.isfinite(answer).all():
                raise _not_finite(name, comparisons.size(batch))


def _expect_answer(call: Call, request: CheckRequest) -> None:
    """Ask once what has nothing to be compared with: a model that fails at every call is not converted.

    Raises:
        Internal: there is nothing to ask.
    """
    for batch in comparisons.batches(request.inputs, request.batch_sizes, request.samples, request.data):
        _answers(call, batch)
        return
    raise Internal("The converted model was asked nothing: there is neither made-up input nor data that it takes.")


def _compare(call: Call, request: CheckRequest) -> tuple[tuple[Comparison, ...], dict[int, int] | None]:
    """Each output at each batch size, over all batches of that size; how many samples agree by batch size."""
    deviations: dict[tuple[int, str], Deviation] = defaultdict(Deviation)
    agreeing: dict[int, int] | None = defaultdict(int)
    asked: dict[int, int] = defaultdict(int)
    batches = comparisons.batches(request.inputs, request.batch_sizes, request.samples, request.data)
    for number, batch in enumerate(batches if request.compared else ()):
        reference = Path(request.references, REFERENCE.format(number))
        if not reference.exists():
            continue
        size = comparisons.size(batch)
        found = _answers(call, batch)
        with np.load(reference, allow_pickle=True) as references:
            expected = {name: references[f"output{index}"] for index, name in enumerate(found)}
        asked[size] += size
        same = top1_agreements(list(found.values()), list(expected.values()))
        if same is None or agreeing is None:
            agreeing = None
        else:
            agreeing[size] += same
        for name, value in found.items():
            deviations[size, name] |= _deviation(name, size, value, expected[name], request.exact)
    compared = tuple(
        Comparison(
            output=name,
            batchSize=size,
            samples=asked[size],
            maxRelativeError=decimal_text(_error(name, size, seen, request.exact)),
            top1Agreement=None if agreeing is None else share_text(agreeing[size], asked[size]),
        )
        for (size, name), seen in deviations.items()
    )
    return compared, agreeing


def _answers(call: Call, batch: samples.Batch) -> dict[str, Any]:
    """The outputs by name, in the order of the names."""
    answers = call({name: tf.constant(value) for name, value in batch.items()})
    return {name: np.asarray(answers[name].numpy()) for name in sorted(answers)}


def _verification(
    compared: tuple[Comparison, ...], agreeing: dict[int, int] | None, data: ComparisonData | None
) -> Verification:
    """The worst error, and the agreement over all."""
    asked = sum({comparison.batchSize: comparison.samples for comparison in compared}.values())
    return Verification(
        samples=asked,
        top1Agreement=None if agreeing is None else share_text(sum(agreeing.values()), asked),
        maxRelativeError=decimal_text(max(float(comparison.maxRelativeError) for comparison in compared)),
        uri=data and data.uri,
    )


def _deviation(name: str, size: int, found: Any, expected: Any, exact: bool) -> Deviation:
    seen = deviation(found, expected)
    if not np.isfinite(seen.difference):
        raise Internal(_differs(name, size, "")) if exact else _not_finite(name, size)
    if exact and expected.dtype.kind != "f" and seen.difference:
        raise Internal(_differs(name, size, ""))
    return seen


def _error(name: str, size: int, seen: Deviation, exact: bool) -> float:
    if exact and not seen.relative <= MAX_EXACT_ERROR:
        raise Internal(
            _differs(
                name, size, f" by {seen.relative:.2g}, more than {MAX_EXACT_ERROR:.0e}, relative to its largest value"
            )
        )
    return seen.relative


def _differs(name: str, size: int, how: str) -> str:
    return f"At batch size {size} output {name!r} of the converted model differs from the unconverted one's{how}."


def _not_finite(name: str, size: int) -> AccuracyBelowThreshold:
    return AccuracyBelowThreshold(
        f"At batch size {size} output {name!r} of the converted model is not finite, or of another shape or type, "
        "where the unconverted one's is: the values are too large for this precision. Set "
        "spec.conversion.precision to FP32."
    )


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
