# mypy: disable-error-code="no-untyped-call, no-any-return, untyped-decorator"
"""Frozen functions for the tests of what is rewritten in them. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, device_properties_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import cluster, tf_optimizer
from tensorflow.python.training import saver

from tftrt_runtime.convert.rewrites.rewrite import Rewrite


def frozen(network: Callable[..., Any], *shapes: list[int | None]) -> Any:
    """The function of a network with inputs of these shapes, with variables made constants."""
    function = tf.function(network, input_signature=[tf.TensorSpec(shape, tf.float32) for shape in shapes])
    return convert_to_constants.convert_variables_to_constants_v2(function.get_concrete_function())


def rewritten(function: Any, rewrite: Rewrite[Any], inner: Iterable[str] = ()) -> tuple[int, Any]:
    """In how many places the function's graph was rewritten, and the function of the new graph.

    It answers with its outputs and with these tensors inside, which are fetched as the outputs are.
    """
    graph = function.graph.as_graph_def()
    fetched = [*(tensor.name for tensor in function.outputs), *inner]
    count = rewrite.apply(graph, fetched)
    fed = [tensor.name for tensor in function.inputs]
    return count, tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), []).prune(fed, fetched)


def only(function: Any, operation: str) -> Any:
    """The only operation of this kind in a function's graph."""
    (found,) = (one for one in function.graph.get_operations() if one.type == operation)
    return found


def stays(graph: Any, rewrite: Rewrite[Any], fetched: Iterable[str] = ()) -> bool:
    """Whether a rewrite finds nothing in a GraphDef, and leaves it as it is."""
    before = graph.SerializeToString(deterministic=True)
    return not rewrite.apply(graph, fetched) and graph.SerializeToString(deterministic=True) == before


def in_a_loop(network: Callable[..., Any], times: int = 2) -> Callable[..., Any]:
    """What answers so often in a loop, each time to its inputs times a larger number; the answers one behind the other.

    Frozen, a loop is `Enter`, `Merge`, `Switch`, `NextIteration` and `Exit` round what it does, as TF-TRT sees it.
    """

    def looped(*inputs: Any) -> Any:
        def body(step: Any, answers: Any) -> Any:
            factor = tf.cast(step + 1, tf.float32)
            # What comes into a loop has lost its shape; a network of Keras knows it by its layers.
            return step + 1, answers.write(step, network(*[tf.ensure_shape(x * factor, x.shape) for x in inputs]))

        answers = tf.TensorArray(tf.float32, times)
        return tf.while_loop(lambda step, _: step < times, body, (0, answers))[1].stack()

    return tf.autograph.experimental.do_not_convert(looped)


def in_a_branch(network: Callable[..., Any]) -> Callable[..., Any]:
    """What answers to its inputs or to their negatives. Frozen, a condition is `Switch` and `Merge` round both."""

    def branched(*inputs: Any) -> Any:
        return tf.cond(
            tf.reduce_sum(inputs[0]) > 0, lambda: network(*inputs), lambda: network(*[-value for value in inputs])
        )

    return tf.autograph.experimental.do_not_convert(branched)


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
