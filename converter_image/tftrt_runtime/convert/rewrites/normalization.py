"""Takes layer normalization apart into operations that TensorRT has. Imports TensorFlow.

Keras computes `LayerNormalization` of the last axes by a batch normalization in training mode: each row becomes a
channel, of scale 1 and offset 0 (keras/layers/normalization/layer_normalization.py, where `_fused_can_be_used`). TF-TRT
takes a `FusedBatchNormV3` of constant scale only, so that each of these layers ends one engine and begins another.
Here it becomes what it computes, x less its mean, divided by the root of the variance plus epsilon, in a form that FP16
can hold whatever the values (`scaled_rows.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import Rewrite
from tftrt_runtime.convert.rewrites.scaled_rows import Rows

# Sizes that open axes of a tensor are taken to have, to see what the graph makes of them.
PRIMES = ((2, 3, 5, 7, 11, 13), (17, 19, 23, 29, 31, 37), (1, 1, 1, 1, 1, 1))


@dataclass(frozen=True)
class Fused:
    """A layer normalization: along which axes of which tensor, the batch normalization, the `Reshape` behind it."""

    node: Any
    source: str
    axes: list[int]
    behind: Any


def _find(graph: Graph) -> list[Fused]:
    nodes = [node for node in graph.definition.node if _normalizes_rows(node)]
    return [fused for node in nodes if (fused := _fused(node, graph)) is not None]


def _normalizes_rows(node: Any) -> bool:
    """Whether this is a batch normalization by the batch's own mean and variance, with channels second."""
    return (
        node.op == "FusedBatchNormV3"
        and attribute(node, "is_training").b
        and attribute(node, "data_format").s == b"NCHW"
        and attribute(node, "T").type == tf.float32.as_datatype_enum
        and not any(name.startswith("^") for name in node.input)
    )


def _fused(node: Any, graph: Graph) -> Fused | None:
    """The layer normalization of which this batch normalization is a part; None for no layer normalization.

    It is one where a `Reshape` to [1, rows, size of the last axes, 1] is before, and one to the old shape behind.
    """
    operation = graph.shapes.get_operation_by_name(node.name)
    before = operation.inputs[0].op
    scale, offset = (_filled(tensor, graph) for tensor in operation.inputs[1:3])
    readers = [reader for output in operation.outputs for reader in output.consumers()]
    if before.type != "Reshape" or (scale, offset) != (1, 0) or [one.type for one in readers] != ["Reshape"]:
        return None
    source, (behind,) = before.inputs[0], readers
    aside = before.control_inputs or behind.control_inputs or node.name in graph.fetched
    if aside or behind.inputs[0] is not operation.outputs[0] or source.shape.rank is None:
        return None
    axes = _axes(source, before.inputs[1], behind.inputs[1], graph)
    return Fused(node, source.name, axes, graph.nodes[behind.name]) if axes else None


def _axes(source: Any, before: Any, behind: Any, graph: Graph) -> list[int]:
    """The last axes of the source whose sizes together are the third of `before`, and none if the shapes are others.

    The shapes are made from that of the source: what they come to is seen at some that it might have.
    """
    rank = source.shape.rank
    if rank > len(PRIMES[0]):
        return []
    seen = []
    for primes in PRIMES:
        sizes = [known or prime for known, prime in zip(source.shape, primes, strict=False)]
        if graph.computed(behind, source, sizes) != sizes:
            return []
        seen.append((sizes, graph.computed(before, source, sizes)))
    for first in range(rank - 1, 0, -1):
        if all(found == [1, math.prod(sizes[:first]), math.prod(sizes[first:]), 1] for sizes, found in seen):
            return list(range(first, rank))
    return []


def _filled(tensor: Any, graph: Graph) -> float | None:
    """The number that a tensor is filled with; None where it is none of one number."""
    operation = tensor.op.inputs[1].op if tensor.op.type == "Fill" else tensor.op
    node = graph.nodes[operation.name]
    if node.op != "Const":
        return None
    values = tf.make_ndarray(node.attr["value"].tensor)
    return float(values.flat[0]) if values.size and (values == values.flat[0]).all() else None


def _replace(graph: Graph, fused: Fused) -> list[str]:
    """Put elementary operations in the place of the second `Reshape`; Grappler removes what has no reader any more."""
    name, device, source = fused.node.name, fused.node.device, fused.source
    axes = graph.add_constant(f"{name}/axes", fused.axes, tf.int32, source, device)
    rows = Rows(graph, name, axes, tf.int32.as_datatype_enum, device)
    centered = rows.add("centered", "Sub", source, rows.reduce("mean", "Mean", source))
    become(fused.behind, "Mul", *rows.normalize(centered, fused.node.attr["epsilon"].f))
    return [fused.behind.name]


FUSED = Rewrite(
    name="fused layer normalization taken apart",
    reason="TF-TRT does not take the batch normalization that Keras makes of it, and ends an engine there",
    find=_find,
    replace=_replace,
)
