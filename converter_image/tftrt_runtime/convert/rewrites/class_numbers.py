"""Has `ArgMax` and `ArgMin` count in int32, and what they found be int64 behind it. Imports TensorFlow.

Both answer with int64 unless they are told otherwise, which TensorRT 8.5 does not have; TF-TRT takes them in int32. An
axis of 2 ** 31 elements is none that a tensor of a model has.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tftrt_runtime.convert.rewrites.graph_defs import Graph, attribute, become
from tftrt_runtime.convert.rewrites.rewrite import Rewrite

OPERATIONS = {"ArgMax", "ArgMin"}


def _find(graph: Graph) -> list[Any]:
    # The attribute may be left out where it is the default, int64.
    kinds = {0, tf.int64.as_datatype_enum}
    return [
        node for node in graph.definition.node if node.op in OPERATIONS and attribute(node, "output_type").type in kinds
    ]


def _replace(graph: Graph, node: Any) -> list[str]:
    """The node becomes the cast of one that is added before it."""
    counted = graph.add(f"{node.name}/int32", node.op, list(node.input), node.device)
    for name in node.attr:
        counted.attr[name].CopyFrom(node.attr[name])
    counted.attr["output_type"].type = tf.int32.as_datatype_enum
    become(node, "Cast", counted.name)
    node.ClearField("attr")
    node.attr["SrcT"].type, node.attr["DstT"].type = tf.int32.as_datatype_enum, tf.int64.as_datatype_enum
    return [node.name]


IN_INT32 = Rewrite(
    name="class numbers in int32",
    reason="TensorRT has no int64, so that ArgMax and what is behind it would be left to TensorFlow",
    find=_find,
    replace=_replace,
)
