"""Takes the weights out of graphs that run beside each other, so that they are there once. Imports TensorFlow.

A graph with all of its weights is copied when it is imported, when it becomes a function and when it runs, and a model
may have 2 GB of them. Without them it is small, and they are fed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

LEAST_BYTES = 2**14  # what is smaller may be a shape, which TensorFlow infers others from

Fed = Mapping[str, Any]  # values by the names of the tensors that take them


def taken_out(before: Any, after: Any) -> tuple[tuple[Any, Fed], tuple[Any, Fed]]:
    """Each of two GraphDefs without its large constants, and their values; what both have is there once."""
    constants = {node.name: node for node in before.node if _is_large(node)}
    held = {name: _value(node) for name, node in constants.items()}
    others = {
        node.name: held[node.name] if constants.get(node.name) == node else _value(node)
        for node in after.node
        if _is_large(node)
    }
    return _without(before, held), _without(after, others)


def _is_large(node: Any) -> bool:
    # In a loop a constant waits for its iteration, and what is fed lies in none.
    return node.op == "Const" and not node.input and node.ByteSize() >= LEAST_BYTES


def _value(node: Any) -> Any:
    with tf.device("CPU:0"):
        return tf.constant(tf.make_ndarray(node.attr["value"].tensor))


def _without(definition: Any, values: Fed) -> tuple[Any, Fed]:
    light = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
    for node in definition.node:
        if node.name not in values:
            light.node.add().CopyFrom(node)
            continue
        fed = light.node.add(name=node.name, op="Placeholder")
        fed.attr["dtype"].type = node.attr["dtype"].type
        fed.attr["shape"].shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    return light, {f"{name}:0": value for name, value in values.items()}
