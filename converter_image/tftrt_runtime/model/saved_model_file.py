"""What `saved_model.pb` says of itself, read without TensorFlow: which graphs it holds, and of what form.

A model that TensorFlow 2 loads as it is then costs no process that looks. Of the protobuf messages SavedModel,
MetaGraphDef, GraphDef and SignatureDef only the few fields below are read; weights are passed over by their length.
"""

from __future__ import annotations

import keyword
import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tftrt_runtime.contract.errors import NotAModel

BINARY, TEXT = "saved_model.pb", "saved_model.pbtxt"

# Numbers of fields, from tensorflow/core/protobuf/{saved_model,meta_graph}.proto and core/framework/*.proto.
META_GRAPHS = 2  # of SavedModel
META_INFO, GRAPH, SIGNATURES, OBJECTS = 1, 2, 5, 7  # of MetaGraphDef
TAGS = 4  # of its MetaInfoDef
NODES, LIBRARY = 1, 2  # of GraphDef
FUNCTIONS, BODY = 1, 3  # of FunctionDefLibrary, and of FunctionDef
OPERATION = 2  # of NodeDef
KEY, VALUE = 1, 2  # of an entry of a map
INPUTS = 1  # of SignatureDef

SERVE, GPU, TPU = "serve", "gpu", "tpu"  # tags, as TensorFlow's exporters set them

# What TensorFlow 1 holds in the graph itself: TensorFlow 2 loads it, and saves it again without its values. Of a queue,
# which nobody fills, it would wait for ever.
TABLES = {
    "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "MutableHashTableOfTensors",
    "MutableHashTableOfTensorsV2", "MutableDenseHashTable", "MutableDenseHashTableV2",
}  # fmt: skip
QUEUES = {
    "FIFOQueue", "FIFOQueueV2", "PaddingFIFOQueue", "PaddingFIFOQueueV2", "PriorityQueue", "PriorityQueueV2",
    "RandomShuffleQueue", "RandomShuffleQueueV2", "Barrier", "Stage", "MapStage",
}  # fmt: skip
HELD_BY_THE_GRAPH = {"Variable", "VariableV2", *TABLES, *QUEUES}

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # how a field is written

_ARGUMENT = re.compile(r"[A-Za-z]\w*", re.ASCII)


class MalformedError(ValueError):
    """These bytes are no message."""


@dataclass(frozen=True)
class MetaGraph:
    """One of the graphs of a SavedModel: what for, of which operations, and each signature's inputs by its name.

    `of_tensorflow_2`: with the objects that its variables and tables are. Of such a one the operations are not read.
    """

    tags: frozenset[str]
    operations: frozenset[str]
    signatures: dict[str, tuple[str, ...]]
    of_tensorflow_2: bool


def meta_graphs(folder: Path) -> tuple[MetaGraph, ...] | None:
    """The graphs in the folder's `saved_model.pb`; None where that is no message, or there is none.

    Raises:
        OSError: it cannot be read.
    """
    path = folder / BINARY
    if not path.is_file():
        return None
    if not path.stat().st_size:
        return ()
    with path.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # there may be weights in it
    try:
        return tuple(_meta_graph(graph) for graph in _all(content, META_GRAPHS))
    except MalformedError:
        return None


def can_be_an_argument(name: str) -> bool:
    """Whether TensorFlow 2 can give an argument of a function this name, and does not make another one of it.

    It can give no word of Python, such as `class`, nor its own `self`; `_x` becomes `arg__x`.
    """
    return bool(_ARGUMENT.fullmatch(name)) and not keyword.iskeyword(name) and name != "self"


def loads_as_it_is(graphs: Sequence[MetaGraph], signature: str) -> bool:
    """Whether TensorFlow 2 loads the model so that it can be frozen and saved again.

    It does what it wrote itself, and what TensorFlow 1 wrote of variables of today's kind, for serving and under names
    that are names in Python. What is no model is left to it, too: it says what is wrong.
    """
    if len(graphs) != 1:
        return not graphs
    (graph,) = graphs
    if graph.of_tensorflow_2:
        return True
    named = all(map(can_be_an_argument, graph.signatures.get(signature, ())))
    return named and graph.tags == {SERVE} and not graph.operations & HELD_BY_THE_GRAPH


def for_serving(graphs: Sequence[MetaGraph], signature: str, uri: str, *, on_gpu: bool) -> MetaGraph:
    """The graph to serve: tagged `serve`, with the signature if one has it, made for a GPU or not as wanted.

    Raises:
        NotAModel: none of several is for serving; what they are for is told.
    """
    found = [graph for graph in graphs if SERVE in graph.tags] or (list(graphs) if len(graphs) == 1 else [])
    if not found:
        there = "; ".join(", ".join(sorted(graph.tags)) or "no tag" for graph in graphs)
        raise NotAModel(
            f"{uri} has {len(graphs)} graphs, tagged {there}, and none of them {SERVE}: export one for serving, "
            "with tags={tf.saved_model.SERVING}."
        )
    found = [graph for graph in found if signature in graph.signatures] or found
    return min(
        found, key=lambda graph: (TPU in graph.tags, (GPU in graph.tags) != on_gpu, len(graph.tags), sorted(graph.tags))
    )


def _meta_graph(message: memoryview) -> MetaGraph:
    info = b"".join(_all(message, META_INFO))  # messages one after the other are one message
    signatures = {}
    for entry in _all(message, SIGNATURES):
        inputs = [_text(pair, KEY) for value in _all(entry, VALUE) for pair in _all(value, INPUTS)]
        signatures[_text(entry, KEY)] = tuple(sorted(inputs))
    of_tensorflow_2 = any(len(objects) for objects in _all(message, OBJECTS))
    graphs = [] if of_tensorflow_2 else _all(message, GRAPH)
    return MetaGraph(
        tags=frozenset(_decoded(tag) for tag in _all(memoryview(info), TAGS)),
        operations=frozenset(operation for graph in graphs for operation in _operations(graph)),
        signatures=signatures,
        of_tensorflow_2=of_tensorflow_2,
    )


def _operations(graph: memoryview) -> Iterator[str]:
    """The operations of a GraphDef and of its functions."""
    for node in _all(graph, NODES):
        yield _text(node, OPERATION)
    for library in _all(graph, LIBRARY):
        for function in _all(library, FUNCTIONS):
            for node in _all(function, BODY):
                yield _text(node, OPERATION)


def _all(message: memoryview, number: int) -> Iterator[memoryview]:
    """The values of each field of this number that holds bytes: texts and messages."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == VARINT:
            _, position = _varint(message, position)
        elif kind == BYTES:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise MalformedError
            if tag >> 3 == number:
                yield message[position : position + length]
            position += length
        elif kind in {EIGHT_BYTES, FOUR_BYTES}:
            position += 8 if kind == EIGHT_BYTES else 4
        else:
            raise MalformedError


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number that begins at this position, and where the next field begins."""
    value = 0
    for index in range(10):
        if position + index >= len(message):
            break
        byte = message[position + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    raise MalformedError


def _text(message: memoryview, number: int) -> str:
    """The text of a field, of which the last one counts; empty where there is none."""
    text = ""
    for value in _all(message, number):
        text = _decoded(value)
    return text


def _decoded(value: memoryview) -> str:
    return bytes(value).decode(errors="replace")
