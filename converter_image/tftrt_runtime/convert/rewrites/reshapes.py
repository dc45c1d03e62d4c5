"""Makes constants of the shapes that a `Reshape` computes from its input's batch. Imports TensorFlow.

Keras' `Reshape` layer takes the batch from the shape of its input and packs it with the sizes that it was given
(keras/layers/reshaping/reshape.py). Without dynamic shapes TF-TRT knows a batch of every size and no `Shape`, so that
each such layer ends one engine and begins another. With -1 in the batch's place the shape is a constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tftrt_runtime.convert.rewrites.graph_defs import Graph, producer
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

# That a graph is looked at with: one item, which may be a case of its own, and more than any `minimum` allows.
BATCHES = (1, 2, 3, 8191)


@dataclass(frozen=True)
class Closed:
    """A `Reshape`, and the sizes behind the batch that it makes."""

    node: Any
    inner: Sequence[int]
    dtype: Any  # the tf.DType of the shape


def _find(graph: Graph) -> list[Closed]:
    """Every `Reshape` to a computed shape that keeps the batch."""
    computed = [
        node
        for node in graph.definition.node
        if node.op == "Reshape" and graph.nodes[producer(node.input[1])].op != "Const"
    ]
    found = []
    for node in computed:
        reshape = graph.shapes.get_operation_by_name(node.name)
        inner = _inner(reshape, graph)
        if inner is not None:
            found.append(Closed(node, inner, reshape.inputs[1].dtype))
    return found


def _replace(graph: Graph, closed: Closed) -> list[str]:
    node, shape = closed.node, [-1, *closed.inner]
    node.input[1] = graph.add_constant(f"{node.name}/closed", shape, closed.dtype, node.input[0], node.device)
    return [node.name]


def _inner(reshape: Any, graph: Graph) -> list[int] | None:
    """The sizes behind the batch, if they are known and hold what they held before; None otherwise."""
    source, target = reshape.inputs[0].shape, reshape.outputs[0].shape
    if not source.rank or not target.rank or None in (before := source.as_list()[1:]):
        return None
    after = target.as_list()[1:]
    if None in after:
        after = _seen(reshape, before, graph)
    # A batch of nothing has any size.
    return after if after is not None and 0 != math.prod(before) == math.prod(after) else None


def _seen(reshape: Any, before: Sequence[int], graph: Graph) -> list[int] | None:
    """What the sizes behind the batch come to, if the same for each batch that comes first; None otherwise."""
    found = []
    for batch in BATCHES:
        shape = graph.computed(reshape.inputs[1], reshape.inputs[0], [batch, *before])
        if shape is None or shape[0] != batch:
            return None
        found.append(shape[1:])
    inner = found[0]
    if any(other != inner for other in found):
        return None
    rest = math.prod(size for size in inner if size != -1)
    return [math.prod(before) // max(rest, 1) if size == -1 else size for size in inner]


CLOSED = Rewrite(
    name="shapes that keep the batch as constants",
    reason="without dynamic shapes TF-TRT takes no computed shape, and ends an engine there",
    find=_find,
    replace=_replace,
)
