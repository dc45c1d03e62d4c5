"""What is done to a frozen graph before TF-TRT looks for segments.

`REWRITES` has all of it, in the order in which it is done, and `apply` is the one way in. Each rewrite is tried: the
graph is run beside the one before on the CPU (`beside.py`), and where an answer is another one, the one before is kept
(decision 42).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tftrt_runtime import log
from tftrt_runtime.convert.rewrites import (
    beside,
    class_numbers,
    decoding,
    dilated,
    einsum,
    grouped,
    nearest,
    normalization,
    padding,
    pooling,
    quantization,
    reshapes,
    spelled_out,
    transposed,
)
from tftrt_runtime.convert.rewrites.graph_defs import Graph
from tftrt_runtime.convert.rewrites.rewrite import Rewrite
from tftrt_runtime.processes.child import one_line
from tftrt_runtime.report.data import Rewritten

Questions = Callable[[], Sequence[beside.Question]]

REWRITES: tuple[Rewrite[Any], ...] = (
    decoding.LEFT,
    # The others look for kernels that are constants.
    quantization.FOLDED,
    normalization.FUSED,
    spelled_out.SPELLED_OUT,
    einsum.PRODUCTS,
    reshapes.CLOSED,
    dilated.ATTRIBUTE,
    grouped.DENSE,
    grouped.LEFT,
    transposed.CROPPED,
    transposed.SIZED,
    nearest.WHOLE,
    nearest.LEFT,
    class_numbers.IN_INT32,
    padding.EXPLICIT,
    # Padding that pooling cannot take is left to the convolutions behind it.
    pooling.FOLDED,
    padding.SAME,
    padding.MOVED,
    quantization.WRITTEN_OUT,
)


def apply(definition: Any, fetched: Sequence[str], questions: Questions, precision: str) -> tuple[Rewritten, ...]:
    """Rewrite this GraphDef of a frozen graph in place for engines of this precision; what was done and what dropped.

    `fetched` are the tensors that are the model's inputs and outputs; `questions` makes what both graphs are asked.
    What found nothing to rewrite is not told.
    """
    told = [_try(rewrite, definition, fetched, questions) for rewrite in REWRITES if precision in rewrite.precisions]
    return tuple(one for one in told if one is not None)


def _try(rewrite: Rewrite[Any], definition: Any, fetched: Sequence[str], questions: Questions) -> Rewritten | None:
    graph = Graph(definition, fetched)
    matches = rewrite.find(graph)
    if not matches:
        return None
    before = tf.compat.v1.GraphDef()
    before.CopyFrom(definition)
    with log.timed("convert", "Tried a rewrite beside the graph before", rewrite=rewrite.name, places=len(matches)):
        verdict = _verdict(rewrite, graph, matches, before, fetched, questions)
    if verdict.differs is not None:
        definition.CopyFrom(before)
    del graph, before
    gc.collect()  # graphs hold themselves, and each has all weights
    told = Rewritten(
        name=rewrite.name,
        reason=rewrite.reason,
        places=len(matches),
        questions=verdict.questions,
        dropped=verdict.differs,
        notCompared=verdict.not_compared,
    )
    log.event("convert", "Rewrote the graph" if verdict.differs is None else "Dropped a rewrite", **told.model_dump())
    return told


def _verdict(
    rewrite: Rewrite[Any],
    graph: Graph,
    matches: Sequence[Any],
    before: Any,
    fetched: Sequence[str],
    questions: Questions,
) -> beside.Verdict:
    try:
        places = rewrite.replace_all(graph, matches)
    except Exception as error:  # a fault of ours, for which no conversion need fail: the graph before is as good
        return beside.Verdict(differs=f"it could not be done: {one_line(error)}")
    return beside.compare(before, graph.definition, fetched, places, questions())
