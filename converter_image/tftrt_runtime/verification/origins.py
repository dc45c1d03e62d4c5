"""Where an output's whole numbers come from, as the graph has it: some are rounded quantities. Imports TensorFlow.

A rounded quantity may be a step off in a place or two, as the sum that it was rounded from may be by its last bits.
A class, a number of boxes or a word's index is the right one or another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from tftrt_runtime.report import graphs
from tftrt_runtime.verification.messages import Origins

# What passes on its first input's values, or all its inputs', elsewhere or in another shape.
FIRST = {
    "BroadcastTo",
    "ClipByValue",
    "DepthToSpace",
    "ExpandDims",
    "GatherNd",
    "GatherV2",
    "Identity",
    "MirrorPad",
    "Pad",
    "PadV2",
    "PreventGradient",
    "Reshape",
    "ReverseV2",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "StopGradient",
    "StridedSlice",
    "Tile",
    "Transpose",
}
EVERY = {"AddV2", "ConcatV2", "IdentityN", "Maximum", "Minimum", "Pack", "SelectV2", "Split", "SplitV", "Sub", "Unpack"}
# Floats that are whole numbers from the start: classes and counts.
WHOLE = {"CombinedNonMaxSuppression"}
GIVEN = {"Const", "Placeholder", "PlaceholderWithDefault"}


def origins(function: Any) -> Origins:
    """Of the outputs of a signature's function."""
    flat = graphs.flatten(function.graph.as_graph_def())
    nodes = {node.name: node for node in flat.node}
    rounded, moved = [], []
    for name, tensor in zip(sorted(function.structured_outputs), function.outputs):
        found = list(_sources(nodes, tensor.op.name))
        if tensor.dtype.is_integer and any(_is_rounding(nodes, node) for node in found):
            rounded.append(name)
        if found and all(node.op in GIVEN for node in found):
            moved.append(name)
    return Origins(rounded=tuple(rounded), moved=tuple(moved))


def _sources(nodes: Mapping[str, Any], name: str, through: int = 10_000) -> Iterator[Any]:
    """The nodes that made the values of this one, past what only moves them; whole numbers stay whole numbers."""
    waiting, met = [name], set()
    while waiting and len(met) < through:
        node = nodes.get(waiting.pop().removeprefix("^").partition(":")[0])
        if node is None or node.name in met:
            continue
        met.add(node.name)
        inputs = [source for source in node.input if not source.startswith("^")]
        if node.op in FIRST or (node.op == "Cast" and not _is_to_whole(node)):
            waiting.extend(inputs[:1])
        elif node.op in EVERY:
            waiting.extend(inputs)
        else:
            yield node


def _is_to_whole(node: Any) -> bool:
    """Whether a cast makes whole numbers of floats."""
    return tf.as_dtype(node.attr["SrcT"].type).is_floating and tf.as_dtype(node.attr["DstT"].type).is_integer


def _is_rounding(nodes: Mapping[str, Any], node: Any) -> bool:
    """Whether whole numbers are made here of floats that are any numbers: not of a class that was a float meanwhile."""
    if node.op == "QuantizeV2":
        return True
    if node.op != "Cast":
        return False
    found = _sources(nodes, node.input[0])
    return any(source.op not in {*WHOLE, "Const"} and not _is_whole(source) for source in found)


def _is_whole(node: Any) -> bool:
    """Whether the node makes whole numbers, of which a cast has made floats."""
    kinds = [node.attr[name].type for name in ("output_type", "index_type") if name in node.attr]
    return node.op in {"ArgMax", "ArgMin", "TopKV2", "Where"} or any(tf.as_dtype(kind).is_integer for kind in kinds)
