# mypy: disable-error-code="misc, untyped-decorator, no-untyped-call"
"""Makes SavedModels that take no batches, or not with all of their tensors: `python models_without_batches.py FOLDER`.

Beside each is what it answers to a question: an archive of `input NAME` and `output NAME`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

WIDE, LONG = 200, 256
GENERATOR = np.random.default_rng(7)


def signature(folder: Path, function: Callable[..., Any], *specs: Any, root: tf.Module | None = None) -> None:
    """Save a function as a model's only signature."""
    made = root or tf.Module()
    made.serve = tf.function(function, input_signature=list(specs), autograph=False)
    tf.saved_model.save(made, str(folder), signatures={"serving_default": made.serve})


def spec(name: str, shape: list[int | None] | None, dtype: Any = tf.float32) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype, name=name)


def detector(folder: Path) -> None:
    """A batch of one picture of any size, as the object detection API exports it."""
    root = tf.Module()
    root.kernel = tf.Variable(GENERATOR.normal(size=(3, 3, 3, 4)).astype(np.float32))

    def serve(image: Any) -> dict[str, Any]:
        found = tf.nn.conv2d(image, root.kernel, 2, "SAME")
        boxes = tf.reshape(found, [1, -1, 4])
        return {"boxes": boxes[:, :5], "count": tf.cast(tf.shape(boxes)[1:2], tf.float32)}

    signature(folder, serve, spec("image", [1, None, None, 3]), root=root)


def of_eight(folder: Path) -> None:
    """A batch of eight and no other."""
    root = tf.Module()
    root.weights = tf.Variable(GENERATOR.normal(size=(4, 3)).astype(np.float32))
    signature(folder, lambda x: {"scores": tf.nn.softmax(x @ root.weights)}, spec("x", [8, 4]), root=root)


def vector(folder: Path) -> None:
    """No batch at all; the text of its answer has no dimension."""
    root = tf.Module()
    root.weights = tf.Variable(GENERATOR.normal(size=(8, 3)).astype(np.float32))

    def serve(x: Any) -> dict[str, Any]:
        scores = tf.linalg.matvec(root.weights, x, transpose_a=True)
        return {"scores": scores, "best": tf.reduce_max(scores), "version": tf.constant("1.2")}

    signature(folder, serve, spec("x", [8]), root=root)


def wave(folder: Path) -> None:
    """A sound of any length, in frames of two: what may be a batch of single numbers by its signature."""

    def serve(x: Any) -> dict[str, Any]:
        return {"frames": tf.stack([x[:-1], x[1:]], axis=1)}

    signature(folder, serve, spec("x", [None]))


def example(folder: Path) -> None:
    """One `tf.train.Example`, a text without any dimension, and a class that has none either."""
    root = tf.Module()
    root.weights = tf.Variable(GENERATOR.normal(size=(4, 3)).astype(np.float32))

    def serve(serialized: Any) -> dict[str, Any]:
        x = tf.io.parse_single_example(serialized, {"x": tf.io.FixedLenFeature([4], tf.float32)})["x"]
        scores = tf.linalg.matvec(root.weights, x, transpose_a=True)
        return {"scores": scores, "class": tf.argmax(scores)}

    signature(folder, serve, spec("serialized", [], tf.string), root=root)


def dropout(folder: Path) -> None:
    """Scalars beside the batch, as graphs of TensorFlow 1 have them."""
    root = tf.Module()
    root.weights = tf.Variable(GENERATOR.normal(size=(4, 3)).astype(np.float32))

    def serve(x: Any, keep_prob: Any, phase_train: Any) -> dict[str, Any]:
        kept = tf.cond(phase_train, lambda: x * 0.0, lambda: x)
        return {"scores": kept @ root.weights * keep_prob}

    specs = (spec("x", [None, 4]), spec("keep_prob", []), spec("phase_train", None, tf.bool))
    signature(folder, serve, *specs, root=root)


def table(folder: Path) -> None:
    """A table beside the batch."""
    specs = (spec("x", [None, 4]), spec("table", [7, 4]))
    signature(folder, lambda x, table: {"scores": tf.matmul(x, table, transpose_b=True)}, *specs)


def unranked(folder: Path) -> None:
    """Takes tensors of any number of dimensions."""
    signature(folder, lambda x: {"y": tf.sqrt(x + 1.0)}, spec("x", None))


def ragged(folder: Path) -> None:
    """Keras' ragged input: tokens of texts of any length."""
    tokens = tf.keras.Input((None,), ragged=True, dtype="int64", name="tokens")
    vectors = tf.keras.layers.Embedding(50, 4)(tokens)
    scores = tf.keras.layers.Dense(3, name="scores")(
        tf.keras.layers.Lambda(lambda x: tf.reduce_mean(x, axis=1))(vectors)
    )
    tf.keras.Model(tokens, scores).save(str(folder), save_format="tf")


def rows(folder: Path) -> None:
    """Values and where their rows begin and end, which nothing but the graph says."""

    def serve(values: Any, row_splits: Any) -> dict[str, Any]:
        return {"sums": tf.reduce_sum(tf.RaggedTensor.from_row_splits(values, row_splits), axis=1)}

    signature(folder, serve, spec("values", [None]), spec("row_splits", [None], tf.int64))


def sparse(folder: Path) -> None:
    """Keras' sparse input: features, most of which are 0."""
    features = tf.keras.Input((20,), sparse=True, name="features")
    tf.keras.Model(features, tf.keras.layers.Dense(3, name="scores")(features)).save(str(folder), save_format="tf")


def version(folder: Path) -> None:
    """Scores of a batch, and beside them a text, a number of the model and a table of its own."""

    def serve(x: Any) -> dict[str, Any]:
        scores = tf.nn.softmax(x * 2.0)
        largest = tf.reduce_max(scores)
        return {"scores": scores, "version": tf.constant("1.2"), "largest": largest, "anchors": tf.ones([7, 4])}

    signature(folder, serve, spec("x", [None, 4]))


def mean(folder: Path) -> None:
    """One number for the whole batch."""
    signature(folder, lambda x: {"mean": tf.reduce_mean(x, axis=0)}, spec("x", [None, 4]))


def wide(folder: Path) -> None:
    """As many inputs as a ranking model's, whose names alone are longer than a termination message."""
    names = [f"feature_of_the_customer_{index}" for index in range(WIDE)]
    made = tf.Module()

    def serve(**features: Any) -> dict[str, Any]:
        return {"features": tf.concat([features[name] for name in names], axis=1)}

    made.serve = tf.function(serve, autograph=False).get_concrete_function(
        **{name: spec(name, [None, LONG]) for name in names}
    )
    tf.saved_model.save(made, str(folder), signatures={"serving_default": made.serve})


def frozen(folder: Path) -> None:
    """A graph of TensorFlow 1 with scalars that are fed."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        keep = tf.compat.v1.placeholder(tf.float32, name="keep_prob")
        train = tf.compat.v1.placeholder(tf.bool, name="phase_train")
        weights = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
        kept = tf.cond(train, lambda: x * 0.0, lambda: x)
        tf.identity(tf.matmul(kept, tf.constant(weights)) * keep, name="scores")
    folder.mkdir()
    (folder / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())


def numbers(*shape: int) -> Any:
    return np.asarray(GENERATOR.normal(size=shape)).astype(np.float32)


def an_example(x: list[float]) -> bytes:
    values = tf.train.Feature(float_list=tf.train.FloatList(value=x))
    return bytes(tf.train.Example(features=tf.train.Features(feature={"x": values})).SerializeToString())


QUESTIONS: dict[str, dict[str, Any]] = {
    "detector": {"image": numbers(1, 40, 24, 3)},
    "of-eight": {"x": numbers(8, 4)},
    "vector": {"x": numbers(8)},
    "wave": {"x": numbers(5)},
    "example": {"serialized": np.array(an_example([1.0, 2.0, 3.0, 4.0]))},
    "dropout": {"x": numbers(3, 4), "keep_prob": np.array(0.5, np.float32), "phase_train": np.array(False)},
    "table": {"x": numbers(3, 4), "table": numbers(7, 4)},
    "unranked": {"x": np.abs(numbers(3, 5, 6))},
    "ragged": {"args_0": np.array([3, 1, 4, 1, 5]), "args_0_1": np.array([0, 2, 5])},
    "rows": {"values": numbers(5), "row_splits": np.array([0, 1, 1, 5])},
    "sparse": {
        "args_0": np.array([[0, 3], [1, 0], [1, 19]]),
        "args_0_1": numbers(3),
        "args_0_2": np.array([2, 20]),
    },
    "version": {"x": numbers(3, 4)},
    "mean": {"x": numbers(3, 4)},
}
MADE = {
    "detector": detector,
    "of-eight": of_eight,
    "vector": vector,
    "wave": wave,
    "example": example,
    "dropout": dropout,
    "table": table,
    "unranked": unranked,
    "ragged": ragged,
    "rows": rows,
    "sparse": sparse,
    "version": version,
    "mean": mean,
    "wide": wide,
    "frozen": frozen,
}


def save_answers(folder: Path, name: str) -> None:
    inputs = QUESTIONS[name]
    function = tf.saved_model.load(str(folder / name)).signatures["serving_default"]
    answers = function(**{key: tf.constant(value) for key, value in inputs.items()})
    arrays = {f"input {key}": value for key, value in inputs.items()}
    arrays |= {f"output {key}": np.asarray(value.numpy()) for key, value in answers.items()}
    np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for model, make in MADE.items():
        make(place / model)
        if model in QUESTIONS:
            save_answers(place, model)
