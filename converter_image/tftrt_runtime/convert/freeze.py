"""Freeze a signature's variables to constants and optimise the graph for inference. Imports TensorFlow.

Where a frozen graph would not be the same model (it has tables, queues, or variables that it writes) there is none: the
caller keeps the model as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.training import saver

# A GraphDef is one protobuf message and ends at 2 GiB; frozen weights lie in it. A tenth is left for the graph itself.
MAX_FROZEN_BYTES = int(0.9 * 2**31)

# Operations that only read a variable, and those that pass one on to a function, whose own operations are looked at.
READS = {
    "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp", "Placeholder",
    "Identity", "PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile", "Case",
    "StatelessCase",
}  # fmt: skip


@dataclass(frozen=True)
class Frozen:
    """An optimised graph without variables; tensor names by the signature's names."""

    graph: Any
    inputs: dict[str, str]
    outputs: dict[str, str]


def why_not(function: Any) -> str | None:
    """Why this signature cannot be frozen soundly; None where it can."""
    variables = {id(variable.handle) for variable in function.variables}
    others = [tensor for tensor, _ in function.graph.captures if id(tensor) not in variables]
    if any(tensor.dtype in {tf.resource, tf.variant} for tensor in others):
        return "it uses lookup tables or other resources that are no variables"
    handles = {tensor.name.partition(":")[0] for tensor in function.inputs if tensor.dtype == tf.resource}
    writers = sorted(set(_writers(function.graph.as_graph_def(), handles)))
    if writers:
        return f"it changes its state when it is called ({', '.join(writers[:3])})"
    size = sum(variable.dtype.size * variable.shape.num_elements() for variable in function.variables)
    if size > MAX_FROZEN_BYTES:
        return f"its {size} bytes of variables do not fit into one graph"
    names = [*function.structured_input_signature[1], *function.structured_outputs]
    if not all(name.isidentifier() for name in names):
        return "the names of its tensors are no Python names"
    return None


def _writers(graph: Any, handles: set[str]) -> Iterator[str]:
    """The operations that take a resource and are not known to only read it, in the graph and in its functions."""
    for node in graph.node:
        if node.op not in READS and any(name.lstrip("^").partition(":")[0] in handles for name in node.input):
            yield node.op
    for function in graph.library.function:
        arguments = {
            argument.name for argument in function.signature.input_arg if argument.type == tf.resource.as_datatype_enum
        }
        for node in function.node_def:
            if node.op not in READS and any(name.partition(":")[0] in arguments for name in node.input):
                yield node.op


def freeze(function: Any) -> Frozen:
    """The signature with its variables as constants, functions inlined, constants folded, arithmetic simplified."""
    frozen = convert_to_constants.convert_variables_to_constants_v2(function, lower_control_flow=False)
    # Both structures are flattened in the order of their sorted names.
    inputs = dict(zip(sorted(function.structured_input_signature[1]), (tensor.name for tensor in frozen.inputs)))
    outputs = dict(zip(sorted(function.structured_outputs), (tensor.name for tensor in frozen.outputs)))
    meta_graph = _meta_graph(frozen.graph, list(outputs.values()))
    del frozen  # each copy of the graph holds all weights
    return Frozen(graph=_optimise(meta_graph), inputs=inputs, outputs=outputs)


def _meta_graph(graph: Any, fetches: list[str]) -> Any:
    """The graph as Grappler wants it; it keeps what the fetches need and drops the rest."""
    meta_graph = saver.export_meta_graph(graph_def=graph.as_graph_def(add_shapes=True), graph=graph)
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.extend(fetches)
    meta_graph.collection_def["train_op"].CopyFrom(kept)
    return meta_graph


def _optimise(meta_graph: Any) -> Any:
    """Grappler's rewriting that holds on any machine.

    The remapper (fused convolutions) and the layout optimiser pick kernels for the processor that they run on; the
    executor runs both when it loads the graph, on the machine that serves, so they stay out of what is saved.
    """
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.constant_folding = rewriter_config_pb2.RewriterConfig.ON
    options.remapping = rewriter_config_pb2.RewriterConfig.OFF
    options.layout_optimizer = rewriter_config_pb2.RewriterConfig.OFF
    options.min_graph_nodes = -1  # else graphs of fewer than four nodes are left alone
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def as_function(frozen: Frozen, function: Any) -> Any:
    """The frozen graph, which this uses up, as a function with the original signature's names, types and shapes."""
    specs = function.structured_input_signature[1]
    graph = frozen.graph  # changed in place, for a copy would hold all weights once more
    _rename_functions(graph, "_frozen")
    placeholders = {tensor.partition(":")[0] for tensor in frozen.inputs.values()}
    for node in graph.node:
        if node.name in placeholders:
            # The inputs take their place; what waits for them (a control edge) may go on waiting.
            node.op = "NoOp"
            node.ClearField("attr")
    used = {name for node in graph.node for name in node.input}

    def converted(**tensors: Any) -> dict[str, Any]:
        feeds = {
            tensor: tensors[name]
            for name, tensor in frozen.inputs.items()
            if tensor in used or tensor.partition(":")[0] in used
        }
        fetched = tf.import_graph_def(graph, input_map=feeds, return_elements=list(frozen.outputs.values()), name="")
        return dict(zip(frozen.outputs, fetched))

    return tf.function(converted, autograph=False).get_concrete_function(
        **{name: tf.TensorSpec(specs[name].shape, specs[name].dtype, name=name) for name in frozen.inputs}
    )


def _rename_functions(graph: Any, suffix: str) -> None:
    """Give the graph's functions new names: this process has those of the unfrozen model under the old ones."""
    names = {function.signature.name: function.signature.name + suffix for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    for function in graph.library.function:
        function.signature.name = names[function.signature.name]
    for gradient in graph.library.gradient:
        gradient.function_name = names.get(gradient.function_name, gradient.function_name)
        gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)
    for node in nodes:
        node.op = names.get(node.op, node.op)
        for attribute in node.attr.values():
            called = [*attribute.list.func, *([attribute.func] if attribute.HasField("func") else [])]
            for function in called:
                function.name = names.get(function.name, function.name)


def count(graph: Any) -> int:
    """The number of operations in a graph and its functions."""
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)
