"""Makes zero padding before max pooling a part of it. Imports TensorFlow.

TF-TRT makes a layer of its own of a `Pad`, which TensorRT fuses into convolutions and not into pooling. Pooling itself
pads for nothing, and TF-TRT's does as TensorFlow's `SAME` does, or not at all. ResNet pads one element on both sides of
an even size before a kernel of 3 and a stride of 2. `SAME` pads the end of it only, but both sides of an odd size. So
the convolution before makes one row and one column more, and what pooling makes of them is left out by the
convolutions of 1 x 1 behind it: their kernels become 2 x 2, of which the first element alone is not zero.

`SAME` leaves out what lies outside, which zeros do only where nothing is negative: behind a `Relu`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites import padding
from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

NOT_NEGATIVE = {"Relu", "Relu6"}
NORMALIZATIONS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
# What computes each element from the same element of its first input.
ELEMENTARY = {"BiasAdd"} | NORMALIZATIONS
# What does so with two inputs, as Keras 3 and what comes from ONNX spell out a bias and a batch normalization.
ELEMENTARY_OF_TWO = {"Add", "AddV2", "Mul", "RealDiv", "Sub"}
# So many elements along each axis: of TensorFlow's shapes, height and width alone matter here.
Sizes = Mapping[int, int]


@dataclass(frozen=True)
class Folded:
    """A pooling that is to pad by itself what makes its padding superfluous."""

    pool: Any
    source: str  # what it reads in place of the `Pad`
    wider: Mapping[str, Any]  # what the `Pad` of the convolution before must pad, by its name
    readers: Sequence[Any]  # the convolutions that leave out what is too much
    left_over: Sizes


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


def _find(graph: Graph) -> list[Folded]:
    """Every max pooling with zeros before it that can pad by itself."""
    padded = [(node, pad) for node in graph.definition.node if (pad := _pad(node, graph)) is not None]
    return [folded for pool, pad in padded if (folded := _folded(pool, pad, graph)) is not None]


def _pad(pool: Any, graph: Graph) -> Any:
    """The `Pad` that this max pooling without padding of its own reads; None for everything else."""
    if pool.op != "MaxPool" or attribute(pool, "padding").s != b"VALID" or not padding.has_channels_last(pool):
        return None
    return graph.maker(pool.input[0], padding.PADS)


def _folded(pool: Any, pad: Any, graph: Graph) -> Folded | None:
    pads = padding.spatial_zeros(pad, graph)
    source = graph.maker(pad.input[0], NOT_NEGATIVE)
    if pads is None or source is None:
        return None
    given, pooled = _sizes(source.name, graph), _sizes(pool.name, graph)
    if given is None or pooled is None:
        return None
    kernel, strides = pool.attr["ksize"].list.i, pool.attr["strides"].list.i
    more, left_over = {}, {}
    for axis, size in given.items():
        rows = more_rows(size, kernel[axis], strides[axis], tuple(pads[axis]))
        if rows is None:
            return None
        more[axis] = rows
        left_over[axis] = padding.same(size + rows, kernel[axis], strides[axis])[0] - pooled[axis]
    wider = _padding_to_widen(source, more, graph) if any(more.values()) else {}
    readers = _pointwise_readers(pool, graph) if any(left_over.values()) else []
    if wider is None or readers is None or (any(more.values()) and not graph.is_read_once(pad.name)):
        return None
    return Folded(pool, source.name, wider, readers, left_over)


def _replace(graph: Graph, folded: Folded) -> list[str]:
    for name, wider in folded.wider.items():
        _set_padding(graph, name, wider)
    for reader in folded.readers:
        _leave_out(graph, reader, folded.left_over)
    folded.pool.attr["padding"].s = b"SAME"
    folded.pool.input[0] = folded.source
    return [reader.name for reader in folded.readers] if any(folded.left_over.values()) else [folded.pool.name]


def _sizes(tensor: str, graph: Graph) -> Sizes | None:
    """The height and width of a tensor, if both are known."""
    shape = graph.shape(tensor)
    if shape.rank is None or None in [shape[axis] for axis in padding.SPATIAL]:
        return None
    return {axis: shape[axis] for axis in padding.SPATIAL}


def _padding_to_widen(source: Any, more: Sizes, graph: Graph) -> dict[str, Any] | None:
    """The `Pad` of the convolution behind whose element-wise operations this is, and what it must pad for so much more.

    None if there is none, or if somebody else reads what becomes larger.
    """
    node = source
    while node is not None and node.op not in padding.CONVOLUTIONS:
        before = _input_of_elements(node, graph)
        if before is None or not graph.is_read_once(node.name):
            return None
        node = graph.nodes.get(before.removesuffix(":0"))
    pad = None if node is None else padding.pad_before(node, graph)
    if pad is None or not graph.is_read_once(node.name) or not graph.is_read_once(pad.name):
        return None
    pads, kernel = padding.spatial_zeros(pad, graph), padding.kernel_sizes(node, graph)
    size, made = _sizes(pad.name, graph), _sizes(node.name, graph)
    if pads is None or kernel is None or size is None or made is None:
        return None
    pads, strides = pads.copy(), node.attr["strides"].list.i
    for axis, rows in more.items():
        needed = (made[axis] + rows - 1) * strides[axis] + kernel[axis]
        pads[axis, 1] += max(needed - size[axis], 0)
    return {pad.name: pads}


def _input_of_elements(node: Any, graph: Graph) -> str | None:
    """The input that a node computes each of its elements from, with nothing that depends on where that is."""
    if node.op in NOT_NEGATIVE | ELEMENTARY:
        training = node.op in NORMALIZATIONS and not _is_for_inference(node)
        return None if training or not padding.has_channels_last(node) else str(node.input[0])
    if node.op not in ELEMENTARY_OF_TWO:
        return None
    one, other = map(str, node.input[:2])
    if _is_flat(one, graph) == _is_flat(other, graph):
        return None
    return other if _is_flat(one, graph) else one


def _is_for_inference(normalization: Any) -> bool:
    """Whether it is told that it is not training, which is the default."""
    return "is_training" in normalization.attr and not normalization.attr["is_training"].b


def _is_flat(tensor: str, graph: Graph) -> bool:
    """Whether a tensor is the same for all places of a picture that it is combined with."""
    shape = graph.shape(tensor)
    if shape.rank is None or shape.rank > len("NHWC"):
        return False
    return all(size == 1 for size in shape.as_list()[-3:-1])


def _pointwise_readers(pool: Any, graph: Graph) -> list[Any] | None:
    """All that read this pooling, if each is a convolution of 1 x 1 with a constant kernel; else None."""
    if pool.name in graph.fetched:
        return None
    readers = graph.readers(pool.name)
    for node in readers:
        reads_it = node.input[0].removesuffix(":0") == pool.name
        if node.op != "Conv2D" or not reads_it or not padding.has_channels_last(node):
            return None
        kernel = graph.constant(node.input[1])
        if kernel is None or kernel.shape[:2] != (1, 1) or attribute(node, "padding").s not in {b"SAME", b"VALID"}:
            return None
    return readers


def _set_padding(graph: Graph, name: str, pads: Any) -> None:
    pad = graph.nodes[name]
    dtype = tf.as_dtype(pads.dtype)
    pad.input[1] = graph.add_constant(f"{name}/wider", pads, dtype, pad.input[0], pad.device)


def _leave_out(graph: Graph, convolution: Any, left_over: Sizes) -> None:
    """Have a convolution of 1 x 1 leave out the last elements: as many along each axis."""
    kernel = graph.constant(convolution.input[1])
    wider = np.pad(kernel, [*((0, left_over[axis]) for axis in padding.SPATIAL), (0, 0), (0, 0)])
    name, dtype = f"{convolution.name}/wider", tf.as_dtype(kernel.dtype)
    convolution.input[1] = graph.add_constant(name, wider, dtype, convolution.input[0], convolution.device)
    convolution.attr["padding"].s = b"VALID"
    # Dilation has no meaning for 1 x 1, and would have one now.
    convolution.attr["dilations"].list.i[:] = [1, 1, 1, 1]


FOLDED = Rewrite(
    name="padding as a part of max pooling",
    reason="TF-TRT makes a layer of its own of a Pad, and TensorRT does not fuse it with pooling",
    find=_find,
    replace=_replace,
)
