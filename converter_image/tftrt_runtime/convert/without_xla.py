"""Takes `jit_compile=True` off a SavedModel's functions, so that TF-TRT sees what is in them. Imports TensorFlow.

A function that XLA is to compile as a whole is inlined by nobody, and TF-TRT looks for segments outside of functions
only. What the function computes is the same without.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tftrt_runtime import log
from tftrt_runtime.model import operations
from tftrt_runtime.model.saved_model_file import BINARY

COMPILED, KEPT_APART = "_XlaMustCompile", "_noinline"  # TensorFlow sets both


def plain(source: Path, folder: Path) -> Path:
    """The SavedModel in `source`; in `folder`, where it had to be changed, which has all else of it by links.

    Where an operation has a kernel for XLA alone, nothing is changed.
    """
    content = (source / BINARY).read_bytes()
    if COMPILED.encode() not in content:
        return source
    try:
        model = saved_model_pb2.SavedModel.FromString(content)
    except DecodeError:  # whoever loads it says so
        return source
    taken = sum(_take_off(graph.graph_def) for graph in model.meta_graphs)
    if not taken or any(operations.not_runnable(graph.graph_def) for graph in model.meta_graphs):
        return source
    for path in source.iterdir():
        if path.name != BINARY:
            (folder / path.name).symlink_to(path.absolute())
    (folder / BINARY).write_bytes(model.SerializeToString())
    log.event("convert", "Took jit_compile off the model's functions", functions=taken)
    return folder


def _take_off(graph: Any) -> int:
    """Take it off every function and every call of one; how many there were."""
    taken = 0
    for attributes in _attributes(graph):
        if COMPILED in attributes and attributes[COMPILED].b:
            for name in (COMPILED, KEPT_APART):
                if name in attributes:
                    del attributes[name]
            taken += 1
    return taken


def _attributes(graph: Any) -> Iterator[Any]:
    yield from (node.attr for node in graph.node)
    for function in graph.library.function:
        yield function.attr
        yield from (node.attr for node in function.node_def)
