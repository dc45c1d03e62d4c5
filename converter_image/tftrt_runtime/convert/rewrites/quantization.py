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

from tftrt_runtime.convert.rewrites import graph_defs

WITH_ATTRIBUTES = "FakeQuantWithMinMaxArgs"
FAKE_QUANT = {WITH_ATTRIBUTES, "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"}
# TF-TRT reads a range of these, too.
RANGES = {WITH_ATTRIBUTES, "FakeQuantWithMinMaxVars", "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3"}


def fold_weights(graph: Any) -> int:
    """Make a constant of each `FakeQuant` of one in this GraphDef of a frozen graph; returns how many there were."""
    nodes = {node.name: node for node in graph.node}
    folded, before = 0, -1
    while folded > before:  # one may be of what another one makes
        before = folded
        for node in graph.node:
            values = _value(node.input[0], nodes) if node.op in FAKE_QUANT else None
            span = None if values is None else _range(node, nodes)
            if span is not None:
                _replace(node, _rounded(node, values, *span))
                folded += 1
    return folded


def of_activations(graph: Any) -> list[Any]:
    """The nodes that give a tensor a range, where that is no constant."""
    nodes = {node.name: node for node in graph.node}
    return [node for node in graph.node if node.op in RANGES | FAKE_QUANT and _value(node.input[0], nodes) is None]


def write_out(graph: Any) -> tuple[int, int]:
    """Replace each `FakeQuant` of a constant range by its arithmetic; returns how many, and how many are left."""
    nodes = {node.name: node for node in graph.node}
    found = of_activations(graph)
    written = 0
    for node in found:
        span = _range(node, nodes) if node.op in FAKE_QUANT else None
        if span is not None and np.all(span[0] < span[1]):
            _write_out(graph, node, *nudged(*span, node.attr["num_bits"].i or 8, narrow=node.attr["narrow_range"].b))
            written += 1
    return written, len(found) - written


def nudged(least: Any, most: Any, bits: int, *, narrow: bool) -> tuple[Any, Any, Any]:
    """The range moved so that 0 is one of its steps, and the step; in FP32, one of all or one of each channel."""
    low, high = np.float32(1 if narrow else 0), np.float32(2**bits - 1)
    step = (most - least) / (high - low)
    zero = np.clip(low - least / step, low, high)
    zero = np.floor(zero + np.float32(0.5))
    return (low - zero) * step, (high - zero) * step, step


def _value(tensor: str, nodes: dict[str, Any]) -> Any:
    return None if tensor.startswith("^") else graph_defs.constant(tensor, nodes)


def _range(node: Any, nodes: dict[str, Any]) -> tuple[Any, Any] | None:
    """The least and the most of a `FakeQuant`; None where they are no constants."""
    if node.op == WITH_ATTRIBUTES:
        attributes = node.attr
        # Attributes that are the defaults may be left out.
        least = attributes["min"].f if "min" in attributes else -6.0
        most = attributes["max"].f if "max" in attributes else 6.0
        return np.float32(least), np.float32(most)
    least, most = (_value(tensor, nodes) for tensor in node.input[1:3])
    return None if least is None or most is None else (least, most)


def _rounded(node: Any, values: Any, least: Any, most: Any) -> Any:
    """What TensorFlow's own kernel makes of a constant."""
    options = {"num_bits": node.attr["num_bits"].i or 8, "narrow_range": node.attr["narrow_range"].b}
    with tf.device("CPU:0"):
        if node.op == "FakeQuantWithMinMaxVarsPerChannel":
            made = tf.quantization.fake_quant_with_min_max_vars_per_channel(values, least, most, **options)
        else:
            made = tf.quantization.fake_quant_with_min_max_vars(values, least, most, **options)
    return made.numpy()


def _replace(node: Any, value: Any) -> None:
    waits = [name for name in node.input if name.startswith("^")]
    node.op = "Const"
    node.input[:] = waits
    node.ClearField("attr")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))


def _write_out(graph: Any, fake: Any, least: Any, most: Any, step: Any) -> None:
    """Put elementary operations in the place of a `FakeQuant`, the last of which has its name."""

    def add(name: str, operation: str, *inputs: str) -> str:
        node = graph.node.add(name=f"{fake.name}/{name}", op=operation, device=fake.device, input=inputs)
        node.attr["T"].type = tf.float32.as_datatype_enum
        return str(node.name)

    def constant(name: str, value: Any) -> str:
        return graph_defs.add_constant(graph, f"{fake.name}/{name}", value, tf.float32, fake.device)

    waits = [name for name in fake.input if name.startswith("^")]
    below = add("below", "Minimum", fake.input[0], constant("most", most))
    within = add("within", "Maximum", below, constant("least", least))
    steps = add("steps", "Mul", within, constant("per_step", np.float32(1) / step))
    whole = add("whole", "Floor", add("half_up", "AddV2", steps, constant("half", np.float32(0.5))))
    size = constant("step", step)
    fake.op = "Mul"
    fake.input[:] = [whole, size, *waits]
    fake.ClearField("attr")
    fake.attr["T"].type = tf.float32.as_datatype_enum
