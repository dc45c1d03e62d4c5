"""A GraphDef as the rewrites see it: its nodes, who reads them, their shapes, and the loops that they lie in.

Imports TensorFlow.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2

from tftrt_runtime.convert.rewrites import weights

# What a loop or a condition becomes when TF-TRT freezes a model: what lies between them has no value of its own.
CONTROL_FLOW = {"Enter", "Exit", "Merge", "NextIteration", "Switch"}


class Graph:
    """A GraphDef, which rewrites change in place; shapes, readers and loops are those that it had before."""

    def __init__(self, definition: Any, fetched: Iterable[str] = ()) -> None:
        self.definition = definition
        self.nodes = {node.name: node for node in definition.node}
        # Who fetches a tensor reads it, though no node says so.
        self.fetched = {producer(tensor) for tensor in fetched}
        self._readers: dict[str, list[Any]] = defaultdict(list)
        for node in definition.node:
            for name in node.input:
                self._readers[producer(name)].append(node)

    def readers(self, name: str) -> list[Any]:
        """The nodes that read this one, each as often as it does; those that only wait for it are among them."""
        return self._readers.get(name, [])

    def is_read_once(self, name: str) -> bool:
        """Whether one node reads this one, and nobody fetches what it makes."""
        return len(self.readers(name)) == 1 and name not in self.fetched

    def maker(self, tensor: str, operations: set[str]) -> Any:
        """The node that makes a tensor, as its first output; None for other operations, and where it waits for more."""
        node = self.nodes.get(tensor.removesuffix(":0"))
        if node is None or node.op not in operations:
            return None
        return None if any(name.startswith("^") for name in node.input) else node

    @cached_property
    def shapes(self) -> Any:
        """The tf.Graph without its weights, whose tensors have the shapes that TensorFlow infers."""
        imported = tf.Graph()
        with imported.as_default():
            tf.import_graph_def(weights.without(self.definition), name="")
        return imported

    def shape(self, tensor: str) -> Any:
        """The tf.TensorShape that TensorFlow infers for a tensor."""
        return self.shapes.get_tensor_by_name(tensor if ":" in tensor else f"{tensor}:0").shape

    @cached_property
    def _depths(self) -> dict[str, int]:
        """In how many loops each node lies, one inside of the other."""
        waiting = deque(node for node in self.definition.node if not node.input)
        found = {node.name: 0 for node in waiting}
        while waiting:
            node = waiting.popleft()
            depth = found[node.name] - (node.op == "Exit")
            for reader in self.readers(node.name):
                if reader.name not in found:
                    found[reader.name] = depth + (reader.op == "Enter")
                    waiting.append(reader)
        return found

    def is_in_loop(self, tensor: str) -> bool:
        """Whether a tensor is made once in each iteration of a loop."""
        name = producer(tensor)
        while name not in self._depths:  # it was added since
            name = producer(self.nodes[name].input[0])
        return bool(self._depths[name] - (self.nodes[name].op == "Exit") > 0)

    def add(self, name: str, operation: str, inputs: Sequence[str] = (), device: str = "") -> Any:
        """Add a node of this name, or of one like it if there is such a one."""
        free, number = name, 0
        while free in self.nodes:
            number += 1
            free = f"{name}_{number}"
        node = self.definition.node.add(name=free, op=operation, device=device, input=inputs)
        self.nodes[free] = node
        return node

    def add_constant(self, name: str, value: Any, dtype: Any, beside: str, device: str = "") -> str:
        """Add a `Const` of this value and tf.DType that is read together with the tensor `beside`; its name.

        In a loop everything belongs to an iteration, and a constant gets there by waiting for what does.
        """
        waits_for = [f"^{producer(beside)}"] if self.is_in_loop(beside) else []
        node = self.add(name, "Const", waits_for, device)
        _set_value(node, value, dtype)
        return str(node.name)

    def constant(self, tensor: str) -> Any:
        """The value of a constant, however often it is passed on; None for what is none."""
        node = self.nodes.get(tensor.removesuffix(":0"))
        while node is not None and node.op == "Identity":
            node = self.nodes.get(node.input[0].removesuffix(":0"))
        return tf.make_ndarray(node.attr["value"].tensor) if node is not None and node.op == "Const" else None

    def computed(self, wanted: Any, source: Any, sizes: list[int]) -> Any:
        """A tensor's value as a list where the source has this shape; None where it needs more than that, or another.

        Both are tensors of `shapes`. The graph need hold no more of a shape than how it is made: so it is seen at sizes
        that it might have.
        """
        part = tf.compat.v1.GraphDef()
        seen: set[str] = set()
        left = [wanted.op]
        while left:
            operation = left.pop()
            if operation.name in seen:
                continue
            seen.add(operation.name)
            if operation.type == "Placeholder" or operation.type in CONTROL_FLOW:
                return None
            if operation.type == "Shape" and operation.inputs[0] is source:
                _set_value(part.node.add(name=operation.name, op="Const"), sizes, operation.outputs[0].dtype)
                continue
            copy = part.node.add()
            copy.CopyFrom(self.nodes[operation.name])
            waits_for = [other for other in operation.control_inputs if not _is_of_an_iteration(other)]
            data = [name for name in copy.input if not name.startswith("^")]
            copy.input[:] = [*data, *(f"^{other.name}" for other in waits_for)]
            left += [*(tensor.op for tensor in operation.inputs), *waits_for]
        try:
            with tf.device("CPU"):
                compute = tf.compat.v1.wrap_function(
                    lambda: tf.import_graph_def(part, name="", return_elements=[wanted.name]), []
                )
                return compute()[0].numpy().tolist()
        except (tf.errors.OpError, ValueError):  # the graph asserts other sizes, say
            return None


def producer(tensor: str) -> str:
    """The name of the node that makes a tensor, or that a control input waits for."""
    return tensor.lstrip("^").partition(":")[0]


def _is_of_an_iteration(operation: Any) -> bool:
    """Whether what waits for this does so to be in a loop's iteration, or in a branch, and for nothing else.

    A body's constants wait for what comes into it: for one tensor of them, or for a `NoOp` that waits for them all.
    """
    if operation.type in CONTROL_FLOW:
        return True
    if operation.type not in {"Identity", "NoOp"}:
        return False
    return all(map(_is_of_an_iteration, [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]))


def attribute(node: Any, name: str) -> Any:
    """An attribute of a node, empty where it has none: to look for it in `node.attr` would make one, of no type."""
    return node.attr[name] if name in node.attr else attr_value_pb2.AttrValue()


def become(node: Any, operation: str, *inputs: str) -> None:
    """Give a node another operation and inputs; it keeps its name, its type, and what it waits for."""
    waits_for = [name for name in node.input if name.startswith("^")]
    value_type = node.attr["T"].type
    node.op = operation
    node.input[:] = [*inputs, *waits_for]
    for name in list(node.attr):
        del node.attr[name]
    node.attr["T"].type = value_type


def _set_value(node: Any, value: Any, dtype: Any) -> None:
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
