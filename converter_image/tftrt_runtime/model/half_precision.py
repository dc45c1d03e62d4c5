"""How coarsely a graph rounds that computes in half precision somewhere. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

SPACINGS = {tf.float16: 2.0**-10, tf.bfloat16: 2.0**-7}  # at 1


def spacing(definition: Any) -> float:
    """The spacing at 1 of the coarsest half precision that this GraphDef computes in; 0 where it computes in none."""
    nodes = [*definition.node, *(node for part in definition.library.function for node in part.node_def)]
    # What only takes, passes on or converts a value does not round an intermediate one.
    kinds = {
        attribute.type
        for node in nodes
        if node.op not in {"Placeholder", "Cast", "Identity", "Const"}
        for attribute in node.attr.values()
    }
    return max((spacing for kind, spacing in SPACINGS.items() if kind.as_datatype_enum in kinds), default=0.0)
