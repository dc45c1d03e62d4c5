"""Makes zero padding before max pooling a part of it. Imports TensorFlow.

TF-TRT makes a layer of its own of a `Pad`, which TensorRT fuses into convolutions and not into pooling. Pooling itself
pads for nothing, and TF-TRT's does as TensorFlow's `SAME` does, or not at all. ResNet and DenseNet pad one element on
both sides of an even size before a kernel of 3 and a stride of 2. `SAME` pads the end of it only, but both sides of an
odd size. So the convolution before makes one row and one column more, and what pooling makes of them is cut off.

`SAME` leaves out what lies outside, which zeros do only where nothing is negative: behind a `Relu`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import tensorflow as tf

from tftrt_runtime.convert import graph_defs, padding

NOT_NEGATIVE = {"Relu", "Relu6"}
ELEMENTARY = {"BiasAdd", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}


def fold(graph: Any) -> int:
    """Fold every `Pad` before max pooling in this GraphDef of a frozen graph, where possible; returns how many were."""
    nodes = {node.name: node for node in graph.node}
    padded = [node for node in graph.node if _pad(node, nodes) is not None]
    if not padded:
        return 0
    shapes = graph_defs.with_shapes(graph)
    readers = Counter(name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input)
    return sum(_fold(graph, node, nodes, shapes, readers) for node in padded)


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


def _pad(pool: Any, nodes: dict[str, Any]) -> Any:
    """The `Pad` that this max pooling without padding of its own reads; None for everything else."""
    if pool.op != "MaxPool" or pool.attr["padding"].s != b"VALID" or pool.attr["data_format"].s not in {b"", b"NHWC"}:
        return None
    return graph_defs.made_by(pool.input[0], nodes, padding.PADS)


def _fold(graph: Any, pool: Any, nodes: dict[str, Any], shapes: Any, readers: Counter[str]) -> bool:
    """Fold the padding of this pooling; whether that was possible."""
    pad = _pad(pool, nodes)
    pads, source = padding.spatial_zeros(pad, nodes), graph_defs.made_by(pad.input[0], nodes, NOT_NEGATIVE)
    if pads is None or source is None:
        return False
    shape = shapes.get_operation_by_name(source.name).outputs[0].shape
    pooled = shapes.get_operation_by_name(pool.name).outputs[0].shape
    if shape.rank is None or None in [shape[axis] for axis in padding.SPATIAL]:
        return False
    kernel, strides = pool.attr["ksize"].list.i, pool.attr["strides"].list.i
    more = {}
    for axis in padding.SPATIAL:
        rows = more_rows(shape[axis], kernel[axis], strides[axis], tuple(pads[axis]))
        if rows is None:
            return False
        more[axis] = rows
    if any(more.values()) and not (readers[pad.name] == 1 and _widen(graph, source, more, nodes, shapes, readers)):
        return False
    sizes = [pooled[axis] for axis in padding.SPATIAL]
    if sizes == [padding.same(shape[axis] + more[axis], kernel[axis], strides[axis])[0] for axis in padding.SPATIAL]:
        pool.attr["padding"].s = b"SAME"
        pool.input[0] = source.name
    else:
        _pool_and_cut(graph, pool, source.name, [-1, *sizes, pooled[padding.CHANNELS] or -1])
    return True


def _widen(
    graph: Any, source: Any, more: dict[int, int], nodes: dict[str, Any], shapes: Any, readers: Counter[str]
) -> bool:
    """Have the convolution behind whose element-wise operations this is make so much more; whether that was possible.

    Nobody else may read what becomes larger.
    """
    node = source
    while node is not None and node.op in NOT_NEGATIVE | ELEMENTARY:
        training = node.op != "BiasAdd" and node.op in ELEMENTARY and node.attr["is_training"].b
        if training or readers[node.name] != 1:
            return False
        node = nodes.get(node.input[0].removesuffix(":0"))
    pad = None if node is None else padding.pad_before(node, nodes)
    if pad is None or readers[node.name] != 1 or readers[pad.name] != 1:
        return False
    pads, kernel = padding.spatial_zeros(pad, nodes), graph_defs.constant(node.input[1], nodes)
    given, made = (shapes.get_operation_by_name(name) for name in (pad.name, node.name))
    size, made_size = given.outputs[0].shape, made.outputs[0].shape
    if pads is None or kernel is None or None in [size[axis] for axis in padding.SPATIAL]:
        return False
    pads, strides = pads.copy(), node.attr["strides"].list.i
    for axis, rows in more.items():
        needed = (made_size[axis] + rows - 1) * strides[axis] + kernel.shape[axis - 1]
        pads[axis, 1] += max(needed - size[axis], 0)
    pad.input[1] = graph_defs.add_constant(graph, f"{pad.name}/wider", pads, tf.int32, pad.device)
    return True


def _pool_and_cut(graph: Any, pool: Any, source: str, size: list[int]) -> None:
    """Pool by `SAME`, and keep the first elements of each axis, -1 for all, under the old name."""
    same = graph.node.add()
    same.CopyFrom(pool)
    same.name = f"{pool.name}/same"
    same.attr["padding"].s = b"SAME"
    same.input[0] = source
    begin = graph_defs.add_constant(graph, f"{pool.name}/begin", [0, 0, 0, 0], tf.int32, pool.device)
    kept = graph_defs.add_constant(graph, f"{pool.name}/size", size, tf.int32, pool.device)
    dtype = pool.attr["T"].type
    pool.op = "Slice"
    pool.ClearField("attr")
    pool.attr["T"].type = dtype
    pool.attr["Index"].type = tf.int32.as_datatype_enum
    pool.input[:] = [same.name, begin, kept]
