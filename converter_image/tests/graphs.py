# mypy: disable-error-code="no-untyped-call, untyped-decorator"
"""Frozen functions for the tests of what is rewritten in them. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, device_properties_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import cluster, tf_optimizer
from tensorflow.python.training import saver


def frozen(network: Callable[..., Any], *shapes: list[int | None]) -> Any:
    """The function of a network with inputs of these shapes, with variables made constants."""
    function = tf.function(network, input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])
    return convert_to_constants.convert_variables_to_constants_v2(function.get_concrete_function())


def rewritten(function: Any, rewrite: Callable[[Any], Any]) -> tuple[Any, Any]:
    """What the rewriting of the function's graph returned, and the function of the new graph."""
    graph = function.graph.as_graph_def()
    told = rewrite(graph)
    names = [tensor.name for tensor in function.inputs], [function.outputs[0].name]
    return told, tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), []).prune(*names)


def on_a_gpu(function: Any) -> dict[str, Any]:
    """The operations, by name, that Grappler leaves of the function on a GPU, optimized as TF-TRT has it done."""
    meta_graph = saver.export_meta_graph(graph_def=function.graph.as_graph_def(), graph=function.graph)
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.append(function.outputs[0].name)
    meta_graph.collection_def["train_op"].CopyFrom(kept)
    gpu = device_properties_pb2.NamedDevice(name="/job:localhost/replica:0/task:0/device:GPU:0")
    gpu.properties.type = "GPU"
    for node in meta_graph.graph_def.node:
        node.device = gpu.name
    config = config_pb2.ConfigProto()
    rewriter = config.graph_options.rewrite_options
    rewriter.optimizers.extend(["pruning", "debug_stripper", "layout", "dependency", "constfold"])
    rewriter.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    rewriter.min_graph_nodes = -1
    optimized = tf_optimizer.OptimizeGraph(config, meta_graph, cluster=cluster.Cluster(devices=[gpu]))
    return {node.name: node for node in optimized.node}


def before(nodes: dict[str, Any], operation: str) -> list[str]:
    """The operations that the only one of this kind gets its data through, the nearest first."""
    (node,) = (node for node in nodes.values() if node.op == operation)
    found = []
    while node.input and (node := nodes[node.input[0]]).op != "Placeholder":
        found.append(node.op)
    return found
