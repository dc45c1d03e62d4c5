"""Makes the dilation of a convolution a part of it. Imports TensorFlow.

Keras, and `tf.nn` for depthwise convolutions, dilate by `SpaceToBatchND` before a convolution and `BatchToSpaceND`
behind it. TF-TRT takes neither, for both change the batch, and so each dilated convolution cuts the graph in three.

* A `Conv2D` has dilation as an attribute, which all take.
* A depthwise one has that attribute, too, and TensorFlow has no kernel for it. There the zeros between the elements
  are written into the kernel, as long as it stays small: with dilation d, k elements become (k - 1) * d + 1.

What both compute is the same sums, of which the second has terms of 0 more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites import padding
from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

# Elements along an axis of a depthwise kernel with its zeros: 3 elements with a dilation of 4.
MOST_ALONG_AN_AXIS = 9


@dataclass(frozen=True)
class Dilated:
    """The three operations, the dilation of height and width, the kernel, and the padding that they come to."""

    spread: Any
    convolution: Any
    joined: Any
    rates: tuple[int, int]
    kernel: Any
    padding: bytes


def _find(graph: Graph) -> list[Dilated]:
    every = (_dilated(node, graph) for node in graph.definition.node if node.op == "BatchToSpaceND")
    return [found for found in every if found is not None]


def _dilated(joined: Any, graph: Graph) -> Dilated | None:
    convolution = graph.maker(joined.input[0], padding.CONVOLUTIONS)
    if convolution is None or not graph.is_read_once(convolution.name):
        return None
    spread, kernel = graph.maker(convolution.input[0], {"SpaceToBatchND"}), graph.constant(convolution.input[1])
    if spread is None or kernel is None or not graph.is_read_once(spread.name) or not _is_plain(convolution):
        return None
    blocks = [graph.constant(node.input[1]) for node in (spread, joined)]
    pads, crops = graph.constant(spread.input[2]), graph.constant(joined.input[2])
    if any(value is None for value in (*blocks, pads, crops)) or not np.array_equal(*blocks):
        return None
    # Of height and width: with one block alone it is a convolution along an axis, spelled in another way.
    if blocks[0].shape != (2,):
        return None
    rates = int(blocks[0][0]), int(blocks[0][1])
    if convolution.op != "Conv2D" and max(_sizes(kernel, rates)) > MOST_ALONG_AN_AXIS:
        return None
    padded = _padding(pads, crops, _sizes(kernel, rates))
    return None if padded is None else Dilated(spread, convolution, joined, rates, kernel, padded)


def _is_plain(convolution: Any) -> bool:
    """Whether it neither pads nor strides nor dilates by itself, and has its channels last."""
    ones = all(set(attribute(convolution, name).list.i) <= {1} for name in ("strides", "dilations"))
    valid = attribute(convolution, "padding").s == b"VALID"
    return ones and valid and padding.has_channels_last(convolution)


def _sizes(kernel: Any, rates: tuple[int, int]) -> tuple[int, int]:
    """How many elements a dilated kernel spans."""
    return (kernel.shape[0] - 1) * rates[0] + 1, (kernel.shape[1] - 1) * rates[1] + 1


def _padding(pads: Any, crops: Any, sizes: tuple[int, int]) -> bytes | None:
    """What the zeros before, less what is cropped behind, are of a convolution; None where they are neither."""
    if crops[:, 0].any():
        return None
    before, after = pads[:, 0], pads[:, 1] - crops[:, 1]
    if not before.any() and not after.any():
        return b"VALID"
    # With a stride of 1 all but one of the kernel's elements, half of them before: tf.nn's notes on padding.
    same = [((size - 1) // 2, size - 1 - (size - 1) // 2) for size in sizes]
    return b"SAME" if same == list(zip(before.tolist(), after.tolist())) else None


def _replace(graph: Graph, found: Dilated) -> list[str]:
    """The last operation becomes the convolution."""
    source, node, rates = found.spread.input[0], found.joined, found.rates
    kernel = found.convolution.input[1]
    attributes = {name: found.convolution.attr[name] for name in found.convolution.attr}
    if found.convolution.op != "Conv2D":
        wide = np.zeros((*_sizes(found.kernel, rates), *found.kernel.shape[2:]), found.kernel.dtype)
        wide[:: rates[0], :: rates[1]] = found.kernel
        dtype = tf.as_dtype(wide.dtype)
        kernel = graph.add_constant(f"{found.convolution.name}/dilated", wide, dtype, source, node.device)
        rates = (1, 1)
    node.op = found.convolution.op
    node.input[:] = [source, kernel]
    node.ClearField("attr")
    for name, value in attributes.items():
        node.attr[name].CopyFrom(value)
    node.attr["padding"].s = found.padding
    node.attr["dilations"].list.i[:] = [1, *rates, 1]
    return [node.name]


ATTRIBUTE = Rewrite(
    name="dilation as a part of convolutions",
    reason="TF-TRT takes neither SpaceToBatchND nor BatchToSpaceND, so that each would cut the graph",
    find=_find,
    replace=_replace,
)
