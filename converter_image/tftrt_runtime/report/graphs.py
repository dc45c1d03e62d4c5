"""A signature's graph as a person looks at it: without the calls round it and without weights. Imports TensorFlow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tftrt_runtime.report.data import Graph, Node

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
# Larger attributes are weights and engines.
MAX_ATTRIBUTE_BYTES = 512
# What only holds or passes on a tensor is not drawn.
PASSED_ON = {"Identity", "ReadVariableOp"}
HIDDEN = {"Const", "NoOp"}


def show(function: Any, events: Path) -> Graph:
    """Write the function's graph as a TensorBoard event file to the folder `events`; what to draw of it."""
    flat = flatten(function.graph.as_graph_def())
    with tf.summary.create_file_writer(str(events)).as_default():
        tf.summary.graph(flat)
    captured = {inner.name.partition(":")[0] for _, inner in function.graph.captures}
    return drawn(flat, captured)


def flatten(graph: Any) -> Any:
    """The graph with its calls replaced by what they call, and without large attributes.

    What a node reads is named as in any GraphDef: `node`, or `node:1` where it is not the first output.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    flat = tf.compat.v1.GraphDef(versions=graph.versions)
    flat.node.extend(_Scope(graph.node, "", {}, functions).flattened())
    return flat


class _Scope:
    """The nodes of a graph or of a function that is called from somewhere."""

    def __init__(self, nodes: Iterable[Any], prefix: str, arguments: dict[str, str], functions: dict[str, Any]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._prefix = prefix
        self._arguments = arguments  # by the function's own names: the tensors outside that they are
        self._functions = functions
        self._called: dict[str, tuple[Any, _Scope]] = {}

    def flattened(self) -> Iterator[Any]:
        """Nodes without calls."""
        for node in self._nodes.values():
            if self._function(node) is not None:
                yield from self._inside(node)[1].flattened()
                continue
            made = tf.compat.v1.NodeDef(name=self._prefix + node.name, op=node.op, device=node.device)
            made.input.extend(self._inputs(node))
            for name, value in node.attr.items():
                if value.ByteSize() <= MAX_ATTRIBUTE_BYTES:
                    made.attr[name].CopyFrom(value)
            yield made

    def _inputs(self, node: Any) -> Iterator[str]:
        for reference in node.input:
            name = reference.removeprefix("^")
            if name == reference:
                yield self._source(reference)
            elif name in self._nodes and self._function(self._nodes[name]) is None:
                yield f"^{self._prefix}{name}"

    def _source(self, reference: str) -> str:
        """The tensor outside of calls: of `node`, `node:1` in a graph, `argument`, `node:output:1` in a function."""
        name, *rest = reference.split(":")
        if name in self._arguments:
            return self._arguments[name]
        node = self._nodes[name]
        if self._function(node) is None:
            number = _output(node, rest)
            return f"{self._prefix}{name}:{number}" if number else self._prefix + name
        function, inside = self._inside(node)
        output = function.signature.output_arg[int(rest[-1]) if rest else 0].name
        return inside._source(function.ret[output])

    def _function(self, node: Any) -> Any:
        """What the node calls; None for an operation."""
        return self._functions.get(node.attr["f"].func.name) if node.op in CALLS else self._functions.get(node.op)

    def _inside(self, node: Any) -> tuple[Any, _Scope]:
        if node.name not in self._called:
            function = self._function(node)
            given = [reference for reference in node.input if not reference.startswith("^")]
            arguments = {
                argument.name: self._source(reference)
                for argument, reference in zip(function.signature.input_arg, given)
            }
            prefix = f"{self._prefix}{node.name}/"
            self._called[node.name] = (function, _Scope(function.node_def, prefix, arguments, self._functions))
        return self._called[node.name]


def _output(node: Any, rest: list[str]) -> int:
    """The number of an operation's output, of what follows its name: nothing or `1` in a graph, else `output`, `1`."""
    definition = op_def_registry.get(node.op)
    if len(rest) < 2 or definition is None:
        return int(rest[-1]) if rest else 0
    before = 0
    for output in definition.output_arg:
        if output.name == rest[0]:
            break
        if output.number_attr:
            before += node.attr[output.number_attr].i
        else:
            before += len(node.attr[output.type_list_attr].list.type) if output.type_list_attr else 1
    return before + int(rest[1])


def drawn(flat: Any, captured: set[str]) -> Graph:
    """What of a flattened graph to draw: inputs (not what was captured: weights), what computes, engines, outputs."""
    nodes = {node.name: node for node in flat.node}
    sources = {
        name: [text.partition(":")[0] for text in node.input if not text.startswith("^")]
        for name, node in nodes.items()
    }
    used = {source for given in sources.values() for source in given}
    names = [name for name, node in nodes.items() if name not in captured and not _is_hidden(node, name in used)]
    numbers = {name: number for number, name in enumerate(names)}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for name in names:
        for source in sources[name]:
            origin = source
            while origin not in numbers and nodes[origin].op in PASSED_ON and sources[origin]:
                origin = sources[origin][0]
            if origin in numbers and numbers[origin] not in found[name]:
                found[name].append(numbers[origin])
    return Graph(
        operations=len(nodes),
        nodes=tuple(Node(name=name, op=nodes[name].op, inputs=tuple(found[name])) for name in names),
    )


def _is_hidden(node: Any, is_used: bool) -> bool:
    return node.op in HIDDEN or (node.op in PASSED_ON and is_used)
