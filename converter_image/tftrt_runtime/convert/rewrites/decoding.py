"""Leaves loops that decode files to TensorFlow, with all that is in them. Imports TensorFlow.

Exporters decode one picture after the other, in a `map_fn`, and scale each before all become a batch. TF-TRT would make
an engine of that scaling, whose first dimension it takes for the batch's and which is the picture's height: an engine
for each height that was ever seen, and none for the next one. Decoding is TensorFlow's on the CPU, and what lies round
it is best beside it: TF-TRT takes no operation that is to be on another device than a GPU
(tensorflow/compiler/tf2tensorrt/segment/segment.cc).
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

CPU = "/device:CPU:0"
DECODERS = {
    "DecodeAndCropJpeg", "DecodeBmp", "DecodeCSV", "DecodeGif", "DecodeImage", "DecodeJpeg", "DecodePaddedRaw",
    "DecodePng", "DecodeRaw", "DecodeWav", "ParseExample", "ParseExampleV2", "ParseSingleExample", "ParseTensor",
}  # fmt: skip
NETWORK = {"BatchMatMulV2", "Conv2D", "Conv2DBackpropInput", "Conv3D", "DepthwiseConv2dNative", "Einsum", "MatMul"}


def _find(graph: Graph) -> list[Any]:
    """Every node of a loop that decodes, but those that are there already."""
    found: list[Any] = []
    for nodes in _loops(graph).values():
        if any(node.op in DECODERS for node in nodes):
            network = _behind([node for node in nodes if node.op in NETWORK], graph)
            found += [node for node in nodes if node.device != CPU and node.name not in network]
    return found


def _behind(first: list[Any], graph: Graph) -> set[str]:
    """These nodes and what reads them in the same iteration."""
    waiting = deque(first)
    seen = {node.name for node in first}
    while waiting:
        for reader in graph.readers(waiting.popleft().name):
            if reader.name not in seen and reader.op not in {"NextIteration", "Exit"}:
                seen.add(reader.name)
                waiting.append(reader)
    return seen


def _loops(graph: Graph) -> dict[bytes, list[Any]]:
    """The nodes within each loop, by its frame's name; those of a loop inside of it are not among them."""
    loops: dict[bytes, list[Any]] = defaultdict(list)
    for name in {attribute(node, "frame_name").s for node in graph.definition.node if node.op == "Enter"}:
        waiting = deque(
            node for node in graph.definition.node if node.op == "Enter" and attribute(node, "frame_name").s == name
        )
        seen = {node.name for node in waiting}
        while waiting:
            for reader in graph.readers(waiting.popleft().name):
                if reader.name not in seen and reader.op not in {"Enter", "Exit"}:
                    seen.add(reader.name)
                    loops[name].append(reader)
                    waiting.append(reader)
    return loops


def _leave(_: Graph, node: Any) -> list[str]:
    node.device = CPU
    return []


LEFT = Rewrite(
    name="loops that decode files left to TensorFlow",
    reason="TF-TRT would take a picture's height for the batch, and have an engine for each height",
    find=_find,
    replace=_leave,
)
