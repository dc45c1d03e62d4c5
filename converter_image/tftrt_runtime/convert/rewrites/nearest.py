"""Writes the nearest neighbour of a resized picture so that TensorRT finds the same one. Imports TensorFlow.

`ResizeNearestNeighbor` takes the element at floor(place * scale), at floor((place + 0.5) * scale) with
`half_pixel_centers`, as `tf.image.resize` and Keras have it, or at round(place * scale') with `align_corners`
(tensorflow/core/kernels/image/resize_nearest_neighbor_op.cc). TF-TRT looks at neither attribute, and TensorRT computes
the first of them, whatever the precision: seen on an H200, other elements in 55 and 71 of 100 places of a picture that
became 1.5 times as large.

Where height and width become a whole number of times as large, the first two are the same, but for a few numbers such
as 41, whose scale in FP32 is so little too small that the first of them is late by one. Everything else is left to
TensorFlow, in FP64, which TF-TRT takes no operation in; what is only moved is the same in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites import padding
from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

# Sizes that dimensions might have which are open: what is a whole number of times these is so of any.
MIGHT_BE = (6, 7, 11)
TAKEN = {tf.float16.as_datatype_enum, tf.float32.as_datatype_enum}


def _otherwise(graph: Graph) -> Iterator[Any]:
    """Every one that takes other elements than TensorRT does, as far as its attributes say."""
    for node in graph.definition.node:
        other = any(attribute(node, name).b for name in ("half_pixel_centers", "align_corners"))
        if node.op == "ResizeNearestNeighbor" and attribute(node, "T").type in TAKEN and other:
            yield node


def _is_whole(node: Any, graph: Graph) -> bool:
    """Whether it makes a picture a whole number of times as large."""
    source, wanted = (graph.shapes.get_tensor_by_name(name if ":" in name else f"{name}:0") for name in node.input[:2])
    if attribute(node, "align_corners").b or source.shape.rank is None:
        return False
    for open_size in MIGHT_BE:
        sizes = [open_size if size is None else size for size in source.shape.as_list()]
        made = graph.computed(wanted, source, sizes)
        if made is None or any(not _are_alike(sizes[axis], size) for size, axis in zip(made, padding.SPATIAL)):
            return False
    return True


def _are_alike(size: int, made: int) -> bool:
    """Whether an axis becomes so many times as large, and half pixels change no place of it, in the kernel's FP32."""
    if made % size:
        return False
    places, scale = np.arange(made, dtype=np.float32), np.float32(size) / np.float32(made)
    return bool(np.array_equal(np.floor(places * scale), np.floor((places + np.float32(0.5)) * scale)))


def _take_off(_: Graph, node: Any) -> list[str]:
    node.attr["half_pixel_centers"].b = False
    return [node.name]


def _leave(graph: Graph, node: Any) -> list[str]:
    """The node becomes a cast of one in FP64 that is added before it."""
    kind, double = node.attr["T"].type, tf.float64.as_datatype_enum
    wide = graph.add(f"{node.name}/wide", "Cast", [node.input[0]], node.device)
    wide.attr["SrcT"].type, wide.attr["DstT"].type = kind, double
    resized = graph.add(f"{node.name}/resized", node.op, [wide.name, *node.input[1:]], node.device)
    for name in node.attr:
        resized.attr[name].CopyFrom(node.attr[name])
    resized.attr["T"].type = double
    become(node, "Cast", resized.name)
    node.ClearField("attr")
    node.attr["SrcT"].type, node.attr["DstT"].type = double, kind
    return [node.name]


WHOLE = Rewrite(
    name="nearest neighbours of whole sizes without half pixels",
    reason="TensorRT does not look at half_pixel_centers, which changes nothing where a size is so many times another",
    find=lambda graph: [node for node in _otherwise(graph) if _is_whole(node, graph)],
    replace=_take_off,
)
LEFT = Rewrite(
    name="nearest neighbours left to TensorFlow",
    reason="TensorRT takes other elements than half_pixel_centers and align_corners say",
    find=lambda graph: [node for node in _otherwise(graph) if not _is_whole(node, graph)],
    replace=_leave,
)
