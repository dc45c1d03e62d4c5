"""What training with quantization leaves in a graph, made into what TensorRT takes. Imports TensorFlow.

Such training puts a `FakeQuant` behind weights and activations: it rounds a value to one of the 2 ** bits steps of a
range, and is float before and behind. TF-TRT takes it as the range of an INT8 tensor, and in no other precision; behind
weights it takes none, for a convolution's kernel must be a constant.

* Behind weights it becomes the constant that it computes, in every precision.
* Behind activations it stays in INT8, and becomes its own arithmetic otherwise, operation by operation as TensorFlow's
  kernel for a CPU has it (tensorflow/core/kernels/fake_quant_ops_functor.h): in FP32 the answers are the same bits.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become, producer
from tftrt_runtime.convert.rewrites.rewrite import PRECISIONS, Rewrite

WITH_ATTRIBUTES = "FakeQuantWithMinMaxArgs"
WITH_TENSORS = "FakeQuantWithMinMaxVars"
PER_CHANNEL = "FakeQuantWithMinMaxVarsPerChannel"
FAKE_QUANT = {WITH_ATTRIBUTES, WITH_TENSORS, PER_CHANNEL}
# TF-TRT reads a range of these, too.
RANGES = {WITH_ATTRIBUTES, WITH_TENSORS, "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3"}


@dataclass(frozen=True)
class Steps:
    """The steps that a range is divided into, 0 among them; in FP32, one of each or one for each channel."""

    least: Any
    most: Any
    step: Any
    per_step: Any  # not exactly 1 / step
    zero: Any  # the number of the step that is 0


def of_activations(definition: Any) -> list[Any]:
    """The nodes of a GraphDef that give a tensor a range, where that is no constant."""
    graph = Graph(definition)
    constants = {node.name for node in _of_constants(graph)}
    return [
        node
        for node in definition.node
        if node.op in RANGES | FAKE_QUANT
        and node.name not in constants
        and (node.op in FAKE_QUANT or graph.constant(node.input[0]) is None)
    ]


def with_ranges(definition: Any) -> list[Any]:
    """Those of them whose range TF-TRT reads in INT8: one for all channels, and a constant."""
    graph = Graph(definition)
    found = [node for node in of_activations(definition) if node.op in RANGES and _has_a_range(node)]
    return [node for node in found if _is_one(_range(node, graph))]


def _has_a_range(node: Any) -> bool:
    """Whether it is given one, and does not look for the least and the most itself."""
    return "range_given" not in node.attr or bool(node.attr["range_given"].b)


def _is_one(span: tuple[Any, Any] | None) -> bool:
    return span is not None and bool(np.all(span[0] < span[1]))


def _of_constants(graph: Graph) -> list[Any]:
    """Every `FakeQuant` of a constant by a constant range; one of what another one makes is behind that."""
    found: dict[str, Any] = {}
    before = -1
    while len(found) > before:
        before = len(found)
        for node in graph.definition.node:
            if node.op in FAKE_QUANT and node.name not in found and _range(node, graph) is not None:
                source = node.input[0].removesuffix(":0")
                if source in found or graph.constant(source) is not None:
                    found[node.name] = node
    return list(found.values())


def _fold(graph: Graph, node: Any) -> list[str]:
    """Make a constant of it, which in a loop waits for the one that it is made of, to be of the same iteration."""
    span = _range(node, graph)
    assert span is not None
    value = _rounded(node, graph.constant(node.input[0]), *span)
    waits_for = [name for name in node.input if name.startswith("^")]
    if graph.is_in_loop(node.input[0]):
        waits_for.append(f"^{producer(node.input[0])}")
    node.op = "Const"
    node.input[:] = waits_for
    node.ClearField("attr")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
    return [node.name]


def _of_known_range(graph: Graph) -> list[Any]:
    """Every `FakeQuant` of an activation by a constant range that is one."""
    found = [node for node in of_activations(graph.definition) if node.op in FAKE_QUANT]
    return [node for node in found if _is_one(_range(node, graph))]


def without_steps(definition: Any, names: Container[str]) -> None:
    """Leave of each `FakeQuant` with such a name and a constant range that it keeps values within it."""
    graph = Graph(definition)
    for node in list(definition.node):
        span = _range(node, graph) if node.op in FAKE_QUANT and node.name in names else None
        if span is not None and np.all(span[0] < span[1]):
            _within(graph, node, _steps(node, *span), node)


def _steps(node: Any, least: Any, most: Any) -> Steps:
    """The steps of a `FakeQuant`, whose range the kernel moves a little, so that 0 is one."""
    bits, narrow = attribute(node, "num_bits").i or 8, attribute(node, "narrow_range").b
    low, high, half = np.float32(1 if narrow else 0), np.float32(2**bits - 1), np.float32(0.5)
    step, per_step = (most - least) / (high - low), (high - low) / (most - least)
    zero = np.clip(low - least / step, low, high)
    zero = np.floor(zero) + (zero - np.floor(zero) >= half).astype(np.float32)
    least, most = (low - zero) * step, (high - zero) * step
    return Steps(least, most, step, per_step, np.floor(-least * per_step + half))


def _range(node: Any, graph: Graph) -> tuple[Any, Any] | None:
    """The least and the most of a `FakeQuant`; None where they are no constants."""
    if node.op == WITH_ATTRIBUTES:
        attributes = node.attr
        # Attributes that are the defaults may be left out.
        least = attributes["min"].f if "min" in attributes else -6.0
        most = attributes["max"].f if "max" in attributes else 6.0
        return np.float32(least), np.float32(most)
    least, most = (graph.constant(tensor) for tensor in node.input[1:3])
    return None if least is None or most is None else (least, most)


def _rounded(node: Any, values: Any, least: Any, most: Any) -> Any:
    """What TensorFlow's own kernel makes of a constant."""
    options = {"num_bits": attribute(node, "num_bits").i or 8, "narrow_range": attribute(node, "narrow_range").b}
    with tf.device("CPU:0"):
        if node.op == PER_CHANNEL:
            made = tf.quantization.fake_quant_with_min_max_vars_per_channel(values, least, most, **options)
        else:
            made = tf.quantization.fake_quant_with_min_max_vars(values, least, most, **options)
    return made.numpy()


def _write_out(graph: Graph, fake: Any) -> list[str]:
    """Put elementary operations in its place, the last of which has its name."""
    span = _range(fake, graph)
    assert span is not None
    steps, kind = _steps(fake, *span), fake.op
    within = _of_floats(graph.add(f"{fake.name}/within", "Maximum", (), fake.device))
    _within(graph, fake, steps, within)

    def add(name: str, operation: str, source: str, value: Any = None) -> str:
        inputs = [source] if value is None else [source, _constant(graph, fake, name, value)]
        return str(_of_floats(graph.add(f"{fake.name}/{name}", operation, inputs, fake.device)).name)

    above = add("above_least", "Sub", within.name, steps.least)
    # The kernels differ in this.
    by = ("RealDiv", steps.step) if kind == WITH_TENSORS else ("Mul", steps.per_step)
    divided = add("steps", by[0], above, by[1])
    half_up = add("half_up", "AddV2", add("from_zero", "Sub", divided, steps.zero), np.float32(0.5))
    become(fake, "Mul", add("whole", "Floor", half_up), _constant(graph, fake, "step", steps.step))
    _of_floats(fake)
    return [fake.name]


def _within(graph: Graph, fake: Any, steps: Steps, target: Any) -> None:
    """Make of the node `target` what a `FakeQuant` takes, within its range."""
    below = graph.add(f"{fake.name}/below_most", "Minimum", (), fake.device)
    below.input.extend([fake.input[0], _constant(graph, fake, "most", steps.most)])
    become(target, "Maximum", _of_floats(below).name, _constant(graph, fake, "least", steps.least))
    _of_floats(target)


def _constant(graph: Graph, fake: Any, name: str, value: Any) -> str:
    return graph.add_constant(f"{fake.name}/{name}/value", value, tf.float32, fake.input[0], fake.device)


def _of_floats(node: Any) -> Any:
    node.attr["T"].type = tf.float32.as_datatype_enum
    return node


FOLDED = Rewrite(
    name="quantization of weights as constants",
    reason="TF-TRT takes no FakeQuant behind weights, and a convolution's kernel must be a constant",
    find=_of_constants,
    replace=_fold,
)
WRITTEN_OUT = Rewrite(
    name="quantization of activations as arithmetic",
    reason="TF-TRT takes FakeQuant as the range of an INT8 tensor, and in no other precision",
    find=_of_known_range,
    replace=_write_out,
    precisions=PRECISIONS - {"INT8"},
)
