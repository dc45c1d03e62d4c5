"""A child process that loads the converted model afresh, as a server will, and compares it with the unconverted one."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_DOWN, Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime import child, samples
from tftrt_runtime.artifact import Verification
from tftrt_runtime.convert import comparisons
from tftrt_runtime.convert.messages import REFERENCE, CheckAnswer, CheckRequest, ComparisonData
from tftrt_runtime.errors import AccuracyBelowThreshold, Internal, NothingConvertible
from tftrt_runtime.report import graphs
from tftrt_runtime.report.data import Comparison

# Of our own rewriting, which only reorders sums; it says nothing about precisions.
MAX_EXACT_ERROR = 1e-4
DIGITS = 4  # of the decimals in the summary


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
    # Where the answers are compared on the user's data, made-up input still asks for every batch size.
    made_up = request.also if request.data is None or request.sample is None else (request.sample, *request.also)
    for sample in made_up:
        for size in request.batch_sizes:
            batch = samples.batch(request.inputs, size, sample)
            function(**{name: tf.constant(value) for name, value in batch.items()})
    compared, agreeing = _compare(function, request)
    return CheckAnswer(
        verification=_verification(compared, agreeing, request.data) if compared else None,
        comparisons=compared,
        graph=graph,
    )


def _compare(function: Any, request: CheckRequest) -> tuple[tuple[Comparison, ...], dict[int, int] | None]:
    """Each output at each batch size, over all batches of that size; how many samples agree by batch size."""
    errors: dict[tuple[int, str], float] = defaultdict(float)
    agreeing: dict[int, int] | None = defaultdict(int)
    asked: dict[int, int] = defaultdict(int)
    batches = comparisons.batches(request.inputs, request.batch_sizes, request.sample, request.data)
    for number, batch in enumerate(islice(batches, request.compared)):
        size = comparisons.size(batch)
        answers = function(**{name: tf.constant(value) for name, value in batch.items()})
        found = {name: np.asarray(answers[name].numpy()) for name in sorted(answers)}
        with np.load(Path(request.references, REFERENCE.format(number)), allow_pickle=True) as references:
            expected = {name: references[f"output{index}"] for index, name in enumerate(found)}
        asked[size] += size
        same = top1_agreements(list(found.values()), list(expected.values()))
        if same is None or agreeing is None:
            agreeing = None
        else:
            agreeing[size] += same
        for name, value in found.items():
            error = _error(name, size, value, expected[name], request.exact)
            errors[size, name] = max(errors[size, name], error)
    compared = tuple(
        Comparison(
            output=name,
            batchSize=size,
            samples=asked[size],
            maxRelativeError=decimal_text(error),
            top1Agreement=None if agreeing is None else share_text(agreeing[size], asked[size]),
        )
        for (size, name), error in errors.items()
    )
    return compared, agreeing


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


def _error(name: str, size: int, found: Any, expected: Any, exact: bool) -> float:
    error = relative_error(found, expected)
    if exact and expected.dtype.kind != "f":
        error = 0.0 if error == 0 else float("inf")
    if exact and not error <= MAX_EXACT_ERROR:
        raise Internal(
            f"At batch size {size} output {name!r} of the converted model differs from the unconverted "
            f"one's by {error:.2g}, more than {MAX_EXACT_ERROR:.0e}, relative to its largest value."
        )
    if not np.isfinite(error):
        raise AccuracyBelowThreshold(
            f"At batch size {size} output {name!r} of the converted model is not finite, or of another shape or type, "
            "where the unconverted one's is: the values are too large for this precision. Set "
            "spec.conversion.precision to FP32."
        )
    return error


def relative_error(found: Any, expected: Any) -> float:
    """The largest difference over the largest expected magnitude.

    Infinite for other shapes and types, and where one is finite and the other not; 1 where texts or truths differ.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if expected.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(found, expected) else 1.0
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return float("inf")
    finite = np.isfinite(expected)
    found, expected = found[finite].astype(np.float64), expected[finite].astype(np.float64)
    if expected.size == 0:
        return 0.0
    largest = float(np.max(np.abs(expected)))
    return float(np.max(np.abs(found - expected))) / max(largest, float(np.finfo(np.float32).tiny))


def top1_agreements(found: list[Any], expected: list[Any]) -> int | None:
    """In how many samples the largest class is the same; None for what is no classifier with one output of classes."""
    if len(expected) != 1 or expected[0].dtype.kind != "f" or expected[0].ndim != 2 or expected[0].shape[1] < 2:
        return None
    if not np.isfinite(found[0]).all():
        return 0
    return int(np.sum(np.argmax(found[0], axis=1) == np.argmax(expected[0], axis=1)))


def decimal_text(value: float) -> str:
    """The number as a decimal without an exponent: `0.00012`."""
    return f"{Decimal(f'{value:.{DIGITS}g}'):f}"


def share_text(part: int, whole: int) -> str:
    """The share as a decimal, rounded down: only all of them are 1."""
    share = (Decimal(part) / Decimal(whole)).quantize(Decimal(1).scaleb(-DIGITS), ROUND_DOWN)
    return f"{share.normalize():f}"


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
