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

A convolution that names its padding itself (`EXPLICIT`, as exporters from other libraries write it) is taken by TF-TRT
in no engine at all. It becomes a `Pad` before one without padding, of which the above makes what it can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

PADS = {"Pad", "PadV2"}
CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
SPATIAL = (1, 2)  # axes of NHWC
CHANNELS = 3


@dataclass(frozen=True)
class Padded:
    """A convolution, and the `Pad` before it."""

    convolution: Any
    pad: Any


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """How many outputs `SAME` has along an axis of `size` elements, and how many elements it pads before them."""
    outputs = -(-size // stride)
    return outputs, max((outputs - 1) * stride + kernel - size, 0) // 2


def is_same(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> bool:
    """Whether `SAME` is this padding of an axis that has `size` elements before it is padded."""
    before, after = padding
    return same(size, kernel, stride) == ((size + before + after - kernel) // stride + 1, before)


def has_channels_last(node: Any) -> bool:
    """Whether a node that knows of layouts has its channels in the last axis."""
    return attribute(node, "data_format").s in {b"", b"NHWC"}


def pad_before(convolution: Any, graph: Graph) -> Any:
    """The `Pad` that this convolution without padding of its own reads; None for everything else."""
    if convolution.op not in CONVOLUTIONS:
        return None
    dense = set(attribute(convolution, "dilations").list.i) <= {1}
    plain = dense and attribute(convolution, "padding").s == b"VALID"
    return graph.maker(convolution.input[0], PADS) if plain and has_channels_last(convolution) else None


def kernel_sizes(convolution: Any, graph: Graph) -> dict[int, int] | None:
    """The height and width of a convolution's kernel by the axes that it moves along; None where one is not known."""
    shape = graph.shape(convolution.input[1])
    sizes = None if shape.rank is None else {axis: shape[axis - 1] for axis in SPATIAL}
    return None if sizes is None or None in sizes.values() else sizes


def spatial_zeros(pad: Any, graph: Graph) -> Any:
    """How many zeros a `Pad` adds along each axis, if only along height and width and if only zeros; None otherwise."""
    paddings = graph.constant(pad.input[1])
    value = graph.constant(pad.input[2]) if len(pad.input) > 2 else np.zeros(())
    return None if paddings is None or value is None or value != 0 or paddings[[0, CHANNELS]].any() else paddings


def _padded(graph: Graph) -> list[Padded]:
    return [Padded(node, pad) for node in graph.definition.node if (pad := pad_before(node, graph)) is not None]


def _find_same(graph: Graph) -> list[Padded]:
    return [padded for padded in _padded(graph) if _pads_as_same(padded, graph)]


def _pads_as_same(padded: Padded, graph: Graph) -> bool:
    paddings, kernel = spatial_zeros(padded.pad, graph), kernel_sizes(padded.convolution, graph)
    shape = graph.shape(padded.pad.input[0])
    if paddings is None or kernel is None or shape.rank is None or None in [shape[axis] for axis in SPATIAL]:
        return False
    strides = padded.convolution.attr["strides"].list.i
    return all(is_same(shape[axis], kernel[axis], strides[axis], tuple(paddings[axis])) for axis in SPATIAL)


def _fold(_: Graph, padded: Padded) -> list[str]:
    padded.convolution.input[0] = padded.pad.input[0]
    padded.convolution.attr["padding"].s = b"SAME"
    return [padded.convolution.name]


def _find_explicit(graph: Graph) -> list[Any]:
    """Every convolution that names its padding itself."""
    return [
        node
        for node in graph.definition.node
        if node.op in CONVOLUTIONS and attribute(node, "padding").s == b"EXPLICIT"
    ]


def _spell_out(graph: Graph, convolution: Any) -> list[str]:
    widths = np.array(attribute(convolution, "explicit_paddings").list.i, np.int32).reshape(-1, 2)
    source = convolution.input[0]
    around = graph.add_constant(f"{convolution.name}/around", widths, tf.int32, source, convolution.device)
    pad = graph.add(f"{convolution.name}/padded", "Pad", [source, around], convolution.device)
    pad.attr["T"].type, pad.attr["Tpaddings"].type = convolution.attr["T"].type, tf.int32.as_datatype_enum
    convolution.input[0] = pad.name
    convolution.attr["padding"].s = b"VALID"
    del convolution.attr["explicit_paddings"]
    return [convolution.name]


def _find_movable(graph: Graph) -> list[Any]:
    """Every `Pad` of zeros before a convolution that the layout optimizer can take along."""
    pads = {padded.pad.name: padded.pad for padded in _padded(graph)}
    return [pads[name] for name in sorted(pads) if _is_movable(pads[name], graph)]


def _is_movable(pad: Any, graph: Graph) -> bool:
    # What is fetched stays in its layout, and so would be transposed once more.
    if pad.name in graph.fetched or spatial_zeros(pad, graph) is None:
        return False
    shape = graph.shape(pad.input[0])
    return shape.rank is not None and shape[CHANNELS] is not None


def _move(graph: Graph, pad: Any) -> list[str]:
    """Have the layout optimizer move this `Pad` along with its convolution."""
    source = graph.shapes.get_operation_by_name(pad.name).inputs[0]
    # TF-TRT has no `PadV2`, which with zeros is a `Pad`.
    pad.op = "Pad"
    del pad.input[2:]
    value = np.zeros(source.shape[CHANNELS], source.dtype.as_numpy_dtype)
    zeros = graph.add_constant(f"{pad.name}/layout/zeros", value, source.dtype, pad.input[0], pad.device)
    bias = graph.add(f"{pad.name}/layout", "BiasAdd", [pad.input[0], zeros], pad.device)
    bias.attr["T"].type = source.dtype.as_datatype_enum
    bias.attr["data_format"].s = b"NHWC"
    pad.input[0] = bias.name
    return [pad.name]


EXPLICIT = Rewrite(
    name="explicit padding before its convolution",
    reason="TF-TRT takes no convolution that names its padding itself",
    find=_find_explicit,
    replace=_spell_out,
)
SAME = Rewrite(
    name="padding as a part of convolutions",
    reason="TF-TRT makes a layer of its own of a Pad, which reads and writes the whole tensor",
    find=_find_same,
    replace=_fold,
)
MOVED = Rewrite(
    name="padding in the layout of its convolution",
    reason="TensorRT fuses a Pad with the convolution behind it where no transposition lies between them",
    find=_find_movable,
    replace=_move,
)
