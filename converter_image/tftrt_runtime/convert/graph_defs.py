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
