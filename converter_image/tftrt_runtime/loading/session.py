"""A child process that freezes a SavedModel as TensorFlow 1 did: in a session, which gives each variable its value.

TensorFlow 2 loads what TensorFlow 1 saved, but variables and tables of the old kind stay parts of the graph, which are
empty when it is saved again. A session fills them (`saved_model.load`, with the initializers that were saved), the
variables become constants, and of each table that is only read one of TensorFlow 2 is made with the same entries.
Several graphs of one SavedModel, names that are none in Python, and `saved_model.pbtxt` are dealt with here, too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow.python.ops import gen_lookup_ops, gen_resource_variable_ops

from tftrt_runtime import log
from tftrt_runtime.contract.errors import NotAModel, SignatureNotFound
from tftrt_runtime.loading import freeze, imported
from tftrt_runtime.loading.messages import ImportAnswer, SessionRequest
from tftrt_runtime.model import operations, saved_model, saved_model_file
from tftrt_runtime.model.saved_model_file import TABLES
from tftrt_runtime.processes import child

# Operations on references, which a variable that became a constant is none of, and the same on values.
BY_VALUE = {
    "RefEnter": "Enter", "RefExit": "Exit", "RefIdentity": "Identity", "RefMerge": "Merge",
    "RefNextIteration": "NextIteration", "RefSwitch": "Switch",
}  # fmt: skip
# Operations on tables by reference, and the same by resource.
BY_RESOURCE = {
    "LookupTableFind": "LookupTableFindV2", "LookupTableSize": "LookupTableSizeV2",
    "LookupTableExport": "LookupTableExportV2",
}  # fmt: skip
REFERENCES = {"Variable", "VariableV2"}
VARIABLES = {*REFERENCES, "VarHandleOp"}
# They hold something for the length of one call.
OF_ONE_CALL = {"TensorArrayV3", "StackV2"}
# Signatures that the saver makes for itself.
INTERNAL = "__saved_model_"


@dataclass(frozen=True)
class Table:
    """The entries of a lookup table."""

    keys: Any
    values: Any


@dataclass(frozen=True)
class Signature:
    """The names of its tensors in the graph, by those of the signature."""

    inputs: dict[str, str]
    outputs: dict[str, str]


def save(request: SessionRequest) -> ImportAnswer:
    """Write the SavedModel.

    Raises:
        NotAModel: none of its graphs is for serving, it cannot be loaded, or holds what a constant cannot.
        SignatureNotFound: it has no such signature, or one of other than dense tensors.
    """
    source, uri = Path(request.source), request.uri
    with tempfile.TemporaryDirectory(prefix="binary-", dir=Path(request.target).parent) as folder:
        is_text = not (source / saved_model_file.BINARY).exists()
        if is_text:
            source = _binary(source, Path(folder, "model"), uri)
        graphs = saved_model_file.meta_graphs(source) or ()
        if is_text and saved_model_file.loads_as_it_is(graphs, request.signature):
            source.rename(request.target)
            return ImportAnswer(names={})
        chosen = saved_model_file.for_serving(graphs, request.signature, uri, on_gpu=request.on_gpu)
        log.event("convert", "Chose the graph to serve", tags=sorted(chosen.tags), graphs=len(graphs))
        with log.timed("convert", "Froze the model in a session of TensorFlow 1"):
            signature, graph, tables = _frozen(source, sorted(chosen.tags), request.signature, uri)
        return _saved(graph, signature, tables, request)


def _binary(source: Path, target: Path, uri: str) -> Path:
    """A folder with the same model in binary form, which has all else of the source's by links.

    Raises:
        NotAModel: the text is no SavedModel.
    """
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).symlink_to(path.absolute())
    text = source / saved_model_file.TEXT
    try:
        parsed = text_format.Parse(text.read_text(), saved_model_pb2.SavedModel())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise NotAModel(f"{uri} is no SavedModel: {text.name}: {child.one_line(error)}") from error
    (target / text.name).unlink()
    (target / saved_model_file.BINARY).write_bytes(parsed.SerializeToString())
    return target


def _frozen(source: Path, tags: list[str], name: str, uri: str) -> tuple[Signature, Any, dict[str, Table]]:
    """The signature, the graph without variables, and the tables by their nodes' names, which are placeholders."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        meta_graph = _loaded(session, tags, source, uri)
        signature = _signature(meta_graph, name, uri)
        needed = _needed(graph, signature)
        _expect_held_by_the_graph(needed, meta_graph, uri)
        tables = {node.name: _entries(session, node, uri) for node in needed.node if node.op in TABLES}
        for node in needed.node:
            if node.op in TABLES:
                node.CopyFrom(_placeholder(node.name, tf.resource))
            node.op = BY_RESOURCE.get(node.op, node.op)
        _freeze_references(session, needed)
        _make_readable(graph, needed)
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, needed, _ends(signature))
    return signature, frozen, tables


def _loaded(session: Any, tags: list[str], source: Path, uri: str) -> Any:
    """The MetaGraphDef; its graph is the session's then, with values."""
    try:
        # Devices are those of the machine that trained.
        return tf.compat.v1.saved_model.load(session, tags, str(source), clear_devices=True)
    except saved_model.MACHINE_FAULTS:
        raise
    except Exception as error:  # TensorFlow raises nearly every kind here
        raise operations.not_loaded(uri, "SavedModel of TensorFlow 1", error) from error


def _signature(meta_graph: Any, name: str, uri: str) -> Signature:
    there = {key: value for key, value in meta_graph.signature_def.items() if not key.startswith(INTERNAL)}
    if name not in there:
        raise SignatureNotFound(saved_model.no_signature(name, there, uri))

    def tensors(what: str, infos: Any) -> dict[str, str]:
        for key, info in infos.items():
            if info.WhichOneof("encoding") != "name":
                raise SignatureNotFound(f"The {what} {key!r} of {uri} is no dense tensor; only those can be served.")
        return {key: infos[key].name for key in sorted(infos)}

    found = there[name]
    return Signature(tensors("input", found.inputs), tensors("output", found.outputs))


def _needed(graph: Any, signature: Signature) -> Any:
    """The GraphDef of what the outputs need, behind the inputs: an input need be no placeholder of the graph's own."""
    whole = graph.as_graph_def()
    for tensor in map(graph.get_tensor_by_name, signature.inputs.values()):
        node = next(node for node in whole.node if node.name == tensor.op.name)
        if tensor.value_index == 0 and node.op != "Placeholder":
            node.CopyFrom(_placeholder(node.name, tensor.dtype, tensor.shape))
    needed = tf.compat.v1.graph_util.extract_sub_graph(whole, _ends(signature))
    for node in needed.node:
        node.op = BY_VALUE.get(node.op, node.op)
    return needed


def _ends(signature: Signature) -> list[str]:
    """The nodes of the signature's tensors: inputs, too, for the outputs need not depend on each."""
    return [_node(tensor) for tensor in (*signature.outputs.values(), *signature.inputs.values())]


def _placeholder(name: str, dtype: Any, shape: Any = None) -> Any:
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape([] if dtype == tf.resource else shape).as_proto())
    return node


def _node(tensor: str) -> str:
    return tensor.partition(":")[0]


def _expect_held_by_the_graph(needed: Any, meta_graph: Any, uri: str) -> None:
    """Hold that what the graph keeps from call to call is variables and tables, which it only reads.

    Raises:
        NotAModel: it is not; the operations are named.
    """
    held = {node.name for node in needed.node if node.op in VARIABLES | TABLES}
    if writers := sorted(set(_writers(needed, held))):
        raise NotAModel(
            f"{uri} changes its variables or tables when it is called ({', '.join(writers[:3])}), so that no two "
            "servers would answer alike. Export it for serving: without what counts, trains or fills."
        )
    others = {node.op for node in needed.node if node.op not in VARIABLES | TABLES | OF_ONE_CALL and _makes_state(node)}
    if others:
        raise NotAModel(
            f"The signature of {uri} reads from {', '.join(sorted(others))}, which is filled while a program runs: "
            "export a signature whose inputs are placeholders."
        )
    size = sum(_bytes(node) for node in needed.node if node.op in VARIABLES)
    if size > freeze.MAX_FROZEN_BYTES:
        raise NotAModel(
            f"The {size} bytes of variables of {uri} do not fit into one graph, and TensorFlow 1's stay nowhere else: "
            "save the model with TensorFlow 2."
        )
    assets = {_node(file.tensor_info.name) for file in meta_graph.asset_file_def}
    if files := sorted(assets & {node.name for node in needed.node}):
        raise NotAModel(
            f"The signature of {uri} reads a file of the model at each call, by {files[0]!r}: read it into a table or "
            "a variable when the model is loaded."
        )


def _writers(graph: Any, held: set[str]) -> Iterator[str]:
    """The operations that take a reference, or a resource of `held` and are not known to only read it."""
    for node in graph.node:
        definition = op_def_registry.get(node.op)
        takes = any(name.partition(":")[0] in held for name in node.input)
        if definition is not None and any(argument.is_ref for argument in definition.input_arg):
            if node.op not in BY_RESOURCE:
                yield node.op
        elif (
            takes
            and node.op not in freeze.READS
            and any(
                argument.type == tf.resource.as_datatype_enum
                for argument in (definition.input_arg if definition else ())
            )
        ):
            yield node.op


def _makes_state(node: Any) -> bool:
    """Whether an operation makes something that outlives a call: a queue, an iterator, a lock."""
    definition = op_def_registry.get(node.op)
    made = definition.output_arg if definition is not None else ()
    return any(argument.is_ref or argument.type == tf.resource.as_datatype_enum for argument in made)


def _bytes(variable: Any) -> int:
    shape = tf.TensorShape(variable.attr["shape"].shape)
    return int(tf.dtypes.as_dtype(variable.attr["dtype"].type).size * (shape.num_elements() or 0))


def _freeze_references(session: Any, needed: Any) -> None:
    """Make constants of the variables by reference. What reads one sees no difference."""
    references = [node for node in needed.node if node.op in REFERENCES]
    for node, value in zip(references, session.run([f"{node.name}:0" for node in references])):
        dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
        constant = tf.compat.v1.NodeDef(name=node.name, op="Const")
        constant.attr["dtype"].type = dtype.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
        node.CopyFrom(constant)


def _make_readable(graph: Any, needed: Any) -> None:
    """Have each variable that is a resource read where the conversion looks for it: exporters drop what none needs."""
    there = {operation.name for operation in graph.get_operations()}
    for node in needed.node:
        name = f"{node.name}/Read/ReadVariableOp"
        if node.op == "VarHandleOp" and name not in there:
            handle, dtype = graph.get_tensor_by_name(f"{node.name}:0"), node.attr["dtype"].type
            with graph.name_scope(None):
                gen_resource_variable_ops.read_variable_op(handle, tf.dtypes.as_dtype(dtype), name=name)


def _entries(session: Any, node: Any, uri: str) -> Table:
    """What a table holds once the model is loaded.

    Raises:
        NotAModel: nothing, for it has no initializer; or values that are no single ones.
    """
    handle = session.graph.get_tensor_by_name(f"{node.name}:0")
    kinds = [tf.dtypes.as_dtype(node.attr[kind].type) for kind in ("key_dtype", "value_dtype")]
    by_resource = handle.dtype == tf.resource
    export = gen_lookup_ops.lookup_table_export_v2 if by_resource else gen_lookup_ops.lookup_table_export
    try:
        keys, values = session.run(export(handle, *kinds))
    except tf.errors.FailedPreconditionError as error:
        raise NotAModel(
            f"The table {node.name!r} of {uri} is empty when the model is loaded: {child.one_line(error)}. Export the "
            "model with tf.tables_initializer() as its main_op."
        ) from error
    if keys.ndim != 1 or values.ndim != 1:
        raise NotAModel(
            f"The table {node.name!r} of {uri} ({node.op}) has keys or values that are vectors, and TensorFlow 2 has "
            "no fixed table of those: put the vectors into a variable, and their numbers into the table."
        )
    return Table(keys, values)


def _saved(graph: Any, signature: Signature, tables: dict[str, Table], request: SessionRequest) -> ImportAnswer:
    """Write the frozen graph; a name that is none in Python becomes one."""
    uri = request.uri
    names = imported.served_names(signature.inputs, uri, imported.input_name, saved_model_file.can_be_an_argument)
    with tf.device("CPU:0"):
        wrapped = imported.wrapped(graph, uri)
        tensor = wrapped.graph.get_tensor_by_name
        inputs = {names[key]: tensor(name) for key, name in signature.inputs.items()}
        made = {f"{name}:0": tf.lookup.StaticHashTable(*_as_initializer(table)) for name, table in tables.items()}
        function = imported.pruned(
            wrapped,
            [*inputs.values(), *map(tensor, made)],
            [tensor(name) for name in signature.outputs.values()],
            f"The outputs of the signature {request.signature!r} of {uri} do not follow from its inputs",
            "Export a signature with all of its inputs.",
        )
        imported.save(function, inputs, signature.outputs, request.target, request.signature, made)
    return ImportAnswer(names={name: key for key, name in names.items() if name != key})


def _as_initializer(table: Table) -> tuple[Any, Any]:
    """A table's initializer, and its default, which every lookup of TensorFlow 1 brings along itself."""
    default = b"" if table.values.dtype == object else table.values.dtype.type()
    return tf.lookup.KeyValueTensorInitializer(table.keys, table.values), default


if __name__ == "__main__":
    child.answer(SessionRequest, save)
