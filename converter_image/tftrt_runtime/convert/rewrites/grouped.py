"""Writes grouped convolutions so that TensorRT has an engine of them, or leaves them to TensorFlow. Imports TensorFlow.

TF-TRT takes every `Conv2D` as one with a single group (tensorflow/compiler/tf2tensorrt/convert/convert_nodes.cc,
`ConvertConv2D`). Of one with several (RegNet, ResNeXt, `groups=` of Keras) TensorRT 8.5 then builds no engine, for the
kernel has too few values, and the whole conversion fails.

A grouped convolution is a dense one whose kernel is zero between different groups: its sums have more terms, all of
them 0. That is as many times the kernel as there are groups, so a large one is left to TensorFlow instead, by a kernel
that TF-TRT does not know to be a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

# Of the dense kernel, 16 MiB in FP32: 3 x 3 elements of 682 channels by as many.
MOST_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Grouped:
    """A convolution whose kernel, [height, width, channels of a group, outputs], has so many groups."""

    convolution: Any
    kernel: Any
    groups: int

    @property
    def is_large(self) -> bool:
        """Whether a dense kernel would be too large."""
        return bool(self.kernel.size * self.groups > MOST_ELEMENTS)


def _grouped(graph: Graph) -> list[Grouped]:
    found = []
    for node in graph.definition.node:
        kernel = graph.constant(node.input[1]) if node.op == "Conv2D" else None
        if kernel is None:
            continue
        shape = graph.shape(node.input[0])
        channels = None if shape.rank is None else shape[1 if attribute(node, "data_format").s == b"NCHW" else 3]
        if channels is not None and channels != kernel.shape[2]:
            found.append(Grouped(node, kernel, channels // kernel.shape[2]))
    return found


def _make_dense(graph: Graph, found: Grouped) -> list[str]:
    node, kernel = found.convolution, found.kernel
    inner, outputs = kernel.shape[2], kernel.shape[3] // found.groups
    dense = np.zeros((*kernel.shape[:2], inner * found.groups, kernel.shape[3]), kernel.dtype)
    for group in range(found.groups):
        mine = slice(group * outputs, (group + 1) * outputs)
        dense[:, :, group * inner : (group + 1) * inner, mine] = kernel[..., mine]
    dtype = tf.as_dtype(kernel.dtype)
    node.input[1] = graph.add_constant(f"{node.name}/dense", dense, dtype, node.input[0], node.device)
    return [node.name]


def _leave(graph: Graph, found: Grouped) -> list[str]:
    node = found.convolution
    kernel = graph.add(f"{node.name}/kernel", "PlaceholderWithDefault", [node.input[1]], node.device)
    kernel.attr["dtype"].type = tf.as_dtype(found.kernel.dtype).as_datatype_enum
    kernel.attr["shape"].shape.CopyFrom(tf.TensorShape(found.kernel.shape).as_proto())
    node.input[1] = kernel.name
    return [node.name]


DENSE = Rewrite(
    name="grouped convolutions as dense ones",
    reason="TF-TRT takes a convolution to have one group, and TensorRT builds no engine of the others",
    find=lambda graph: [found for found in _grouped(graph) if not found.is_large],
    replace=_make_dense,
)
LEFT = Rewrite(
    name="large grouped convolutions left to TensorFlow",
    reason="TF-TRT takes a convolution to have one group, and as dense ones these would be too large",
    find=lambda graph: [found for found in _grouped(graph) if found.is_large],
    replace=_leave,
)
