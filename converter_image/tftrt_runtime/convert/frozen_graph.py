"""A child process that makes a SavedModel of a frozen graph, a GraphDef without variables as TensorFlow 1 wrote it.

Every other step then finds a SavedModel. A tensor is served under its node's name, with `_` for what is neither a
letter nor a digit, and the number of the node's output behind it where that is not the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.python.ops import op_selector

from tftrt_runtime import log
from tftrt_runtime.contract.errors import NotAModel, SignatureNotFound
from tftrt_runtime.convert import values
from tftrt_runtime.convert.messages import ImportAnswer, ImportRequest
from tftrt_runtime.convert.shapes import near
from tftrt_runtime.processes import child
from tftrt_runtime.processes.child import one_line

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
    with tf.device("CPU:0"), log.timed("convert", "Made a SavedModel of the frozen graph"):
        wrapped = _imported(_read(Path(request.source), request.uri), request.uri)
        given = {name if ":" in name else f"{name}:0": value for name, value in request.values.items()}
        inputs = [name for name in request.inputs if name not in given]
        values.expect_known(given, [*inputs, *given], request.uri)
        feeds = [_tensor(wrapped.graph, name, "inputs", request.uri) for name in inputs]
        bound = {name: _tensor(wrapped.graph, name, "values", request.uri) for name in given}
        constants = [(tensor, values.array(name, given[name], tensor, request.uri)) for name, tensor in bound.items()]
        fetches = [_tensor(wrapped.graph, name, "outputs", request.uri) for name in request.outputs]
        try:
            pruned = wrapped.prune([*feeds, *(tensor for tensor, _ in constants)], fetches)
        except op_selector.UnliftableError as error:
            raise SignatureNotFound(
                f"The outputs {list(request.outputs)} of {request.uri} do not follow from the inputs "
                f"{list(request.inputs)}: {str(error)[:500]}. Add what is missing to spec.source.inputs."
            ) from error
        _expect_stateless(pruned.graph, request.uri)
        names, answers = _names(inputs, request.uri), _names(request.outputs, request.uri)

        def serve(**tensors: Any) -> dict[str, Any]:
            fixed = [tf.constant(value, tensor.dtype) for tensor, value in constants]
            return dict(zip(answers, pruned(*(tensors[name] for name in names), *fixed)))

        root = tf.Module()
        root.pruned = pruned
        root.serve = tf.function(serve, autograph=False).get_concrete_function(
            **{name: tf.TensorSpec(feed.shape, feed.dtype, name=name) for name, feed in zip(names, feeds)}
        )
        tf.saved_model.save(root, request.target, signatures={request.signature: root.serve})
    return ImportAnswer()


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


def _imported(graph: Any, uri: str) -> Any:
    try:
        return tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    except (tf.errors.OpError, ValueError) as error:
        raise NotAModel(
            f"{uri} holds a graph that TensorFlow {tf.__version__} cannot load: {one_line(error)}"
        ) from error


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


def _names(tensors: Sequence[str], uri: str) -> list[str]:
    names = []
    for tensor in tensors:
        node, _, output = tensor.rpartition(":")
        name = re.sub(r"\W", "_", node, flags=re.ASCII) + ("" if output == "0" else f"_{output}")
        names.append(f"_{name}" if name[0].isdigit() else name)
    if len(set(names)) < len(names):
        raise SignatureNotFound(f"Two tensors of {uri} have the same name when served: {', '.join(sorted(names))}.")
    return names


if __name__ == "__main__":
    child.answer(ImportRequest, save)
