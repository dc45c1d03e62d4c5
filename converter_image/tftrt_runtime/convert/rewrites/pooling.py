"""Makes zero padding before max pooling a part of it. Imports TensorFlow.

TF-TRT makes a layer of its own of a `Pad`, which TensorRT fuses into convolutions and not into pooling. Pooling itself
pads for nothing, and TF-TRT's does as TensorFlow's `SAME` does, or not at all. ResNet pads one element on both sides of
an even size before a kernel of 3 and a stride of 2. `SAME` pads the end of it only, but both sides of an odd size. So
the convolution before makes one row and one column more, and what pooling makes of them is left out by the
convolutions of 1 x 1 behind it: their kernels become 2 x 2, of which the first element alone is not zero.

`SAME` leaves out what lies outside, which zeros do only where nothing is negative: behind a `Relu`.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites import graph_defs, padding

NOT_NEGATIVE = {"Relu", "Relu6"}
ELEMENTARY = {"BiasAdd", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
# So many elements along each axis: of TensorFlow's shapes, height and width alone matter here.
Sizes = dict[int, int]


class Nodes:
    """A GraphDef's nodes, who reads them, and their shapes."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.by_name = {node.name: node for node in graph.node}
        self.readers: dict[str, list[Any]] = defaultdict(list)  # a node that reads another twice is there twice
        for node in graph.node:
            for name in node.input:
                self.readers[name.lstrip("^").partition(":")[0]].append(node)

    @cached_property
    def shapes(self) -> Any:
        """The graph with shapes, as it was before anything became a part of anything."""
        return graph_defs.with_shapes(self.graph)

    def sizes(self, name: str) -> Sizes | None:
        """The height and width that a node makes, if both are known."""
        shape = self.shapes.get_operation_by_name(name).outputs[0].shape
        if shape.rank is None or None in [shape[axis] for axis in padding.SPATIAL]:
            return None
        return {axis: shape[axis] for axis in padding.SPATIAL}


def fold(graph: Any) -> int:
    """Fold every `Pad` before max pooling in this GraphDef of a frozen graph, where possible; returns how many were."""
    nodes = Nodes(graph)
    padded = [node for node in graph.node if _pad(node, nodes) is not None]
    return sum(_fold(node, nodes) for node in padded)


def more_rows(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> int | None:
    """How many elements more an axis of `size` needs for `SAME` to begin with this padding; None if no number does.

    What is made of the elements that are there must not depend on those that are added.
    """
    before, after = pads
    outputs = (size + before + after - kernel) // stride + 1
    end = (outputs - 1) * stride - before + kernel
    for more in range(stride + 1):
        found, same_before = padding.same(size + more, kernel, stride)
        if same_before == before and found >= outputs and (not more or end <= size):
            return more
    return None


def _pad(pool: Any, nodes: Nodes) -> Any:
    """The `Pad` that this max pooling without padding of its own reads; None for everything else."""
    if pool.op != "MaxPool" or pool.attr["padding"].s != b"VALID" or pool.attr["data_format"].s not in {b"", b"NHWC"}:
        return None
    return graph_defs.made_by(pool.input[0], nodes.by_name, padding.PADS)


def _fold(pool: Any, nodes: Nodes) -> bool:
    """Fold the padding of this pooling; whether that was possible."""
    pad = _pad(pool, nodes)
    pads = padding.spatial_zeros(pad, nodes.by_name)
    source = graph_defs.made_by(pad.input[0], nodes.by_name, NOT_NEGATIVE)
    if pads is None or source is None:
        return False
    given, pooled = nodes.sizes(source.name), nodes.sizes(pool.name)
    if given is None or pooled is None:
        return False
    kernel, strides = pool.attr["ksize"].list.i, pool.attr["strides"].list.i
    more, left_over = {}, {}
    for axis, size in given.items():
        rows = more_rows(size, kernel[axis], strides[axis], tuple(pads[axis]))
        if rows is None:
            return False
        more[axis] = rows
        left_over[axis] = padding.same(size + rows, kernel[axis], strides[axis])[0] - pooled[axis]
    widened = _padding_to_widen(source, more, nodes) if any(more.values()) else {}
    readers = _pointwise_readers(pool, nodes) if any(left_over.values()) else []
    if widened is None or readers is None or (any(more.values()) and len(nodes.readers[pad.name]) != 1):
        return False
    for name, wider in widened.items():
        _set_padding(name, wider, nodes)
    for reader in readers:
        _leave_out(reader, left_over, nodes)
    pool.attr["padding"].s = b"SAME"
    pool.input[0] = source.name
    return True


def _padding_to_widen(source: Any, more: Sizes, nodes: Nodes) -> dict[str, Any] | None:
    """The `Pad` of the convolution behind whose element-wise operations this is, and what it must pad for so much more.

    None if there is none, or if somebody else reads what becomes larger.
    """
    node = source
    while node is not None and node.op in NOT_NEGATIVE | ELEMENTARY:
        training = node.op != "BiasAdd" and node.op in ELEMENTARY and node.attr["is_training"].b
        if training or len(nodes.readers[node.name]) != 1:
            return None
        node = nodes.by_name.get(node.input[0].removesuffix(":0"))
    pad = None if node is None else padding.pad_before(node, nodes.by_name)
    if pad is None or len(nodes.readers[node.name]) != 1 or len(nodes.readers[pad.name]) != 1:
        return None
    pads, kernel = padding.spatial_zeros(pad, nodes.by_name), graph_defs.constant(node.input[1], nodes.by_name)
    size, made = nodes.sizes(pad.name), nodes.sizes(node.name)
    if pads is None or kernel is None or size is None or made is None:
        return None
    pads, strides = pads.copy(), node.attr["strides"].list.i
    for axis, rows in more.items():
        needed = (made[axis] + rows - 1) * strides[axis] + kernel.shape[axis - 1]
        pads[axis, 1] += max(needed - size[axis], 0)
    return {pad.name: pads}


def _pointwise_readers(pool: Any, nodes: Nodes) -> list[Any] | None:
    """All that read this pooling, if each is a convolution of 1 x 1 with a constant kernel; else None."""
    readers = nodes.readers[pool.name]
    for node in readers:
        reads_it = node.input[0].removesuffix(":0") == pool.name
        if node.op != "Conv2D" or not reads_it or node.attr["data_format"].s not in {b"", b"NHWC"}:
            return None
        kernel = graph_defs.constant(node.input[1], nodes.by_name)
        if kernel is None or kernel.shape[:2] != (1, 1) or node.attr["padding"].s not in {b"SAME", b"VALID"}:
            return None
    return readers


def _set_padding(name: str, pads: Any, nodes: Nodes) -> None:
    pad = nodes.by_name[name]
    pad.input[1] = graph_defs.add_constant(nodes.graph, f"{name}/wider", pads, tf.int32, pad.device)


def _leave_out(convolution: Any, left_over: Sizes, nodes: Nodes) -> None:
    """Have a convolution of 1 x 1 leave out the last elements: as many along each axis."""
    kernel = graph_defs.constant(convolution.input[1], nodes.by_name)
    wider = np.pad(kernel, [*((0, left_over[axis]) for axis in padding.SPATIAL), (0, 0), (0, 0)])
    name = f"{convolution.name}/wider"
    dtype = tf.as_dtype(kernel.dtype)
    convolution.input[1] = graph_defs.add_constant(nodes.graph, name, wider, dtype, convolution.device)
    convolution.attr["padding"].s = b"VALID"
    # Dilation has no meaning for 1 x 1, and would have one now.
    convolution.attr["dilations"].list.i[:] = [1, 1, 1, 1]
