"""Makes zero padding before a convolution a part of it. Imports TensorFlow.

TF-TRT makes up to four layers of a `Pad` (transposed, padded, transposed back and reformatted), each of which reads and
writes the whole tensor; TensorRT fuses none of them. The padding of a convolution itself costs nothing, but TF-TRT
knows only TensorFlow's `SAME` (tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2): as much as the output of
ceil(n / stride) elements needs, half of it before, the odd element after. Where a kernel with a few zeros at its ends
pads like that, the two are the same function.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

PADS = {"Pad", "PadV2"}
CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
SPATIAL = (1, 2)  # axes of NHWC
# A larger kernel is more work in proportion to its channels. TensorRT's kernels for pictures fill up to this many.
FEW_CHANNELS = 4
MOST_ZEROS = 2  # at either end of a kernel


class Zeros(NamedTuple):
    """How many zeros a kernel gets before and after its weights, along one axis."""

    before: int
    after: int


def fold(graph: Any) -> int:
    """Fold every `Pad` that can be into its convolution, in this GraphDef of a frozen graph; how many there were."""
    nodes = {node.name: node for node in graph.node}
    convolutions = [node for node in graph.node if _pad(node, nodes) is not None]
    if not convolutions:
        return 0
    shapes = tf.Graph()
    with shapes.as_default():
        tf.import_graph_def(graph, name="")
    return sum(_fold(graph, node, nodes, shapes) for node in convolutions)


def zeros(size: int, kernel: int, stride: int, padding: tuple[int, int], most: int) -> Zeros | None:
    """The fewest zeros, up to `most` at either end, with which `SAME` is this padding; None where none do.

    `size` is that of the axis in elements, before it is padded.
    """
    before, after = padding
    outputs = (size + before + after - kernel) // stride + 1
    if outputs != -(-size // stride):
        return None
    for found in sorted((Zeros(*pair) for pair in product(range(most + 1), repeat=2)), key=sum):
        total = max((outputs - 1) * stride + kernel + sum(found) - size, 0)
        if total // 2 == before + found.before:
            return found
    return None


def _pad(convolution: Any, nodes: dict[str, Any]) -> Any:
    """The `Pad` that this convolution without padding of its own reads; None for everything else."""
    if convolution.op not in CONVOLUTIONS:
        return None
    attributes = convolution.attr
    pad = nodes.get(convolution.input[0].removesuffix(":0"))
    plain = attributes["padding"].s == b"VALID" and set(attributes["dilations"].list.i) <= {1}
    if not plain or attributes["data_format"].s not in {b"", b"NHWC"} or pad is None or pad.op not in PADS:
        return None
    return None if any(name.startswith("^") for name in pad.input) else pad


def _fold(graph: Any, convolution: Any, nodes: dict[str, Any], shapes: Any) -> bool:
    """Fold the convolution's padding; whether that was possible."""
    pad = _pad(convolution, nodes)
    paddings, kernel = _constant(pad.input[1], nodes), _constant(convolution.input[1], nodes)
    value = _constant(pad.input[2], nodes) if len(pad.input) > 2 else np.zeros(())
    if paddings is None or kernel is None or value is None or value != 0 or paddings[[0, 3]].any():
        return False
    shape = shapes.get_operation_by_name(pad.name).inputs[0].shape
    if shape.rank is None or None in [shape[axis] for axis in SPATIAL]:
        return False
    strides = convolution.attr["strides"].list.i
    most = MOST_ZEROS if kernel.shape[2] <= FEW_CHANNELS else 0
    extended: list[Zeros] = []
    for axis in SPATIAL:
        found = zeros(shape[axis], kernel.shape[axis - 1], strides[axis], tuple(paddings[axis]), most)
        if found is None:
            return False
        extended.append(found)
    if any(before or after for before, after in extended):
        kernel = np.pad(kernel, [*extended, (0, 0), (0, 0)])
        convolution.input[1] = _add_constant(graph, f"{convolution.name}/kernel_with_zeros", kernel)
    convolution.input[0] = pad.input[0]
    convolution.attr["padding"].s = b"SAME"
    return True


def _constant(name: str, nodes: dict[str, Any]) -> Any:
    """The value of a constant, however often it is passed on; None for what is none."""
    node = nodes.get(name.removesuffix(":0"))
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].removesuffix(":0"))
    return tf.make_ndarray(node.attr["value"].tensor) if node is not None and node.op == "Const" else None


def _add_constant(graph: Any, name: str, value: Any) -> str:
    """Add a constant to the graph; its name."""
    node = graph.node.add(name=name, op="Const")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    return name
