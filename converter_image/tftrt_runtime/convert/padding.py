"""Makes zero padding before a convolution a part of it. Imports TensorFlow.

TF-TRT makes a layer of its own of a `Pad`, which reads and writes the whole tensor, and TensorRT does not fuse it. The
padding of a convolution itself costs nothing, but TF-TRT knows only TensorFlow's `SAME`
(tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2): as much as an output of ceil(n / stride) elements needs, half
of it before, the odd element after. Where a `Pad` does just that, the two are the same function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

PADS = {"Pad", "PadV2"}
CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
SPATIAL = (1, 2)  # axes of NHWC


def fold(graph: Any) -> int:
    """Fold every `Pad` that can be into its convolution, in this GraphDef of a frozen graph; how many there were."""
    nodes = {node.name: node for node in graph.node}
    convolutions = [node for node in graph.node if _pad(node, nodes) is not None]
    if not convolutions:
        return 0
    shapes = tf.Graph()
    with shapes.as_default():
        tf.import_graph_def(graph, name="")
    return sum(_fold(node, nodes, shapes) for node in convolutions)


def is_same(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> bool:
    """Whether `SAME` is this padding of an axis that has `size` elements before it is padded."""
    before, after = padding
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return before == total // 2 and (size + before + after - kernel) // stride + 1 == outputs


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


def _fold(convolution: Any, nodes: dict[str, Any], shapes: Any) -> bool:
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
    if not all(is_same(shape[axis], kernel.shape[axis - 1], strides[axis], tuple(paddings[axis])) for axis in SPATIAL):
        return False
    convolution.input[0] = pad.input[0]
    convolution.attr["padding"].s = b"SAME"
    return True


def _constant(name: str, nodes: dict[str, Any]) -> Any:
    """The value of a constant, however often it is passed on; None for what is none."""
    node = nodes.get(name.removesuffix(":0"))
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].removesuffix(":0"))
    return tf.make_ndarray(node.attr["value"].tensor) if node is not None and node.op == "Const" else None
