# mypy: disable-error-code="misc, untyped-decorator, no-untyped-call"
"""Makes the SavedModels that the tests convert, in a process of its own: `python models.py FOLDER NAME...`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def save_keras(model: Any, folder: Path) -> None:
    """Save with biases that are not zero, so that leaving one out would show."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if weight.shape.rank == 1 and "variance" not in weight.name:
            weight.assign(generator.normal(0, 0.1, weight.shape))
    model.export(str(folder))


def cnn(folder: Path) -> None:
    """Convolution, batch normalisation, a dense layer."""
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((16, 16, 3), name="image"),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax", name="classes"),
        ]
    )
    save_keras(model, folder)


def resnet50(folder: Path) -> None:
    tf.keras.utils.set_random_seed(1)
    save_keras(tf.keras.applications.ResNet50(weights=None), folder)


def keras(folder: Path) -> None:
    """As `model.save` of Keras 2 writes it: two inputs, a recurrent layer with open length, two named outputs."""
    tf.keras.utils.set_random_seed(2)
    layers = tf.keras.layers
    tokens = layers.Input((None,), dtype="int64", name="tokens")
    extra = layers.Input((4,), name="extra")
    sequence = layers.LSTM(8)(layers.Embedding(50, 6, mask_zero=True)(tokens))
    both = layers.Concatenate()([sequence, layers.Dense(3, activation="relu")(extra)])
    outputs = [layers.Dense(5, activation="softmax", name="topic")(both), layers.Dense(1, name="price")(both)]
    tf.keras.Model([tokens, extra], outputs).save(str(folder), save_format="tf")


def every_type(folder: Path) -> None:
    """An input of each type that can be served, each of which comes back, with a number of them in between."""
    names = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32"]
    names += ["float64", "string"]
    specs = {f"in_{name}": tf.TensorSpec([None, 2], name, name=f"in_{name}") for name in names}

    def serve(**tensors: Any) -> dict[str, Any]:
        return {f"out_{name}": tf.reverse(tensors[f"in_{name}"], [1]) for name in names}

    module = tf.Module()
    module.serve = tf.function(serve).get_concrete_function(**specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def tensorflow1(folder: Path, name: str) -> None:
    """As TensorFlow 1's `simple_save` wrote it: variables of its kind, and an output whose name is no Python name."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        weights = tf.compat.v1.get_variable("weights", [4, 3], initializer=tf.compat.v1.ones_initializer())
        y = tf.nn.relu(tf.matmul(x, weights) + 0.5)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder), {name: x}, {"scores/all": y})


class Table(tf.Module):
    """Words to numbers by a lookup table, then through a variable."""

    def __init__(self) -> None:
        keys = tf.constant(["sample 1", "sample 2", "sample 3"])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.range(1, 4)), 0)
        self.scores = tf.Variable([0.5, 10.0, 20.0, 30.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def __call__(self, words: Any) -> dict[str, Any]:
        numbers = self.table.lookup(words)
        return {"score": tf.gather(self.scores, numbers), "upper": tf.strings.upper(words)}


class Written(tf.Module):
    """A table that could be filled at any time."""

    def __init__(self) -> None:
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
        self.table.insert(tf.constant(["sample 1", "sample 2"]), tf.constant([1, 2], tf.int64))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def __call__(self, words: Any) -> dict[str, Any]:
        return {"number": self.table.lookup(words)}


class Vocabulary(tf.Module):
    """Words to numbers by a file, unknown ones to buckets; then an embedding and a dense layer."""

    def __init__(self, file: Path) -> None:
        file.write_text("".join(f"sample {number}\n" for number in range(90)))
        lines = tf.lookup.TextFileInitializer(
            str(file), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self.table = tf.lookup.StaticVocabularyTable(lines, 5)
        generator = np.random.default_rng(4)
        self.embedding = tf.Variable(generator.normal(size=(95, 16)).astype(np.float32))
        self.dense = tf.Variable(generator.normal(size=(16, 4)).astype(np.float32))
        self.bias = tf.Variable([1.0, -1.0, 0.5, 0.25])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.string, name="words")])
    def __call__(self, words: Any) -> dict[str, Any]:
        vectors = tf.reduce_mean(tf.gather(self.embedding, self.table.lookup(words)), axis=1)
        return {"scores": tf.nn.softmax(tf.matmul(vectors, self.dense) + self.bias)}


class TwoAndTwo(tf.Module):
    """An input with an open dimension, one of FP16, one that nothing uses; two outputs."""

    def __init__(self) -> None:
        self.weight = tf.Variable(2.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, name="ids"),
            tf.TensorSpec([None, 3], tf.float16, name="extra"),
            tf.TensorSpec([None, 1], tf.bool, name="unused"),
        ]
    )
    def __call__(self, ids: Any, extra: Any, unused: Any) -> dict[str, Any]:
        total = tf.reduce_sum(tf.cast(ids, tf.float32) * self.weight, axis=1, keepdims=True)
        return {"total": total + tf.cast(extra, tf.float32), "even": tf.equal(ids % 2, 0)}


class Counter(tf.Module):
    """Counts its calls: a frozen graph would not."""

    def __init__(self) -> None:
        self.calls = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def __call__(self, x: Any) -> dict[str, Any]:
        return {"y": x + 1e-30 * self.calls.assign_add(1.0)}


class Slow(tf.Module):
    """Takes its time: as many milliseconds as its input says."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="milliseconds")])
    def __call__(self, milliseconds: Any) -> dict[str, Any]:
        return {"echo": after(milliseconds)}


def after(milliseconds: Any) -> Any:
    """The same once about so much time, the largest of them, has gone by in computing."""

    def work(rounds: Any, x: Any) -> Any:
        return rounds - 1.0, tf.linalg.matmul(x, x) / 100.0

    # 100 x 100 x 100 multiply-adds: about a tenth of a millisecond.
    rounds = tf.reduce_max(milliseconds) * 10.0
    _, x = tf.while_loop(lambda rounds, _: rounds > 0, work, (rounds, tf.ones((100, 100)) / 1.0))
    return milliseconds + 1e-30 * tf.reduce_sum(tf.clip_by_value(x, 0.0, 1.0))


class Several(tf.Module):
    """All that a request can be wrong about: text, numbers of any count, an image of one size; takes its time."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.string, name="words"),
            tf.TensorSpec([None, None], tf.int32, name="ids"),
            tf.TensorSpec([None, 4, 4, 3], tf.float32, name="image"),
            tf.TensorSpec([None, 1], tf.float32, name="milliseconds"),
        ]
    )
    def __call__(self, words: Any, ids: Any, image: Any, milliseconds: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(ids, 1000, message="ids are too large")]):
            total = tf.reduce_sum(tf.cast(ids, tf.float32), axis=1, keepdims=True)
        return {
            "upper": tf.strings.upper(words),
            "total": total,
            "brightness": tf.reduce_sum(image, axis=[1, 2]),
            "echo": tf.round(after(milliseconds)),
        }


class Picky(tf.Module):
    """Refuses what the tests ask it to refuse."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def __call__(self, x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(x, 100.0, message="x is too large")]):
            return {"y": x * 2.0}


class Reader(tf.Module):
    """Reads the file that is called as the number it is given: file 0 can be read, file 1 is a link to itself.

    TensorFlow tells of that, as of other errors of a file system that it has no word for, as of an unknown error.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "0").write_text("0.25")
        (folder / "1").symlink_to(folder / "1")
        self.folder = f"{folder}/"

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def __call__(self, x: Any) -> dict[str, Any]:
        name = tf.strings.as_string(tf.cast(tf.reduce_max(x), tf.int32))
        return {"y": x + tf.strings.to_number(tf.io.read_file(self.folder + name))}


class Hungry(tf.Module):
    """Needs more memory for a sample than a process can have: 256 TiB."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def __call__(self, x: Any) -> dict[str, Any]:
        shape = tf.stack([tf.shape(x, out_type=tf.int64)[0], tf.constant(1 << 46, tf.int64)])
        return {"y": x + tf.reduce_sum(tf.random.stateless_uniform(shape, [1, 2]), axis=1, keepdims=True)}


def frozen(folder: Path) -> None:
    """A graph of TensorFlow 1; a node with two outputs, and a variable that its outputs do not need."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="net/input")
        scale = tf.compat.v1.placeholder(tf.float32, [None, 1], name="scale")
        weights = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
        logits = tf.identity(tf.matmul(x, tf.constant(weights)) * scale + 0.5, name="net/logits")
        tf.split(logits, 2, axis=1, name="halves")
        tf.compat.v1.get_variable("forgotten", [2], use_resource=False)
    folder.mkdir()
    (folder / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())


def save(module: Any, folder: Path) -> None:
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__, "other": module.__call__})


def questions() -> dict[str, dict[str, Any]]:
    """What to ask each model that is served."""
    generator = np.random.default_rng(7)
    return {
        "cnn": {"image": generator.normal(size=(3, 16, 16, 3)).astype(np.float32)},
        "resnet50": {"image": generator.normal(size=(2, 224, 224, 3)).astype(np.float32)},
        "table": {"words": np.array([b"sample 2", b"unknown", b"sample 3"], dtype=np.object_)},
        "vocabulary": {"words": np.array([[b"sample 2", b"unknown", b"sample 3"], [b"", b"sample 89", b"x"]])},
        "keras": {
            "tokens": generator.integers(0, 50, (3, 7)),
            "extra": generator.normal(size=(3, 4)).astype(np.float32),
        },
        "tensorflow1": {"x": generator.normal(size=(2, 4)).astype(np.float32)},
        "every-type": {
            "in_bool": np.array([[True, False]]),
            **{
                f"in_{kind}": np.array([[100, 3]], kind)
                for kind in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
            },
            **{f"in_{kind}": np.array([[0.5, -2]], kind) for kind in ("float16", "float32", "float64")},
            "in_string": np.array([["ä".encode(), b"\x00\xff"]], dtype=np.object_),
        },
        "two": {
            "ids": generator.integers(0, 9, (2, 5)).astype(np.int32),
            "extra": generator.normal(size=(2, 3)).astype(np.float16),
            "unused": np.array([[True], [False]]),
        },
    }


def save_answers(folder: Path, name: str, inputs: dict[str, Any]) -> None:
    """Save what the unconverted model answers: an archive of `input NAME` and `output NAME`."""
    (function,) = list(tf.saved_model.load(str(folder / name)).signatures.values())[:1]
    names = function.structured_input_signature[1]
    inputs = dict(zip(names, inputs.values())) if len(inputs) == 1 else inputs
    answers = function(**{key: tf.constant(value) for key, value in inputs.items()})
    arrays = {f"input {key}": value for key, value in inputs.items()}
    arrays |= {f"output {key}": np.asarray(value.numpy()) for key, value in answers.items()}
    np.savez(folder / f"{name}.npz", **arrays)


def main(folder: Path, names: list[str]) -> None:
    """Make the named models, each in a folder of its name, and beside them what they answer."""
    made = {
        "cnn": cnn,
        "resnet50": resnet50,
        "keras": keras,
        "every-type": every_type,
        "tensorflow1": lambda path: tensorflow1(path, "x"),
        "unnamable": lambda path: tensorflow1(path, "image/flat"),
        "table": lambda path: save(Table(), path),
        "two": lambda path: save(TwoAndTwo(), path),
        "written": lambda path: save(Written(), path),
        "vocabulary": lambda path: save(Vocabulary(folder / "vocabulary.txt"), path),
        "counter": lambda path: save(Counter(), path),
        "slow": lambda path: save(Slow(), path),
        "several": lambda path: save(Several(), path),
        "picky": lambda path: save(Picky(), path),
        "reader": lambda path: save(Reader(folder / "reader.files"), path),
        "hungry": lambda path: save(Hungry(), path),
        "frozen": frozen,
    }
    for name in names:
        made[name](folder / name)
        if name in questions():
            save_answers(folder, name, questions()[name])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
