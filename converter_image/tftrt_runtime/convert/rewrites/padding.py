"""Makes zero padding before a convolution a part of it. Imports TensorFlow.

TF-TRT makes a layer of its own of a `Pad`, which reads and writes the whole tensor; the padding of a convolution itself
costs nothing. There are two ways to get there, neither of which changes what the graph computes:

* TF-TRT's convolutions pad as TensorFlow's `SAME` does (tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2): as
  much as an output of ceil(n / stride) elements needs, half of it before, the odd element after. Where a `Pad` does
  just that, it becomes `SAME`.
* TensorRT itself fuses a padding layer into the convolution that follows it directly (its developer guide, "Layer
  fusion"), which needs both in the layout NCHW. Grappler's layout optimizer moves a `Pad` there with the convolution
  only if something before it is moved, too; before the first convolution nothing is, and transpositions lie between
  the two. A `BiasAdd` of zeros before that `Pad` is moved, takes the `Pad` along, and is then folded away as the
  constant it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tftrt_runtime.convert.rewrites import graph_defs

PADS = {"Pad", "PadV2"}
CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
SPATIAL = (1, 2)  # axes of NHWC
CHANNELS = 3


def fold(graph: Any) -> tuple[int, int]:
    """Prepare every `Pad` before a convolution in this GraphDef of a frozen graph.

    Returns how many became `SAME`, and how many were left for TensorRT to fuse.
    """
    nodes = {node.name: node for node in graph.node}
    convolutions = [node for node in graph.node if pad_before(node, nodes) is not None]
    if not convolutions:
        return 0, 0
    shapes = graph_defs.with_shapes(graph)
    folded = [_fold(node, nodes, shapes) for node in convolutions]
    left = {pad_before(node, nodes).name for node, done in zip(convolutions, folded, strict=True) if not done}
    return sum(folded), sum(_move(graph, nodes[name], nodes, shapes) for name in sorted(left))


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """How many outputs `SAME` has along an axis of `size` elements, and how many elements it pads before them."""
    outputs = -(-size // stride)
    return outputs, max((outputs - 1) * stride + kernel - size, 0) // 2


def is_same(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> bool:
    """Whether `SAME` is this padding of an axis that has `size` elements before it is padded."""
    before, after = padding
    return same(size, kernel, stride) == ((size + before + after - kernel) // stride + 1, before)


def pad_before(convolution: Any, nodes: dict[str, Any]) -> Any:
    """The `Pad` that this convolution without padding of its own reads; None for everything else."""
    if convolution.op not in CONVOLUTIONS:
        return None
    attributes = convolution.attr
    plain = attributes["padding"].s == b"VALID" and set(attributes["dilations"].list.i) <= {1}
    if not plain or attributes["data_format"].s not in {b"", b"NHWC"}:
        return None
    return graph_defs.made_by(convolution.input[0], nodes, PADS)


def _fold(convolution: Any, nodes: dict[str, Any], shapes: Any) -> bool:
    """Fold the convolution's padding; whether that was possible."""
    pad = pad_before(convolution, nodes)
    paddings, kernel = spatial_zeros(pad, nodes), graph_defs.constant(convolution.input[1], nodes)
    shape = shapes.get_operation_by_name(pad.name).inputs[0].shape
    if paddings is None or kernel is None or shape.rank is None or None in [shape[axis] for axis in SPATIAL]:
        return False
    strides = convolution.attr["strides"].list.i
    if not all(is_same(shape[axis], kernel.shape[axis - 1], strides[axis], tuple(paddings[axis])) for axis in SPATIAL):
        return False
    convolution.input[0] = pad.input[0]
    convolution.attr["padding"].s = b"SAME"
    return True


def _move(graph: Any, pad: Any, nodes: dict[str, Any], shapes: Any) -> bool:
    """Have the layout optimizer move this `Pad` along with its convolution; whether that was possible."""
    source = shapes.get_operation_by_name(pad.name).inputs[0]
    if spatial_zeros(pad, nodes) is None or source.shape.rank is None or source.shape[CHANNELS] is None:
        return False
    # TF-TRT has no `PadV2`, which with zeros is a `Pad`.
    pad.op = "Pad"
    del pad.input[2:]
    value = np.zeros(source.shape[CHANNELS], source.dtype.as_numpy_dtype)
    zeros = graph_defs.add_constant(graph, f"{pad.name}/layout/zeros", value, source.dtype, pad.device)
    bias = graph.node.add(name=f"{pad.name}/layout", op="BiasAdd", device=pad.device)
    bias.attr["T"].type = source.dtype.as_datatype_enum
    bias.attr["data_format"].s = b"NHWC"
    bias.input.extend((pad.input[0], zeros))
    pad.input[0] = bias.name
    return True


def spatial_zeros(pad: Any, nodes: dict[str, Any]) -> Any:
    """How many zeros a `Pad` adds along each axis, if only along height and width and if only zeros; None otherwise."""
    paddings = graph_defs.constant(pad.input[1], nodes)
    value = graph_defs.constant(pad.input[2], nodes) if len(pad.input) > 2 else np.zeros(())
    return None if paddings is None or value is None or value != 0 or paddings[[0, CHANNELS]].any() else paddings
