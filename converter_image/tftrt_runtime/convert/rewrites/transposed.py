"""Writes transposed convolutions so that TensorRT has an engine of them. Imports TensorFlow.

`Conv2DBackpropInput` is told the size of its output. TF-TRT takes it where that is a constant, and it seldom is: Keras
and `tf.nn` compute it from the batch. Height and width alone are enough, and they are constants where the batch is
open. With several groups, of which TensorFlow has no kernel for a CPU, they are not: the channels are told there alone.

TensorRT's deconvolution computes the size itself. So TF-TRT pads what is too small, and ends the build of the engine
where it is too large, as `SAME` makes it of every output that is not the stride times the input
(tensorflow/compiler/tf2tensorrt/convert/convert_nodes.cc, `ConvertConv2DHelper`). Such a one is what `VALID` makes,
less its edges: (size - 1) * stride + kernel elements along an axis, of which the first half of what is too much,
rounded down, lies before the output (tensorflow.org/api_docs/python/tf/nn, "Notes on padding", by which the convolution
whose gradient it is would have been padded).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites import padding
from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

BATCH_AND_CHANNELS = 0b1001  # axes of NHWC that a slice takes whole


@dataclass(frozen=True)
class Cropped:
    """A transposed convolution, [height, width] of its output and of that by `VALID`, and where the former begins."""

    node: Any
    sizes: tuple[int, ...]
    whole: tuple[int, ...]
    begins: tuple[int, ...]


@dataclass(frozen=True)
class Sized:
    """A transposed convolution, and [height, width] of its output."""

    node: Any
    sizes: tuple[int, ...]


def _sized(graph: Graph) -> list[Sized]:
    """Every one whose size is computed, though height and width are known."""
    found = []
    for node in graph.definition.node:
        computed = node.op == "Conv2DBackpropInput" and graph.constant(node.input[0]) is None
        made = graph.shape(node.name) if computed else None
        kernel = graph.constant(node.input[1]) if computed else None
        if made is not None and made.rank is not None and kernel is not None and _has_one_group(node, kernel, made):
            axes = padding.SPATIAL if padding.has_channels_last(node) else (2, 3)
            sizes = tuple(made[axis] for axis in axes)
            if None not in sizes:
                found.append(Sized(node, sizes))
    return found


def _has_one_group(node: Any, kernel: Any, made: Any) -> bool:
    """Whether the channels that it makes are the kernel's: height and width alone say nothing of several groups."""
    return made[padding.CHANNELS if padding.has_channels_last(node) else 1] in (None, kernel.shape[2])


def _set_size(graph: Graph, found: Sized) -> list[str]:
    node = found.node
    node.input[0] = _constant(graph, node, "sizes", found.sizes)
    return [node.name]


def _constant(graph: Graph, node: Any, name: str, values: Sequence[int]) -> str:
    source = next(name for name in reversed(node.input) if not name.startswith("^"))
    return graph.add_constant(f"{node.name}/{name}", np.array(values, np.int32), tf.int32, source, node.device)


def _find(graph: Graph) -> list[Cropped]:
    every = (_cropped(node, graph) for node in graph.definition.node if node.op == "Conv2DBackpropInput")
    return [found for found in every if found is not None]


def _cropped(node: Any, graph: Graph) -> Cropped | None:
    kernel = graph.constant(node.input[1])
    plain = set(attribute(node, "dilations").list.i) <= {1} and attribute(node, "padding").s == b"SAME"
    if kernel is None or not plain or not padding.has_channels_last(node):
        return None
    given, made = graph.shape(node.input[2]), graph.shape(node.name)
    if given.rank is None or made.rank is None or not _has_one_group(node, kernel, made):
        return None
    strides = node.attr["strides"].list.i
    sizes, whole, begins = [], [], []
    for axis in padding.SPATIAL:
        size, output = given[axis], made[axis]
        if size is None or output is None:
            return None
        # A stride beyond the kernel leaves zeros behind the last element, which `VALID` has as well.
        most = max((size - 1) * strides[axis] + kernel.shape[axis - 1], output)
        sizes.append(output)
        whole.append(most)
        begins.append(max((size - 1) * strides[axis] + kernel.shape[axis - 1] - output, 0) // 2)
    if all(sizes[place] == given[axis] * strides[axis] for place, axis in enumerate(padding.SPATIAL)):
        return None
    return Cropped(node, tuple(sizes), tuple(whole), tuple(begins))


def _replace(graph: Graph, found: Cropped) -> list[str]:
    """The node becomes the slice of a transposed convolution that is added before it."""
    node = found.node
    wide = graph.add(f"{node.name}/whole", node.op, list(node.input), node.device)
    for name in node.attr:
        wide.attr[name].CopyFrom(node.attr[name])
    wide.attr["padding"].s = b"VALID"
    wide.input[0] = _constant(graph, node, "sizes", found.whole)
    ends = [begin + size for begin, size in zip(found.begins, found.sizes)]
    parts = [
        _constant(graph, node, name, values)
        for name, values in (("begin", [0, *found.begins, 0]), ("end", [0, *ends, 0]), ("steps", [1, 1, 1, 1]))
    ]
    # No `Slice`: of that TF-TRT wants the sizes of the batch, too.
    become(node, "StridedSlice", wide.name, *parts)
    node.attr["Index"].type = tf.int32.as_datatype_enum
    for mask in ("begin_mask", "end_mask"):
        node.attr[mask].i = BATCH_AND_CHANNELS
    for mask in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask"):
        node.attr[mask].i = 0
    return [node.name]


SIZED = Rewrite(
    name="known sizes of transposed convolutions as constants",
    reason="TF-TRT takes a transposed convolution only where the size of its output is a constant",
    find=_sized,
    replace=_set_size,
)
CROPPED = Rewrite(
    name="transposed convolutions of odd sizes as a slice of larger ones",
    reason="TF-TRT ends the build of an engine whose deconvolution is larger than its output",
    find=_find,
    replace=_replace,
)
