"""What rewriting a GraphDef takes. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def with_shapes(graph: Any) -> Any:
    """The graph of a GraphDef, whose tensors have the shapes that TensorFlow infers."""
    imported = tf.Graph()
    with imported.as_default():
        tf.import_graph_def(graph, name="")
    return imported


def add_constant(graph: Any, name: str, value: Any, dtype: Any, device: str = "") -> str:
    """Add a `Const` of this value and tf.DType to a GraphDef; its name."""
    node = graph.node.add(name=name, op="Const", device=device)
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
    return str(node.name)


def made_by(tensor: str, nodes: dict[str, Any], operations: set[str]) -> Any:
    """The node that a tensor is the first output of, if it is one of these operations and waits for nothing else."""
    node = nodes.get(tensor.removesuffix(":0"))
    if node is None or node.op not in operations:
        return None
    return None if any(name.startswith("^") for name in node.input) else node


def constant(tensor: str, nodes: dict[str, Any]) -> Any:
    """The value of a constant, however often it is passed on; None for what is none."""
    node = nodes.get(tensor.removesuffix(":0"))
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].removesuffix(":0"))
    return tf.make_ndarray(node.attr["value"].tensor) if node is not None and node.op == "Const" else None


def computed(wanted: Any, source: Any, sizes: list[int], nodes: dict[str, Any]) -> Any:
    """A tensor's value as a list where the source has this shape; None where it needs more than that, or another.

    The graph need hold no more of a shape than how it is made: so it is seen at sizes that it might have.
    """
    part = tf.compat.v1.GraphDef()
    seen: set[str] = set()
    left = [wanted.op]
    while left:
        operation = left.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        if operation.type == "Placeholder":
            return None
        if operation.type == "Shape" and operation.inputs[0] is source:
            add_constant(part, operation.name, sizes, operation.outputs[0].dtype)
        else:
            part.node.add().CopyFrom(nodes[operation.name])
            left += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    with tf.device("CPU"):
        compute = tf.compat.v1.wrap_function(
            lambda: tf.import_graph_def(part, name="", return_elements=[wanted.name]), []
        )
    try:
        return compute()[0].numpy().tolist()
    except tf.errors.OpError:  # the graph asserts other sizes, say
        return None
