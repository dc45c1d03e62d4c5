"""A GraphDef of TensorFlow 1, without variables, as a SavedModel of TensorFlow 2. Imports TensorFlow.

Every other step then finds a SavedModel that it can load. What was named for TensorFlow 1 is served under names that
TensorFlow 2 can give to an argument: with `_` for what is neither a letter nor a digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import op_selector

from tftrt_runtime.contract.errors import SignatureNotFound
from tftrt_runtime.model import operations
from tftrt_runtime.model.saved_model_file import can_be_an_argument


def wrapped(graph: Any, uri: str) -> Any:
    """The GraphDef, which this changes, as a function without inputs and outputs, to be pruned.

    Raises:
        NotAModel: this TensorFlow cannot load it.
    """
    for node in (*graph.node, *(node for function in graph.library.function for node in function.node_def)):
        node.device = ""  # of the machine that trained
        # Beside whom it is to be: who froze the graph may have left him out, and TensorFlow takes none without.
        if "_class" in node.attr:
            del node.attr["_class"]
    try:
        return tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    except (tf.errors.OpError, ValueError) as error:
        raise operations.not_loaded(uri, "graph", error) from error


def pruned(imported: Any, inputs: Iterable[Any], outputs: Iterable[Any], what: str, remedy: str) -> Any:
    """The part of an imported graph from these tensors to those.

    Raises:
        SignatureNotFound: the outputs need more than these inputs: `what` does not follow, and the `remedy`.
    """
    try:
        return imported.prune(list(inputs), list(outputs))
    except op_selector.UnliftableError as error:
        raise SignatureNotFound(f"{what}: {str(error)[:500]}. {remedy}") from error


def save(
    function: Any,
    inputs: Mapping[str, Any],
    outputs: Iterable[str],
    target: str,
    signature: str,
    tables: Mapping[str, Any],
    bound: Sequence[tuple[Any, Any]] = (),
) -> None:
    """Write a pruned function as a SavedModel with this one signature.

    `inputs` are the function's tensors by the names that they are served under; behind them are those that are `bound`
    to values, each with its type, and those of `tables`, lookup tables by the names of their placeholders. `outputs`
    are the names of its answers, in their order.
    """
    answers, held = list(outputs), list(tables.values())

    def serve(**tensors: Any) -> dict[str, Any]:
        handles = [tf.compat.v1.get_default_graph().capture(table.resource_handle) for table in held]
        fixed = [tf.constant(value, dtype) for value, dtype in bound]
        return dict(zip(answers, function(*(tensors[name] for name in inputs), *fixed, *handles)))

    root = tf.Module()
    root.tables = held
    root.serve = tf.function(serve, autograph=False).get_concrete_function(
        **{name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in inputs.items()}
    )
    tf.saved_model.save(root, target, signatures={signature: root.serve})


def served_names(
    tensors: Iterable[str], uri: str, how: Callable[[str], str], keep: Callable[[str], bool] = lambda _: False
) -> dict[str, str]:
    """By the name of each tensor, such as `net/input:0`, the name that it is served under: `net_input`.

    The number of a node's output is behind it where that is not the first. `how` is `input_name` or `output_name`; what
    `keep` says stays as it is.

    Raises:
        SignatureNotFound: two have the same.
    """
    names = {tensor: tensor if keep(tensor) else how(tensor) for tensor in tensors}
    if len(set(names.values())) < len(names):
        raise SignatureNotFound(
            f"Two tensors of {uri} have the same name when served: {', '.join(sorted(names.values()))}."
        )
    return names


def input_name(tensor: str) -> str:
    """The name that an input is served under: `input_0` of `0:0`, as exporters from other libraries call one."""
    name = _of_letters(tensor)
    return name if can_be_an_argument(name) else f"input_{name.lstrip('_')}"


def output_name(tensor: str) -> str:
    """The name that an output is served under, which nothing has as an argument."""
    name = _of_letters(tensor)
    return f"_{name}" if name[:1].isdigit() or not name else name


def _of_letters(tensor: str) -> str:
    node, separator, output = tensor.rpartition(":")
    if not (separator and output.isdigit()):
        node, output = tensor, "0"
    return re.sub(r"\W", "_", node, flags=re.ASCII) + ("" if output == "0" else f"_{output}")
