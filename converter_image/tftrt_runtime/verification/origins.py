"""Where an output's whole numbers come from, as the graph has it: some are rounded quantities. Imports TensorFlow.

A rounded quantity may be a step off in a place or two, as the sum that it was rounded from may be by its last bits.
A class, a number of boxes or a word's index is the right one or another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tftrt_runtime.report import graphs
from tftrt_runtime.verification.messages import Origins

# What passes on values, elsewhere or in another shape: those of its first input, of all inputs, of all but the first.
FIRST = {
    "BroadcastTo",
    "Cast",
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
EVERY = {"AddV2", "ConcatV2", "IdentityN", "Maximum", "Minimum", "Pack", "SplitV", "Sub", "Unpack"}
LATER = {"Select", "SelectV2", "Split"}
GIVEN = {"Const", "Placeholder", "PlaceholderWithDefault", "Shape"}
# What makes whole numbers, also where they are floats for a while, and by which of its outputs: the others are boxes
# and scores of `CombinedNonMaxSuppression`, and the values of `TopKV2`.
WHOLE = {
    "ArgMax": {0},
    "ArgMin": {0},
    "CombinedNonMaxSuppression": {2, 3},
    "Const": {0},
    "TopKV2": {1},
    "Where": {0},
}

Source = tuple[Any, int]  # a node, and by which of its outputs


def origins(function: Any) -> Origins:
    """Of the outputs of a signature's function."""
    flat = graphs.flatten(function.graph.as_graph_def())
    nodes = {node.name: node for node in flat.node}
    rounded, moved = [], []
    for name, tensor in zip(sorted(function.structured_outputs), function.outputs):
        if tensor.dtype.is_integer and any(
            _is_rounding(nodes, node) for node, _ in _sources(nodes, tensor.name, _values)
        ):
            rounded.append(name)
        found = list(_sources(nodes, tensor.name, _all))
        if found and all(node.op in GIVEN for node, _ in found):
            moved.append(name)
    return Origins(rounded=tuple(rounded), moved=tuple(moved))


def _sources(nodes: Mapping[str, Any], tensor: str, followed: Callable[[Any], Sequence[str]]) -> Iterator[Source]:
    """Where the way back ends: the nodes none of whose inputs is followed."""
    waiting, met = [tensor], set()
    while waiting:
        name, _, text = waiting.pop().partition(":")
        node, output = nodes.get(name), int(text or 0)
        if node is None or (name, output) in met:
            continue
        met.add((name, output))
        inputs = followed(node)
        waiting.extend(inputs)
        if not inputs:
            yield node, output


def _all(node: Any) -> Sequence[str]:
    """All that decides what a node passes on: which of the values, and their places, too."""
    return _inputs(node) if node.op in FIRST | EVERY | LATER and not _is_to_whole(node) else ()


def _values(node: Any) -> Sequence[str]:
    """Whose values a node passes on."""
    if _is_to_whole(node):
        return ()
    inputs = _inputs(node)
    kinds = ((FIRST, inputs[:1]), (EVERY, inputs), (LATER, inputs[1:]))
    return next((passed for operations, passed in kinds if node.op in operations), ())


def _inputs(node: Any) -> list[str]:
    return [source for source in node.input if not source.startswith("^")]


def _is_to_whole(node: Any) -> bool:
    """Whether a node is a cast that makes whole numbers of floats."""
    if node.op != "Cast":
        return False
    return bool(tf.as_dtype(node.attr["SrcT"].type).is_floating and tf.as_dtype(node.attr["DstT"].type).is_integer)


def _is_rounding(nodes: Mapping[str, Any], node: Any) -> bool:
    """Whether whole numbers are made here of floats that are any numbers: not of a class that was a float meanwhile."""
    if _is_to_whole(node):
        sources = _sources(nodes, node.input[0], _values)
        return any(output not in WHOLE.get(source.op, ()) for source, output in sources)
    return bool(node.op == "QuantizeV2")
