"""Runs two graphs beside each other on the CPU, to see whether a rewrite changed an answer. Imports TensorFlow.

Equal is what differs by rounding alone, as each is free to add in another order:

* float32 and float64: by at most 2 l sqrt(n) u of the tensor's largest value (decision 19), for l = 4 and n = 2 ** 16
  roundings one after the other, more than ResNet-50 has; with u = 2 ** -24 in float32 that is 1.2e-4.
* float16 and bfloat16, and all that a graph computes which has them inside: by at most 16 spacings at 1 of the coarsest
  of them, 1.6e-2 and 0.13, as in decision 32.
* integers and truths: all but one in 1,000, for they come from comparing what is rounded, the classes of pixels say; of
  fewer than 1,000, none may differ.
* text: nothing may differ. Infinity and what is no number must be where they were.

What training with quantization rounds to steps of a range (`FakeQuant`) is only kept within it where both graphs have
that: a value between two steps goes to either by the order of a sum, and is off by a whole one then.

TensorFlow's optimizations are off: what runs is the graph, and nothing that they make of it. A CPU has no kernels for
channels first; where the graph does not run, TensorFlow's own layout optimizer puts the channels last in both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, device_properties_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.grappler import cluster, tf_optimizer

from tftrt_runtime.contract.artifact import Sample, Tensor
from tftrt_runtime.convert.rewrites import graph_defs, quantization, weights
from tftrt_runtime.convert.rewrites.graph_defs import CONTROL_FLOW, producer
from tftrt_runtime.loading import freeze
from tftrt_runtime.model import half_precision, samples
from tftrt_runtime.processes.child import one_line

ROUNDINGS, DEVIATIONS = 2**16, 4
HALF_ROUNDINGS = 16
MOST_UNEQUAL = 1e-3  # as a share, of integers
SECONDS = 60  # when they have passed, a rewrite is asked no further question
MOST_INSIDE = 2**18  # values of a tensor inside that are compared
STRIDE = 1_000_000_007  # a prime, so that each step comes to another place, and any two of an axis lie apart
CPU = "/job:localhost/replica:0/task:0/device:CPU:0"

SIGNED_ITEMS = 3
SIGNED_SPAN = 6.0  # of values of both signs, about as far as normalized ones lie

Question = Mapping[str, Any]  # by the name of a tensor that is fed: an array, or a handle of a table
Way = Callable[[Any, Sequence[str]], tuple[Any, Sequence[str]]]  # a GraphDef, and where in it the tensors are


@dataclass(frozen=True)
class Verdict:
    """How many questions both graphs answered alike, or how they differ, or why there was nothing to compare."""

    questions: int = 0
    differs: str | None = None
    not_compared: str | None = None


def made_up(
    inputs: Sequence[Tensor], every: Sequence[Sample], names: Mapping[str, str], handles: Question
) -> list[Question]:
    """Questions for a graph: one item and two of each sample, and three whose numbers have both signs.

    `names` has the graph's tensors by the inputs' names; `handles` are fed in every question.
    """
    asked = [samples.batch(inputs, size, sample) for sample in every for size in (1, 2)]
    if every:
        # Soon, for of a large model not all may be asked.
        signed = samples.batch(inputs, SIGNED_ITEMS, every[0])
        asked.insert(1, {name: _signed(values) for name, values in signed.items()})
    return [{**{names[name]: values for name, values in batch.items()}, **handles} for batch in asked]


def _signed(values: Any) -> Any:
    return ((values - 0.5) * SIGNED_SPAN).astype(values.dtype) if values.dtype.kind == "f" else values


def compare(
    before: Any, after: Any, fetched: Sequence[str], places: Sequence[str], questions: Sequence[Question]
) -> Verdict:
    """Whether the GraphDef `after` answers as `before` does: in what is fetched, and in the rewritten nodes.

    The weights are held once, and one question's answers at a time; when `SECONDS` have passed, no more is asked.
    """
    before, after = _without_common_steps(before, after)
    inputs = {node.name for node in before.node if node.op == "Placeholder"}
    answers = list(dict.fromkeys(tensor for tensor in fetched if producer(tensor) not in inputs))
    inner = [f"{name}:0" for name in places if _has_values(before)]
    inside = [tensor for tensor in dict.fromkeys(inner) if tensor not in answers]
    half = HALF_ROUNDINGS * half_precision.spacing(before)
    graphs = weights.taken_out(before, after)
    verdict = Verdict(not_compared="there is no question to ask")
    with without_optimizations():
        for way in (_as_it_is, _with_channels_last):
            one, other = (Asked(graph, way, answers, inside, questions) for graph in graphs)
            verdict = _verdict(one, other, questions, half)
            if verdict.not_compared is None:
                return verdict
    return verdict


def _verdict(one: Asked, other: Asked, questions: Sequence[Question], half: float) -> Verdict:
    """Whether both answer the same to what the first of them answers."""
    ends = time.monotonic() + SECONDS
    answered, why = 0, None if questions else "there is no question to ask"
    for question in questions:
        if answered and time.monotonic() > ends:
            break
        expected = one.answer(question)
        if isinstance(expected, Exception):
            why = why or one_line(expected)
            continue
        found = other.answer(question)
        if isinstance(found, Exception):
            return Verdict(differs=f"the graph does not run any more: {one_line(found)}")
        for tensor, value in expected.items():
            how = difference(found[tensor], value, half)
            if how is not None:
                return Verdict(differs=f"{tensor} {how}")
        answered += 1
    return Verdict(questions=answered, not_compared=None if answered else why)


def difference(found: Any, expected: Any, half: float = 0.0) -> str | None:
    """How an array differs from another by more than rounding; None where it does not.

    `half` is what the half precision inside of the graph allows, relative to the largest value.
    """
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return f"became {found.dtype}{list(found.shape)}, and was {expected.dtype}{list(expected.shape)}"
    if not expected.size:
        return None
    if np.iscomplexobj(expected):
        found, expected = (np.stack([array.real, array.imag]) for array in (found, expected))
    if not _is_float(expected.dtype):
        unequal = float(np.mean(found != expected))
        allowed = 0.0 if expected.dtype == np.object_ else MOST_UNEQUAL
        return f"has other values: {unequal:.2%} of them" if unequal > allowed else None
    one, other = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True) or not np.isfinite(one[finite]).all():
        return "is infinite, or no number, in other places"
    largest = float(np.max(np.abs(other[finite]), initial=0.0))
    most = float(np.max(np.abs(one[finite] - other[finite]), initial=0.0))
    if most <= max(half, _rounding(expected.dtype)) * largest:
        return None
    return f"differs by {most:.3g} where its largest value is {largest:.3g}"


def _is_float(dtype: Any) -> bool:
    return bool(np.issubdtype(dtype, np.floating)) or tf.as_dtype(dtype) == tf.bfloat16


def _rounding(dtype: Any) -> float:
    """What rounding makes of a value of this type, relative to the largest one."""
    kind = tf.as_dtype(dtype)
    if kind in half_precision.SPACINGS:
        return HALF_ROUNDINGS * half_precision.SPACINGS[kind]
    return 2 * DEVIATIONS * math.sqrt(ROUNDINGS) * float(np.finfo(dtype).eps) / 2


def _without_common_steps(before: Any, after: Any) -> tuple[Any, Any]:
    """The GraphDefs without the steps that both round to."""
    common = _rounded(before) & _rounded(after)
    return (_without_steps(before, common), _without_steps(after, common)) if common else (before, after)


def _rounded(definition: Any) -> set[str]:
    return {node.name for node in definition.node if node.op in quantization.FAKE_QUANT}


def _without_steps(definition: Any, names: set[str]) -> Any:
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(definition)
    quantization.without_steps(copy, names)
    return copy


def _has_values(definition: Any) -> bool:
    """Whether every tensor has one value for a question: in loops they have several, in branches perhaps none."""
    return not any(node.op in CONTROL_FLOW for node in definition.node)


class Asked:
    """A graph that is asked on the CPU: for tensors whole, and for some of the values of those inside."""

    def __init__(
        self,
        graph: tuple[Any, weights.Fed],
        way: Way,
        whole: Sequence[str],
        inside: Sequence[str],
        questions: Sequence[Question],
    ) -> None:
        self._definition, self._weights = graph
        self._way, self._whole, self._inside = way, list(whole), list(inside)
        self._fed = sorted({name for question in questions for name in question})

    def answer(self, question: Question) -> Mapping[str, Any] | Exception:
        """Arrays by what they are, or why there are none: it does not take this size, or a kernel is not there."""
        try:
            with tf.device("CPU:0"):
                found = self._function(*(tf.convert_to_tensor(value) for value in self._values(question)))
            names = [*self._whole, *(name for tensor in self._inside for name in (f"the shape of {tensor}", tensor))]
            return {name: np.asarray(value.numpy()) for name, value in zip(names, found)}
        except Exception as error:  # TensorFlow raises nearly every kind here
            return error

    def _values(self, question: Question) -> Iterator[Any]:
        for name in self._taken:
            yield self._weights[name] if name in self._weights else question[name]

    @cached_property
    def _taken(self) -> list[str]:
        """What can be fed: an input that nothing reads is no part of a graph any more."""
        there = {node.name for node in self._definition.node if node.op == "Placeholder"}
        return [name for name in dict.fromkeys([*self._fed, *self._weights]) if producer(name) in there]

    @cached_property
    def _function(self) -> Callable[..., Sequence[Any]]:
        whole, inside = self._whole, self._inside
        definition, tensors = self._way(self._definition, [*whole, *inside])
        graph = tf.compat.v1.GraphDef()
        graph.CopyFrom(definition)
        # The model that this is made of may be loaded in this process: its functions have these names.
        freeze.rename_functions(graph, "_beside")
        for node in (*graph.node, *(node for part in graph.library.function for node in part.node_def)):
            node.device = ""
        fetched = list(tensors[: len(whole)])

        def imported() -> None:
            tf.import_graph_def(graph, name="")
            here = tf.compat.v1.get_default_graph()
            for tensor in tensors[len(whole) :]:
                fetched.extend(part.name for part in _seen(here.get_tensor_by_name(tensor)))

        with tf.device("CPU:0"):
            return tf.compat.v1.wrap_function(imported, []).prune(self._taken, fetched)  # type: ignore[no-any-return]


def _seen(tensor: Any) -> tuple[Any, Any]:
    """A tensor's shape, and its values; of very many of them `MOST_INSIDE`, from all over it."""
    flat, size = tf.reshape(tensor, [-1]), tf.size(tensor, tf.int64)
    steps = tf.range(tf.minimum(size, MOST_INSIDE), dtype=tf.int64) * STRIDE
    return tf.shape(tensor, tf.int64), tf.gather(flat, steps % tf.maximum(size, 1))


@contextmanager
def without_optimizations() -> Iterator[None]:
    """Have TensorFlow run graphs as they are that are run for the first time within this."""
    switch = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(switch, False)
    tf.config.optimizer.set_experimental_options({switch: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({switch: before})


def _as_it_is(definition: Any, tensors: Sequence[str]) -> tuple[Any, Sequence[str]]:
    return definition, tensors


def _with_channels_last(definition: Any, tensors: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """The same graph in the layout that a CPU has kernels for; what is fetched passes on the tensors as they were."""
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.graph_def.CopyFrom(definition)
    types = graph_defs.Graph(definition).shapes
    fetched = []
    for number, tensor in enumerate(tensors):
        passed_on = meta_graph.graph_def.node.add(name=f"beside/{number}", op="Identity", input=[tensor])
        passed_on.attr["T"].type = types.get_tensor_by_name(tensor).dtype.as_datatype_enum
        fetched.append(f"{passed_on.name}:0")
    for node in meta_graph.graph_def.node:
        node.device = CPU
    kept = [*fetched, *(f"{node.name}:0" for node in definition.node if node.op == "Placeholder")]
    meta_graph.collection_def["train_op"].node_list.value.extend(kept)
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.optimizers.append("layout")
    options.cpu_layout_conversion = rewriter_config_pb2.RewriterConfig.NCHW_TO_NHWC
    options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    options.min_graph_nodes = -1
    device = device_properties_pb2.NamedDevice(name=CPU)
    device.properties.type = "CPU"
    return tf_optimizer.OptimizeGraph(config, meta_graph, cluster=cluster.Cluster(devices=[device])), fetched
