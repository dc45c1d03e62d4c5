"""A child process that makes a SavedModel of a frozen graph, a GraphDef without variables as TensorFlow 1 wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from tftrt_runtime import log
from tftrt_runtime.contract.errors import NotAModel, SignatureNotFound
from tftrt_runtime.loading import imported, values
from tftrt_runtime.loading.messages import ImportAnswer, ImportRequest
from tftrt_runtime.model.shapes import near
from tftrt_runtime.processes import child

# What a graph without a checkpoint cannot hold: each starts out empty.
STATE = {
    "Variable", "VariableV2", "VarHandleOp", "TemporaryVariable", "HashTable", "HashTableV2", "MutableHashTable",
    "MutableHashTableV2", "MutableDenseHashTable", "MutableDenseHashTableV2",
}  # fmt: skip


def save(request: ImportRequest) -> ImportAnswer:
    """Write the SavedModel.

    Raises:
        NotAModel: the file is no GraphDef, or not a frozen one.
        SignatureNotFound: it has no such tensor; those with similar names are told.
    """
    uri = request.uri
    given = {name if ":" in name else f"{name}:0": value for name, value in request.values.items()}
    taken = [name for name in request.inputs if name not in given]
    values.expect_known(given, [*taken, *given], uri)
    names = (
        imported.served_names(taken, uri, imported.input_name),
        imported.served_names(request.outputs, uri, imported.output_name),
    )
    with tf.device("CPU:0"), log.timed("convert", "Made a SavedModel of the frozen graph"):
        wrapped = imported.wrapped(_read(Path(request.source), uri), uri)
        inputs = {name: _tensor(wrapped.graph, tensor, "inputs", uri) for tensor, name in names[0].items()}
        outputs = {name: _tensor(wrapped.graph, tensor, "outputs", uri) for tensor, name in names[1].items()}
        bound = {name: _tensor(wrapped.graph, name, "values", uri) for name in given}
        constants = [(values.array(name, given[name], tensor, uri), tensor.dtype) for name, tensor in bound.items()]
        function = imported.pruned(
            wrapped,
            [*inputs.values(), *bound.values()],
            outputs.values(),
            f"The outputs {list(request.outputs)} of {uri} do not follow from the inputs {list(request.inputs)}",
            "Add what is missing to spec.source.inputs, or bind it in spec.source.values.",
        )
        _expect_stateless(function.graph, uri)
        imported.save(function, inputs, outputs, request.target, request.signature, {}, constants)
    told = {name: tensor for part in names for tensor, name in part.items() if tensor != f"{name}:0"}
    return ImportAnswer(names=told)


def _read(folder: Path, uri: str) -> Any:
    """The only `.pb` file in the folder, parsed."""
    files = sorted(folder.rglob("*.pb"))
    if len(files) != 1:
        raise NotAModel(f"{uri} must be or hold one .pb file with a frozen graph, and there are {len(files)} in it.")
    try:
        graph = tf.compat.v1.GraphDef.FromString(files[0].read_bytes())
    except DecodeError:
        graph = None
    # Bytes of another message may parse, and then have no nodes.
    if not graph or not graph.node:
        raise NotAModel(
            f"{uri} is no frozen graph: {files[0].name} holds no GraphDef in binary form. For a SavedModel set "
            "spec.source.format to SavedModel."
        )
    return graph


def _tensor(graph: Any, name: str, key: str, uri: str) -> Any:
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, ValueError):
        there = [tensor.name for operation in graph.get_operations() for tensor in operation.outputs]
        raise SignatureNotFound(
            f"{uri} has no tensor {name!r}, which spec.source.{key} names: {near(name, there)}."
        ) from None


def _expect_stateless(graph: Any, uri: str) -> None:
    found = sorted({operation.type for operation in graph.get_operations()} & STATE)
    if found:
        raise NotAModel(
            f"{uri} is no frozen graph, for it has variables or tables ({', '.join(found)}) whose values it lacks: "
            "freeze it, or export it as a SavedModel."
        )


if __name__ == "__main__":
    child.answer(ImportRequest, save)
