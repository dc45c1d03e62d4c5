"""Takes the weights out of graphs, so that those which run beside each other have them once. Imports TensorFlow.

A graph with all of its weights is copied when it is imported, when it becomes a function and when it runs, and a model
may have 2 GB of them. Without them it is small, and they are fed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

LEAST_BYTES = 2**10  # what is smaller may be a shape, which TensorFlow infers others from

Fed = Mapping[str, Any]  # values by the names of the tensors that take them


def without(definition: Any) -> Any:
    """This GraphDef with inputs of the same shapes in the place of its large constants."""
    light = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
    for node in definition.node:
        if not _is_large(node):
            light.node.add().CopyFrom(node)
            continue
        fed = light.node.add(name=node.name, op="Placeholder")
        fed.attr["dtype"].type = node.attr["dtype"].type
        fed.attr["shape"].shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    return light


def taken_out(before: Any, after: Any) -> tuple[tuple[Any, Fed], tuple[Any, Fed]]:
    """Each of two GraphDefs without its large constants, and their values; what both have is there once."""
    constants = {node.name: node for node in before.node if _is_large(node)}
    held = {f"{name}:0": _value(node) for name, node in constants.items()}
    others = {
        f"{node.name}:0": held[f"{node.name}:0"] if constants.get(node.name) == node else _value(node)
        for node in after.node
        if _is_large(node)
    }
    return (without(before), held), (without(after), others)


def _is_large(node: Any) -> bool:
    # In a loop a constant waits for its iteration, and what is fed lies in none.
    return node.op == "Const" and not node.input and node.ByteSize() >= LEAST_BYTES


def _value(node: Any) -> Any:
    with tf.device("CPU:0"):
        return tf.constant(tf.make_ndarray(node.attr["value"].tensor))
