"""Writes transposed convolutions so that TensorRT has an engine of them. Imports TensorFlow.

`Conv2DBackpropInput` is told the size of its output, which TensorRT's deconvolution computes instead. So TF-TRT pads
what is too small, and ends the build of the engine where it is too large, as `SAME` makes it of every output that is
not the stride times the input (tensorflow/compiler/tf2tensorrt/convert/convert_nodes.cc, `ConvertConv2DHelper`). Such
a one is what `VALID` makes, less its edges: (size - 1) * stride + kernel elements along an axis, of which the first
half of what is too much, rounded down, lies before the output (tensorflow.org/api_docs/python/tf/nn, "Notes on
padding", by which the convolution whose gradient it is would have been padded).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites import padding
from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import Rewrite


@dataclass(frozen=True)
class Cropped:
    """A transposed convolution, [height, width] of its output and of the one by `VALID`, and where the former begins.

    `channels` are those of its output.
    """

    node: Any
    sizes: tuple[int, int]
    whole: tuple[int, int]
    begins: tuple[int, int]
    channels: int


def _find(graph: Graph) -> list[Cropped]:
    every = (_cropped(node, graph) for node in graph.definition.node if node.op == "Conv2DBackpropInput")
    return [found for found in every if found is not None]


def _cropped(node: Any, graph: Graph) -> Cropped | None:
    kernel = graph.constant(node.input[1])
    plain = set(attribute(node, "dilations").list.i) <= {1} and attribute(node, "padding").s == b"SAME"
    if kernel is None or not plain or not padding.has_channels_last(node):
        return None
    given, made = graph.shape(node.input[2]), graph.shape(node.name)
    if given.rank is None or made.rank is None:
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
    return Cropped(node, tuple(sizes), tuple(whole), tuple(begins), kernel.shape[2])


def _replace(graph: Graph, found: Cropped) -> list[str]:
    """The node becomes the slice of a transposed convolution that is added before it."""
    node = found.node
    source = node.input[2]
    wide = graph.add(f"{node.name}/whole", node.op, list(node.input), node.device)
    for name in node.attr:
        wide.attr[name].CopyFrom(node.attr[name])
    wide.attr["padding"].s = b"VALID"
    # Height and width alone: the batch is that of the input, and may be open.
    sizes = np.array(found.whole, np.int32)
    wide.input[0] = graph.add_constant(f"{node.name}/sizes", sizes, tf.int32, source, node.device)
    begin, size = np.array([0, *found.begins, 0], np.int32), np.array([-1, *found.sizes, found.channels], np.int32)
    become(
        node,
        "Slice",
        wide.name,
        graph.add_constant(f"{node.name}/begin", begin, tf.int32, source, node.device),
        graph.add_constant(f"{node.name}/size", size, tf.int32, source, node.device),
    )
    node.attr["Index"].type = tf.int32.as_datatype_enum
    return [node.name]


CROPPED = Rewrite(
    name="transposed convolutions of odd sizes as a slice of larger ones",
    reason="TF-TRT ends the build of an engine whose deconvolution is larger than its output",
    find=_find,
    replace=_replace,
)
