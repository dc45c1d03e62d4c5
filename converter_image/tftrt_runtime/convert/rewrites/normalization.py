"""Takes layer normalization apart into operations that TensorRT has. Imports TensorFlow.

Keras computes `LayerNormalization` of the last axes by a batch normalization in training mode: each row becomes a
channel, of scale 1 and offset 0 (keras/layers/normalization/layer_normalization.py, where `_fused_can_be_used`). TF-TRT
takes a `FusedBatchNormV3` of constant scale only, so that each of these layers ends one engine and begins another.
Here it becomes what it computes, x less its mean, divided by the root of the variance plus epsilon, in a form that FP16
can hold whatever the values.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tftrt_runtime.convert.rewrites import graph_defs

# Sizes that open axes of a tensor are taken to have, to see what the graph makes of them.
PRIMES = ((2, 3, 5, 7, 11, 13), (17, 19, 23, 29, 31, 37))
SMALLEST_UNIT = 2.0**-14  # of FP16, with all of its digits


def take_apart(graph: Any) -> int:
    """Replace each layer normalization in this GraphDef of a frozen graph; returns how many there were."""
    fused = [node for node in graph.node if _normalizes_rows(node)]
    if not fused:
        return 0
    nodes = {node.name: node for node in graph.node}
    shapes = graph_defs.with_shapes(graph)
    found = [(node, _around(shapes.get_operation_by_name(node.name), nodes)) for node in fused]
    for node, around in found:
        if around is not None:
            _replace(graph, node, *around)
    return sum(around is not None for _, around in found)


def _normalizes_rows(node: Any) -> bool:
    """Whether this is a batch normalization by the batch's own mean and variance, with channels second."""
    attributes = node.attr
    return (
        node.op == "FusedBatchNormV3"
        and attributes["is_training"].b
        and attributes["data_format"].s == b"NCHW"
        and attributes["T"].type == tf.float32.as_datatype_enum
        and not any(name.startswith("^") for name in node.input)
    )


def _around(fused: Any, nodes: dict[str, Any]) -> tuple[Any, list[int], Any] | None:
    """The tensor that is normalized, along which axes, and the `Reshape` behind; None for no layer normalization.

    It is one where a `Reshape` to [1, rows, size of the last axes, 1] is before, and one to the old shape behind.
    """
    before = fused.inputs[0].op
    scale, offset = (_filled(tensor, nodes) for tensor in fused.inputs[1:3])
    readers = [reader for output in fused.outputs for reader in output.consumers()]
    if before.type != "Reshape" or (scale, offset) != (1, 0) or [one.type for one in readers] != ["Reshape"]:
        return None
    source, (behind,) = before.inputs[0], readers
    controlled = before.control_inputs or behind.control_inputs
    if controlled or behind.inputs[0] is not fused.outputs[0] or source.shape.rank is None:
        return None
    axes = _axes(source, before.inputs[1], behind.inputs[1], nodes)
    return (source, axes, nodes[behind.name]) if axes else None


def _axes(source: Any, before: Any, behind: Any, nodes: dict[str, Any]) -> list[int]:
    """The last axes of the source whose sizes together are the third of `before`, and none if the shapes are others.

    The shapes are made from that of the source: what they come to is seen at two that it might have.
    """
    rank = source.shape.rank
    if rank > len(PRIMES[0]):
        return []
    seen = []
    for primes in PRIMES:
        sizes = [known or prime for known, prime in zip(source.shape, primes, strict=False)]
        if graph_defs.computed(behind, source, sizes, nodes) != sizes:
            return []
        seen.append((sizes, graph_defs.computed(before, source, sizes, nodes)))
    for first in range(rank - 1, 0, -1):
        if all(found == [1, math.prod(sizes[:first]), math.prod(sizes[first:]), 1] for sizes, found in seen):
            return list(range(first, rank))
    return []


def _filled(tensor: Any, nodes: dict[str, Any]) -> float | None:
    """The number that a tensor is filled with; None where it is none of one number."""
    operation = tensor.op.inputs[1].op if tensor.op.type == "Fill" else tensor.op
    if operation.type != "Const":
        return None
    values = tf.make_ndarray(nodes[operation.name].attr["value"].tensor)
    return float(values.flat[0]) if values.size and (values == values.flat[0]).all() else None


def _replace(graph: Any, fused: Any, source: Any, axes: list[int], behind: Any) -> None:
    """Put elementary operations in the place of the second `Reshape`; Grappler removes what has no reader any more.

    With c = x - mean(x) and m = max(|c|), c / sqrt(mean(c ** 2) + epsilon) is what is wanted. FP16 holds c ** 2 up
    to 65,504 only. Divided by m ** 2 under the root and by m above it, every square is at most 1, and what is under
    the root lies between 1 / n and 2 for rows of n elements. Where m is smaller than the root of epsilon, that takes
    its place, so that the same holds for rows of zeros.
    """

    def add(name: str, operation: str, *inputs: str) -> str:
        node = graph.node.add(name=f"{fused.name}/{name}", op=operation, device=fused.device, input=inputs)
        node.attr["T"].type = tf.float32.as_datatype_enum
        return str(node.name)

    def reduce(name: str, operation: str, of: str) -> str:
        made = add(name, operation, of, along)
        graph.node[-1].attr["Tidx"].type = tf.int32.as_datatype_enum
        graph.node[-1].attr["keep_dims"].b = True
        return made

    def constant(name: str, value: Any, dtype: Any = tf.float32) -> str:
        return graph_defs.add_constant(graph, f"{fused.name}/{name}", value, dtype, fused.device)

    along = constant("axes", axes, tf.int32)
    root = math.sqrt(fused.attr["epsilon"].f)
    centered = add("centered", "Sub", source.name, reduce("mean", "Mean", source.name))
    largest = reduce("largest", "Max", add("absolute", "Abs", centered))
    unit = add("unit", "Maximum", largest, constant("smallest_unit", max(root, SMALLEST_UNIT)))
    scaled = add("scaled", "RealDiv", centered, unit)
    variance = reduce("variance", "Mean", add("squared", "Mul", scaled, scaled))
    offset = add("scaled_epsilon_root", "RealDiv", constant("epsilon_root", root), unit)
    epsilon = add("scaled_epsilon", "Mul", offset, offset)
    scale = add("scale", "Rsqrt", add("variance_plus_epsilon", "AddV2", variance, epsilon))
    behind.op = "Mul"
    behind.input[:] = [scaled, scale]
    del behind.attr["Tshape"]
