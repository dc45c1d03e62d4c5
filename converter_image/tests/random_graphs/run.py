# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Draws a graph, does each rewrite on it, and compares what it answers with what it answered before.

What the conversion would drop is what is counted here: a rewrite that must be dropped is a fault.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tests.graphs import frozen, in_a_loop
from tests.random_graphs.patterns import OFTEN, PATTERNS, Draw, Pattern
from tftrt_runtime.convert.rewrites import REWRITES, beside, graph_defs
from tftrt_runtime.processes.child import one_line

LOOPS = 0.2  # of the graphs have their pattern in a loop
BATCHES = (1, 2, 5)
COLLECT_EVERY = 50  # graphs, for they hold themselves


@dataclass(frozen=True)
class Graph:
    """A drawn graph, with what is fetched and what it is asked."""

    seed: int
    pattern: str
    in_loop: bool
    definition: Any
    fetched: list[str]
    questions: list[beside.Question]


@dataclass
class Trial:
    """What became of a graph: by the rewrite's name in how many places it was done, what was wrong, what not seen."""

    seed: int
    pattern: str
    in_loop: bool
    rewritten: dict[str, int] = field(default_factory=dict)
    mismatches: dict[str, str] = field(default_factory=dict)
    not_compared: dict[str, str] = field(default_factory=dict)


def draw(seed: int, pattern: str | None = None) -> Graph:
    """The graph of this seed, of one pattern or of any."""
    names = [*PATTERNS, *OFTEN]
    pattern = pattern or names[seed % len(names)]
    random = np.random.default_rng([seed, 1])
    drawn = Draw(seed, in_loop=bool(random.random() < LOOPS))
    made = PATTERNS[pattern](drawn)
    function = frozen(_network(made, drawn), *made.shapes)
    definition = function.graph.as_graph_def()
    there = {node.name for node in definition.node}
    inner = [name for name in drawn.fetched if name.partition(":")[0] in there]
    outputs = [tensor.name for tensor in function.outputs]
    questions = [_question(function, made, size, random) for size in BATCHES]
    return Graph(seed, pattern, drawn.in_loop, definition, [*outputs, *inner], questions)


def _network(made: Pattern, drawn: Draw) -> Any:
    """The pattern's network; who reads a tensor inside reads it here, for what is in a loop is read there."""

    def network(*inputs: Any) -> Any:
        drawn.shared.clear()
        answer = made.network(*inputs)
        return sum(drawn.shared, answer)

    return in_a_loop(network) if drawn.in_loop else tf.autograph.experimental.do_not_convert(network)


def _question(function: Any, made: Pattern, size: int, random: np.random.Generator) -> beside.Question:
    question = {}
    for tensor, shape, sizes in zip(function.inputs, made.shapes, made.sizes, strict=True):
        whole = sizes if len(sizes) == len(shape) else [size, *sizes]
        question[tensor.name] = random.normal(0.3, 1.0, whole).astype(np.float32) * np.float32(made.scale)
    return question


def tried(graph: Graph) -> Trial:
    """Do each rewrite, and compare; a graph that is another one afterwards is put back for the next."""
    trial = Trial(graph.seed, graph.pattern, graph.in_loop)
    definition = graph.definition
    for rewrite in REWRITES:
        before = tf.compat.v1.GraphDef()
        before.CopyFrom(definition)
        try:
            seen = graph_defs.Graph(definition, graph.fetched)
            matches = rewrite.find(seen)
            places = rewrite.replace_all(seen, matches)
        except Exception as error:  # whatever it is, it would have ended a conversion
            trial.mismatches[rewrite.name] = one_line(error)
            definition.CopyFrom(before)
            continue
        if not matches:
            continue
        trial.rewritten[rewrite.name] = len(matches)
        verdict = beside.compare(before, definition, graph.fetched, places, graph.questions)
        if verdict.differs is not None:
            trial.mismatches[rewrite.name] = verdict.differs
            definition.CopyFrom(before)
        if verdict.not_compared is not None:
            trial.not_compared[rewrite.name] = verdict.not_compared
    return trial


def trials(seeds: Iterable[int], pattern: str | None = None) -> Iterator[Trial]:
    """What becomes of each of these graphs."""
    for number, seed in enumerate(seeds):
        yield tried(draw(seed, pattern))
        if number % COLLECT_EVERY == 0:
            gc.collect()
