"""What training with quantization leaves in a graph, made into what TensorRT takes. Imports TensorFlow.

Such training puts a `FakeQuant` behind weights and activations: it rounds a value to one of the 2 ** bits steps of a
range, and is float before and behind. TF-TRT takes it as the range of an INT8 tensor, and in no other precision; behind
weights it takes none, for a convolution's kernel must be a constant.

* Behind weights it becomes the constant that it computes, in every precision.
* Behind activations it stays in INT8, and becomes its own arithmetic otherwise: min(max(x, least), most), divided by
  the step, rounded to the next whole number (halves up), times the step. The range is nudged first, as TensorFlow's
  kernel does, so that 0 is a step (tensorflow/core/kernels/fake_quant_ops_functor.h).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import PRECISIONS, Rewrite

WITH_ATTRIBUTES = "FakeQuantWithMinMaxArgs"
FAKE_QUANT = {WITH_ATTRIBUTES, "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"}
# TF-TRT reads a range of these, too.
RANGES = {WITH_ATTRIBUTES, "FakeQuantWithMinMaxVars", "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3"}


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
    """Make a constant of it."""
    span = _range(node, graph)
    assert span is not None
    value = _rounded(node, graph.constant(node.input[0]), *span)
    waits_for = [name for name in node.input if name.startswith("^")]
    node.op = "Const"
    node.input[:] = waits_for
    node.ClearField("attr")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
    return [node.name]


def _of_known_range(graph: Graph) -> list[Any]:
    """Every `FakeQuant` of an activation by a constant range that is one."""
    found = [node for node in of_activations(graph.definition) if node.op in FAKE_QUANT]
    spans = [(node, _range(node, graph)) for node in found]
    return [node for node, span in spans if span is not None and np.all(span[0] < span[1])]


def nudged(least: Any, most: Any, bits: int, *, narrow: bool) -> tuple[Any, Any, Any]:
    """The range moved so that 0 is one of its steps, and the step; in FP32, one of all or one of each channel."""
    low, high = np.float32(1 if narrow else 0), np.float32(2**bits - 1)
    step = (most - least) / (high - low)
    zero = np.clip(low - least / step, low, high)
    zero = np.floor(zero + np.float32(0.5))
    return (low - zero) * step, (high - zero) * step, step


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
        if node.op == "FakeQuantWithMinMaxVarsPerChannel":
            made = tf.quantization.fake_quant_with_min_max_vars_per_channel(values, least, most, **options)
        else:
            made = tf.quantization.fake_quant_with_min_max_vars(values, least, most, **options)
    return made.numpy()


def _write_out(graph: Graph, fake: Any) -> list[str]:
    """Put elementary operations in its place, the last of which has its name."""
    span = _range(fake, graph)
    assert span is not None
    least, most, step = nudged(*span, attribute(fake, "num_bits").i or 8, narrow=attribute(fake, "narrow_range").b)
    source = fake.input[0]

    def add(name: str, operation: str, *inputs: str) -> str:
        node = graph.add(f"{fake.name}/{name}", operation, inputs, fake.device)
        node.attr["T"].type = tf.float32.as_datatype_enum
        return str(node.name)

    def constant(name: str, value: Any) -> str:
        return graph.add_constant(f"{fake.name}/{name}", value, tf.float32, source, fake.device)

    below = add("below", "Minimum", source, constant("most", most))
    within = add("within", "Maximum", below, constant("least", least))
    steps = add("steps", "Mul", within, constant("per_step", np.float32(1) / step))
    whole = add("whole", "Floor", add("half_up", "AddV2", steps, constant("half", np.float32(0.5))))
    become(fake, "Mul", whole, constant("step", step))
    fake.attr["T"].type = tf.float32.as_datatype_enum
    return [fake.name]


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
