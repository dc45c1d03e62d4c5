"""Makes constants of the shapes that a `Reshape` computes from its input's batch. Imports TensorFlow.

Keras' `Reshape` layer takes the batch from the shape of its input and packs it with the sizes that it was given
(keras/layers/reshaping/reshape.py). Without dynamic shapes TF-TRT knows a batch of every size and no `Shape`, so that
each such layer ends one engine and begins another. With -1 in the batch's place the shape is a constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tftrt_runtime.convert.rewrites import graph_defs

BATCHES = (2, 3)  # that a graph is looked at with


def close(graph: Any) -> int:
    """Make the shape of every `Reshape` that keeps the batch a constant, in this GraphDef of a frozen graph.

    Returns how many there were.
    """
    nodes = {node.name: node for node in graph.node}
    computed = [
        node for node in graph.node if node.op == "Reshape" and nodes[node.input[1].partition(":")[0]].op != "Const"
    ]
    if not computed:
        return 0
    shapes = graph_defs.with_shapes(graph)
    closed = [_inner(shapes.get_operation_by_name(node.name), nodes) for node in computed]
    for node, inner in zip(computed, closed, strict=True):
        if inner is not None:
            dtype = shapes.get_operation_by_name(node.name).inputs[1].dtype
            node.input[1] = graph_defs.add_constant(graph, f"{node.name}/closed", [-1, *inner], dtype, node.device)
    return sum(inner is not None for inner in closed)


def _inner(reshape: Any, nodes: dict[str, Any]) -> list[int] | None:
    """The sizes behind the batch, if they are known and hold what they held before; None otherwise."""
    source, target = reshape.inputs[0].shape, reshape.outputs[0].shape
    if not source.rank or not target.rank or None in (before := source.as_list()[1:]):
        return None
    after = target.as_list()[1:]
    if None in after:
        after = _seen(reshape, before, nodes)
    # A batch of nothing has any size.
    return after if after is not None and 0 != math.prod(before) == math.prod(after) else None


def _seen(reshape: Any, before: Sequence[int], nodes: dict[str, Any]) -> list[int] | None:
    """What the sizes behind the batch come to, if the same for each batch that comes first; None otherwise."""
    found = []
    for batch in BATCHES:
        shape = graph_defs.computed(reshape.inputs[1], reshape.inputs[0], [batch, *before], nodes)
        if shape is None or shape[0] != batch:
            return None
        found.append(shape[1:])
    (inner, other) = found
    if inner != other:
        return None
    rest = math.prod(size for size in inner if size != -1)
    return [math.prod(before) // max(rest, 1) if size == -1 else size for size in inner]
