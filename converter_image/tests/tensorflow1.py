# mypy: disable-error-code="misc, untyped-decorator, no-untyped-call"
"""Makes SavedModels as TensorFlow 1 did, with its behaviour and its variables: `python tensorflow1.py FOLDER`.

Beside each is what it answered in the session that saved it: an archive of `input NAME` and `output NAME`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

Tensors = dict[str, Any]
Answers = tuple[Tensors, Tensors, Tensors]  # inputs, outputs, and what to ask


def variable(name: str, shape: tuple[int, ...], seed: int, by_resource: bool = False) -> Any:
    values = np.asarray(np.random.default_rng(seed).normal(size=shape), np.float32)
    return tf.get_variable(name, initializer=tf.constant(values), use_resource=by_resource)


def dense(x: Any, size: int, seed: int, by_resource: bool = False) -> Any:
    with tf.variable_scope(f"dense_{seed}", reuse=tf.AUTO_REUSE):
        weights = variable("weights", (int(x.shape[-1]), size), seed, by_resource)
        return tf.nn.bias_add(tf.matmul(x, weights), variable("bias", (size,), seed + 100, by_resource))


def network() -> Answers:
    """A convolution, a batch normalization by moving averages, a dense layer."""
    x = tf.placeholder(tf.float32, [None, 8, 8, 3], name="image")
    y = tf.nn.conv2d(x, variable("kernel", (3, 3, 3, 8), 1), 1, "SAME")
    with tf.variable_scope("moments"):
        mean, variance = variable("mean", (8,), 2), tf.exp(variable("log_variance", (8,), 3))
    y = tf.nn.relu(tf.nn.batch_normalization(y, mean, variance, variable("beta", (8,), 4), None, 1e-3))
    y = tf.nn.softmax(dense(tf.reduce_mean(y, [1, 2]), 5, 5), name="classes")
    asked = np.random.default_rng(6).normal(size=(3, 8, 8, 3)).astype(np.float32)
    return {"image": x}, {"classes": y}, {"image": asked}


def table(folder: Path) -> Answers:
    """Words to numbers by a file, others by a table that could be written; then through a variable."""
    folder.mkdir()
    vocabulary = folder / "vocabulary.txt"
    vocabulary.write_text("".join(f"sample {number}\n" for number in range(90)))
    words = tf.placeholder(tf.string, [None, 3], name="words")
    lines = tf.lookup.TextFileInitializer(
        str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    numbers = tf.lookup.StaticHashTable(lines, -1).lookup(words) + 1
    weights = tf.lookup.experimental.MutableHashTable(tf.string, tf.float32, 0.5)
    filled = weights.insert(tf.constant(["sample 2", "sample 89"]), tf.constant([2.0, -3.0]))
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, filled)
    vectors = tf.gather(variable("embedding", (91, 4), 7), numbers) * tf.expand_dims(weights.lookup(words), -1)
    asked = np.array([["sample 2", "unknown", "sample 3"], ["", "sample 89", "x"]], dtype=object)
    return {"words": words}, {"scores": dense(tf.reduce_mean(vectors, 1), 3, 8)}, {"words": asked}


def old_table() -> Answers:
    """A table by reference, as before TensorFlow 1.4."""
    from tensorflow.python.ops import gen_lookup_ops

    words = tf.placeholder(tf.string, [None, 1], name="words")
    handle = gen_lookup_ops.hash_table(tf.string, tf.int64, shared_name="old")
    keys, values = tf.constant(["sample 1", "sample 2"]), tf.constant([7, 8], tf.int64)
    filled = gen_lookup_ops.initialize_table(handle, keys, values)
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, filled)
    found = gen_lookup_ops.lookup_table_find(handle, words, tf.constant(-1, tf.int64))
    return {"words": words}, {"number": found}, {"words": np.array([["sample 2"], ["x"]], dtype=object)}


def control_flow() -> Answers:
    """A condition and a loop of the old kind, both of which read variables; one of them by reference."""
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    weights = variable("weights", (4, 4), 9)
    scale = variable("scale", (), 10)
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.matmul(x, weights), lambda: x * scale)
    _, y = tf.while_loop(
        lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(tf.matmul(y, weights) + scale)), (tf.constant(0), y)
    )
    asked = np.random.default_rng(11).normal(size=(2, 4)).astype(np.float32)
    return {"x": x}, {"y": y}, {"x": asked}


def names() -> Answers:
    """Names that TensorFlow 2 cannot give to an argument, and outputs' names as the graph has them."""
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    z = tf.placeholder(tf.float32, [None, 1], name="z")
    y = dense(x, 3, 12) * z
    asked = np.random.default_rng(13).normal(size=(2, 5)).astype(np.float32)
    inputs, outputs = {"image/flat": x, "scale:0": z}, {"scores/all": y, "best:0": tf.reduce_max(y, 1)}
    return inputs, outputs, {"image/flat": asked[:, :4], "scale:0": asked[:, 4:]}


def phase() -> Answers:
    """Scalars that are fed beside the batch, as training left them; with names that are served under others."""
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    train = tf.placeholder(tf.bool, [], name="phase_train")
    kept = tf.placeholder(tf.float32, name="keep_prob")
    fed = tf.cond(train, lambda: x * 0.0, lambda: x * kept)
    fed.set_shape([None, 4])  # of any number of dimensions, as `keep_prob` is
    y = dense(fed, 3, 18)
    asked = np.random.default_rng(19).normal(size=(2, 4)).astype(np.float32)
    inputs = {"image/flat": x, "phase/train": train, "keep_prob": kept}
    return inputs, {"scores": y}, {"image/flat": asked, "phase/train": False, "keep_prob": 0.5}


def counter() -> Answers:
    """Counts its calls."""
    x = tf.placeholder(tf.float32, [None, 1], name="x")
    calls = tf.assign_add(tf.get_variable("calls", [], use_resource=False), 1.0)
    return {"x": x}, {"y": x + calls}, {"x": np.zeros((1, 1), np.float32)}


def queue() -> Answers:
    """Answers with what a queue has."""
    x = tf.placeholder(tf.float32, [None, 1], name="x")
    waiting = tf.queue.FIFOQueue(8, [tf.float32], [[1]])
    return {"x": x}, {"y": x + waiting.dequeue()}, {}


def python() -> Answers:
    """Calls a function of Python."""
    x = tf.placeholder(tf.float32, [None, 1], name="x")
    y = tf.py_func(lambda value: value * 2, [x], tf.float32)
    y.set_shape([None, 1])
    return {"x": x}, {"y": y}, {"x": np.ones((1, 1), np.float32)}


def save(folder: Path, name: str, make: Callable[[], Answers], tags: tuple[str, ...] = ("serve",)) -> None:
    """Save a model with one graph, and what it answers."""
    with tf.Graph().as_default(), tf.Session() as session:
        inputs, outputs, asked = make()
        builder = tf.saved_model.Builder(str(folder / name))
        session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        builder.add_meta_graph_and_variables(session, list(tags), **described(serving_default=(inputs, outputs)))
        builder.save(as_text=name == "tf1-text")
        if asked:
            save_answers(folder / f"{name}.npz", session, inputs, outputs, asked)


def described(**signatures: tuple[Tensors, Tensors]) -> dict[str, Any]:
    """The default graph's signatures, files and initializers, as a builder takes them."""
    made = {
        name: tf.saved_model.build_signature_def(
            {key: tf.saved_model.build_tensor_info(tensor) for key, tensor in inputs.items()},
            {key: tf.saved_model.build_tensor_info(tensor) for key, tensor in outputs.items()},
            "tensorflow/serving/predict",
        )
        for name, (inputs, outputs) in signatures.items()
    }
    files = tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS) or None
    return {"signature_def_map": made, "assets_collection": files, "main_op": tf.tables_initializer()}


def save_answers(path: Path, session: Any, inputs: Tensors, outputs: Tensors, asked: Tensors) -> None:
    answers = session.run(outputs, {inputs[key]: value for key, value in asked.items()})
    arrays = {f"input {key}": value for key, value in asked.items()}
    np.savez(path, **arrays, **{f"output {key}": value for key, value in answers.items()})


def save_several(folder: Path, name: str, all_tags: tuple[tuple[str, ...], ...], by_resource: bool = False) -> None:
    """Save a model with a graph for each of these sets of tags; each adds another number to what it answers.

    With variables that are resources it is what this builder of TensorFlow 1 makes under TensorFlow 2, which has none
    of its own for several graphs.
    """
    builder = tf.saved_model.Builder(str(folder / name))
    for number, tags in enumerate(all_tags):
        with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as session:
            with tf.device("/gpu:0" if "gpu" in tags else "/cpu:0"):
                x = tf.placeholder(tf.float32, [None, 4], name="x")
                y = dense(x, 3, 14, by_resource) + 10.0 * number
            session.run(tf.global_variables_initializer())
            made = described(serving_default=({"x": x}, {"y": y}))
            if number:
                builder.add_meta_graph(list(tags), **made)
            else:
                builder.add_meta_graph_and_variables(session, list(tags), **made)
            asked = np.random.default_rng(15).normal(size=(2, 4)).astype(np.float32)
            save_answers(folder / f"{name}-{'-'.join(tags)}.npz", session, {"x": x}, {"y": y}, {"x": asked})
    builder.save()


def save_with_several_signatures(folder: Path) -> None:
    """One signature that nothing here can run, and another one."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        good, bad = dense(x, 3, 16), tf.py_func(lambda value: value, [x], tf.float32)
        session.run(tf.global_variables_initializer())
        builder = tf.saved_model.Builder(str(folder / "tf1-signatures"))
        signatures = {"serving_default": ({"x": x}, {"y": bad}), "scores": ({"x": x}, {"y": good})}
        builder.add_meta_graph_and_variables(session, ["serve"], **described(**signatures))
        builder.save()
        asked = np.random.default_rng(17).normal(size=(2, 4)).astype(np.float32)
        save_answers(folder / "tf1-signatures.npz", session, {"x": x}, {"y": good}, {"x": asked})


def main(folder: Path) -> None:
    """Make all."""
    tf.disable_v2_behavior()
    save(folder, "tf1", network)
    save(folder, "tf1-gpu", network, ("serve", "gpu"))
    save(folder, "tf1-text", network)
    save(folder, "tf1-table", lambda: table(folder / "tf1-table.files"))
    save(folder, "tf1-table-gpu", lambda: table(folder / "tf1-table-gpu.files"), ("serve", "gpu"))
    save(folder, "tf1-old-table", old_table)
    save(folder, "tf1-control-flow", control_flow)
    save(folder, "tf1-names", names)
    save(folder, "tf1-phase", phase)
    save(folder, "tf1-counter", counter)
    save(folder, "tf1-queue", queue)
    save(folder, "tf1-python", python)
    save_several(folder, "tf1-both", (("serve",), ("serve", "gpu")))
    save_several(folder, "tf1-both-resources", (("serve",), ("serve", "gpu")), by_resource=True)
    save_several(folder, "tf1-train", (("train",), ("serve",)))
    save_several(folder, "tf1-no-serving", (("train",), ("eval",)))
    save_with_several_signatures(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
