"""Which operations of a model this TensorFlow can run. Imports TensorFlow.

A model may be loaded, frozen and saved, and still fail at every call: because an operation is a function of the Python
that exported it, or has no kernel for a processor or a GPU. It is refused by that operation's name, before anything is
built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import kernels

from tftrt_runtime.contract.errors import NotAModel
from tftrt_runtime.processes.child import one_line

# They call Python functions by a number that means something in the process that traced them, and there alone.
OF_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
XLA_PROGRAM = "XlaCallModule"
# Where kernels are that any server can run, and those of a function that XLA compiles as a whole.
OF_THE_HOST = {"CPU", "DEFAULT"}
OF_XLA = {"XLA_CPU_JIT", "XLA_GPU_JIT"}
# As attributes of a function's call, or of its body: XLA compiles it.
COMPILED = ("_XlaMustCompile",)
NOT_REGISTERED = re.compile(r"Op type not registered '([^']+)'")


def expect_runnable(function: Any, uri: str) -> None:
    """Hold that this TensorFlow can run all of a signature's function.

    Raises:
        NotAModel: it cannot; the operations are named, and what to do.
    """
    found = not_runnable(function.graph.as_graph_def())
    if found:
        raise _refusal(found, uri)


def expect_no_program(function: Any, uri: str) -> None:
    """Hold that a function which takes no input has no program for XLA in it, which is of another version then.

    Raises:
        NotAModel: it has.
    """
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    if XLA_PROGRAM in {node.op for node in nodes}:
        raise _refusal([XLA_PROGRAM], uri)


def _refusal(found: list[str], uri: str) -> NotAModel:
    return NotAModel(f"{uri} uses {', '.join(map(repr, found))}, {_why(found)}")


def _why(operations: list[str]) -> str:
    if set(operations) & OF_PYTHON:
        return (
            "which calls Python code of the process that exported the model (tf.py_function, tf.numpy_function), and "
            "no server has that. Write it with TensorFlow's operations, or export the model without it."
        )
    if XLA_PROGRAM in operations:
        return (
            f"a program for XLA, as JAX exports it, which TensorFlow {tf.__version__} does not run. Export with "
            "jax2tf.convert(..., native_serialization=False) of a JAX that still has it: that writes TensorFlow's "
            "operations."
        )
    return (
        f"for which TensorFlow {tf.__version__} has no kernel on a processor or a GPU. Export the model for serving, "
        "without it."
    )


def not_runnable(graph: Any) -> list[str]:
    """The operations of a GraphDef, and of the functions that it calls, which nothing here can run."""
    return sorted(set(_not_runnable(graph)))


def _not_runnable(graph: Any) -> Iterator[str]:
    bodies = {function.signature.name: function for function in graph.library.function}
    compiled = set(_compiled(graph, bodies))
    devices = OF_THE_HOST | ({"GPU"} if tf.config.list_physical_devices("GPU") else set())
    yield from _without_kernel(graph.node, bodies, devices)
    for name in set(_called(graph.node, bodies)):
        yield from _without_kernel(bodies[name].node_def, bodies, devices | (OF_XLA if name in compiled else set()))


def _without_kernel(nodes: Iterable[Any], bodies: Any, devices: set[str]) -> Iterator[str]:
    for operation in {node.op for node in nodes} - set(bodies):
        known = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(operation).kernel}
        if operation in OF_PYTHON or not known & devices:
            yield operation


def _called(nodes: Iterable[Any], bodies: Any) -> Iterator[str]:
    """The names of the functions that these nodes call, and of those that they call."""
    waiting, seen = list(nodes), set()
    while waiting:
        for name in _functions_of(waiting.pop()):
            if name in bodies and name not in seen:
                seen.add(name)
                waiting.extend(bodies[name].node_def)
                yield name


def _functions_of(node: Any) -> Iterator[str]:
    yield node.op
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (function.name for function in attribute.list.func)


def _compiled(graph: Any, bodies: Any) -> Iterator[str]:
    """The functions that XLA compiles: as their call or they themselves say, and all that those call."""
    nodes = [*graph.node, *(node for body in bodies.values() for node in body.node_def)]
    callers = [node for node in nodes if any(node.attr[name].b for name in COMPILED if name in node.attr)]
    marked = [body for body in bodies.values() if any(body.attr[name].b for name in COMPILED if name in body.attr)]
    yield from (body.signature.name for body in marked)
    yield from _called([*callers, *(node for body in marked for node in body.node_def)], bodies)


def not_loaded(uri: str, what: str, error: BaseException) -> NotAModel:
    """The failure of what lies at this URI and is no SavedModel or graph (`what`) for this TensorFlow."""
    if XLA_PROGRAM in str(error):  # of a version that it does not know
        return _refusal([XLA_PROGRAM], uri)
    unknown = NOT_REGISTERED.search(str(error))
    if unknown:
        return NotAModel(
            f"{uri} uses the operation {unknown[1]!r}, which TensorFlow {tf.__version__} does not have: it is a custom "
            "one, or of another version. Export the model without it."
        )
    return NotAModel(f"{uri} is no {what} that TensorFlow {tf.__version__} can load: {one_line(error)}")
