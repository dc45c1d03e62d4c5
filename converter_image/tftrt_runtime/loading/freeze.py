"""Freeze a signature's variables to constants and optimise the graph for inference. Imports TensorFlow.

Lookup tables that nothing writes stay beside the frozen graph, which goes on reading them. Where a frozen graph would
not be the same model (it has queues, or variables that it writes) there is none: the caller keeps the model as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.checkpoint import graph_view
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.trackable import resource
from tensorflow.python.training import saver

# A GraphDef is one protobuf message and ends at 2 GiB; frozen weights lie in it. A tenth is left for the graph itself.
MAX_FROZEN_BYTES = int(0.9 * 2**31)

# Operations that only read a variable, and those that pass one on to a function, whose own operations are looked at.
READS = {
    "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarIsInitializedOp", "Placeholder",
    "Identity", "PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile", "Case",
    "StatelessCase", "LookupTableFind", "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2",
    "LookupTableExport", "LookupTableExportV2",
}  # fmt: skip

# Operations that make a state of their own in the graph, which is filled when the model is loaded: the way of models
# that TensorFlow 1 saved.
MAKES = {
    "HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "MutableDenseHashTable",
    "MutableDenseHashTableV2", "VarHandleOp", "Variable", "VariableV2",
}  # fmt: skip


@dataclass(frozen=True)
class Frozen:
    """An optimised graph without variables; tensor names by the signature's names, and tables by tensor names."""

    graph: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    tables: dict[str, Any]


def why_not(loaded: Any, function: Any) -> str | None:
    """Why this signature of the loaded model cannot be frozen soundly; None where it can."""
    if len(_tables(loaded, function)) < len(resources(function)):
        return "it uses queues, tables that are written or other resources that are neither variables nor fixed tables"
    graph = function.graph.as_graph_def()
    handles = {tensor.name.partition(":")[0] for tensor in function.inputs if tensor.dtype == tf.resource}
    bodies = [graph.node, *(body.node_def for body in graph.library.function)]
    made = sorted({node.op for nodes in bodies for node in nodes} & MAKES)
    if made:
        return f"it makes variables or tables of its own when it is loaded ({', '.join(made)})"
    writers = sorted(set(_writers(graph, handles)))
    if writers:
        return f"it changes its state when it is called ({', '.join(writers[:3])})"
    size = sum(variable.dtype.size * variable.shape.num_elements() for variable in function.variables)
    if size > MAX_FROZEN_BYTES:
        return f"its {size} bytes of variables do not fit into one graph"
    return None


def has_tables(loaded: Any, function: Any) -> bool:
    """Whether this signature of the loaded model reads tables that stay beside a frozen graph."""
    return bool(_tables(loaded, function))


def resources(function: Any) -> dict[str, Any]:
    """What the function refers to beside variables and constants, by the name of the tensor that stands for it."""
    variables = {id(variable.handle) for variable in function.variables}
    return {
        inner.name: outer
        for outer, inner in function.graph.captures
        if outer.dtype in {tf.resource, tf.variant} and id(outer) not in variables
    }


def _tables(loaded: Any, function: Any) -> dict[str, Any]:
    """Those of them that are tables which keep what they were filled with, as the loaded model's objects."""
    objects, _ = graph_view.ObjectGraphView(loaded).breadth_first_traversal()
    by_handle = {id(thing.resource_handle): thing for thing in objects if _is_fixed_table(thing)}
    return {name: by_handle[id(outer)] for name, outer in resources(function).items() if id(outer) in by_handle}


def _is_fixed_table(thing: Any) -> bool:
    """Whether this object of a loaded model is a table of the kind that is filled once, when it is loaded.

    That of a model which was saved again after it was loaded is made by a function within one.
    """
    if not isinstance(thing, resource.RestoredResource):
        return False
    graphs = [function.graph.as_graph_def() for function in thing._create_resource.concrete_functions]
    bodies = [nodes for graph in graphs for nodes in (graph.node, *(body.node_def for body in graph.library.function))]
    return any(node.op == "HashTableV2" for nodes in bodies for node in nodes)


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


def freeze(loaded: Any, function: Any) -> Frozen:
    """The signature with its variables as constants, functions inlined, constants folded, arithmetic simplified."""
    graph = _with_constants(function)
    # Both structures are flattened in the order of their sorted names; what was captured is behind the signature's own.
    inputs = dict(zip(sorted(function.structured_input_signature[1]), (tensor.name for tensor in function.inputs)))
    outputs = dict(zip(sorted(function.structured_outputs), (tensor.name for tensor in function.outputs)))
    meta_graph = _meta_graph(graph, list(outputs.values()))
    del graph  # each copy of the graph holds all weights
    # What was captured and is no constant now keeps its name, as an input behind the signature's own.
    return Frozen(graph=_optimise(meta_graph), inputs=inputs, outputs=outputs, tables=_tables(loaded, function))


def _with_constants(function: Any) -> Any:
    """The function's graph with its variables as constants, in which all tensors keep their names.

    It is what `convert_variables_to_constants_v2` makes, without the function that it makes of that: to import the
    graph, prune it and register it, twice, takes as long as all else.
    """
    data = convert_to_constants._FunctionConverterDataInEager(
        func=function, lower_control_flow=False, aggressive_inlining=False
    )
    graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)
    imported = tf.Graph()
    with imported.as_default():
        tf.import_graph_def(graph, name="")
    return imported


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
    rename_functions(graph, "_frozen")
    placeholders = {tensor.partition(":")[0] for tensor in (*frozen.inputs.values(), *frozen.tables)}
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
        for tensor, table in frozen.tables.items():
            feeds[tensor] = tf.compat.v1.get_default_graph().capture(table.resource_handle)
        fetched = tf.import_graph_def(graph, input_map=feeds, return_elements=list(frozen.outputs.values()), name="")
        return dict(zip(frozen.outputs, fetched))

    return tf.function(converted, autograph=False).get_concrete_function(
        **{name: tf.TensorSpec(specs[name].shape, specs[name].dtype, name=name) for name in frozen.inputs}
    )


def save(frozen: Frozen, function: Any, target: str, signature: str) -> None:
    """Write the frozen graph, which this uses up, as a SavedModel with this one signature, and its tables."""
    root = tf.Module()
    root.tables = list(frozen.tables.values())
    root.converted = as_function(frozen, function)
    tf.saved_model.save(root, target, signatures={signature: root.converted})


def rename_functions(graph: Any, suffix: str) -> None:
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
