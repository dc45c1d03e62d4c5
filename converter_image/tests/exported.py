# mypy: disable-error-code="misc, untyped-decorator, no-untyped-call"
"""Makes SavedModels as people export them, with more round the network than arithmetic: `python exported.py FOLDER`.

Beside each is what it answered: an archive of `input NAME` and `output NAME`. The tests on a GPU have them, too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

SIZE = 32


class Network(tf.Module):
    """Two convolutions, an average, classes; biases that are not zero."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.first = tf.Variable(random.normal(0, 0.3, (3, 3, 3, 16)).astype(np.float32))
        self.second = tf.Variable(random.normal(0, 0.1, (3, 3, 16, 32)).astype(np.float32))
        self.biases = [tf.Variable(random.normal(0, 0.5, size).astype(np.float32)) for size in (16, 32, 10)]
        self.classes = tf.Variable(random.normal(0, 1, (32, 10)).astype(np.float32))

    def scores(self, image: Any) -> Any:
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(image, self.first, 1, "SAME"), self.biases[0]))
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, self.second, 2, "SAME"), self.biases[1]))
        return tf.nn.softmax(tf.matmul(tf.reduce_mean(x, [1, 2]), self.classes) + self.biases[2])


def decoded(picture: Any) -> Any:
    """A picture's file as the network's input."""
    pixels = tf.image.convert_image_dtype(tf.io.decode_jpeg(picture, channels=3), tf.float32)
    return tf.ensure_shape(tf.image.resize(pixels, (SIZE, SIZE)), (SIZE, SIZE, 3))


class Pictures(Network):
    """Takes files, as AutoML's and TensorFlow Hub's exporters have it."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def __call__(self, image_bytes: Any) -> dict[str, Any]:
        return {"scores": self.scores(tf.map_fn(decoded, image_bytes, fn_output_signature=tf.float32))}


class Examples(Network):
    """Takes a `tf.train.Example` with a picture's file, numbers and words, as TFX has it."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def __call__(self, examples: Any) -> dict[str, Any]:
        features = {
            "image/encoded": tf.io.FixedLenFeature([], tf.string),
            "size": tf.io.FixedLenFeature([2], tf.float32),
            "count": tf.io.FixedLenFeature([], tf.int64, 0),
            "tags": tf.io.VarLenFeature(tf.string),
        }
        parsed = tf.io.parse_example(examples, features)
        scores = self.scores(tf.map_fn(decoded, parsed["image/encoded"], fn_output_signature=tf.float32))
        tags = tf.sparse.to_dense(parsed["tags"], "")
        return {
            "scores": scores * tf.reduce_sum(parsed["size"], 1, keepdims=True),
            "tagged": tf.reduce_sum(tf.strings.length(tags), 1, keepdims=True)
            + tf.cast(parsed["count"], tf.int32)[:, None],
        }


class Jitted(Network):
    """Has its network in a function that XLA compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.compiled = tf.function(self.scores, jit_compile=True)

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"scores": self.compiled(image * 2.0)}


class JittedWhole(Network):
    """Is compiled by XLA as a whole."""

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"scores": self.scores(image * 2.0)}


class JittedTwice(Jitted):
    """Has a function that XLA compiles within another one."""

    def __init__(self) -> None:
        super().__init__()
        inner = self.compiled
        self.compiled = tf.function(lambda image: inner(image + 1.0), jit_compile=True)


class JittedLoop(Jitted):
    """Calls its network, which XLA compiles, in a loop."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        def added(index: Any, scores: Any) -> Any:
            return index + 1, scores + self.compiled(image * tf.cast(index, tf.float32))

        none = tf.zeros([tf.shape(image)[0], 10])
        _, scores = tf.while_loop(
            lambda index, _: index < 3, added, (tf.constant(0), tf.ensure_shape(none, [None, 10]))
        )
        return {"scores": scores / 3.0}


class Flowing(Network):
    """A condition and a loop of today's kind, with a network in each and behind them."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        x = tf.cond(tf.reduce_mean(image) > 100.0, lambda: image / 255.0, lambda: tf.nn.relu(image) + 0.5)

        def sharpened(index: Any, x: Any) -> Any:
            return index + 1, tf.tanh(tf.nn.conv2d(x, self.first, 1, "SAME")[..., :3])

        _, x = tf.while_loop(lambda index, _: index < 3, sharpened, (tf.constant(0), x))
        return {"scores": self.scores(x)}


class Quantized(Network):
    """As training with quantization leaves it: weights and activations in 8 bits, of ranges that are variables."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = [tf.Variable(value) for value in (-3.0, 3.0, 0.0, 6.0, -1.0, 1.0)]

    def scores(self, image: Any) -> Any:
        low, high, zero, most, least, top = self.ranges
        quantize, each = tf.quantization.fake_quant_with_min_max_vars, np.full(32, 0.4, np.float32)
        x = quantize(image, low, high)
        first = quantize(self.first, least, top, narrow_range=True)
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, first, 1, "SAME"), self.biases[0]))
        x = quantize(x, zero, most)
        second = tf.quantization.fake_quant_with_min_max_vars_per_channel(self.second, -each, each, narrow_range=True)
        x = quantize(tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, second, 2, "SAME"), self.biases[1])), zero, most)
        pooled = tf.quantization.fake_quant_with_min_max_args(tf.reduce_mean(x, [1, 2]), 0.0, 4.0)
        return tf.nn.softmax(tf.matmul(pooled, self.classes) + self.biases[2])

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"scores": self.scores(image)}


class Random(Network):
    """Was exported with a random layer left on."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"scores": self.scores(tf.nn.dropout(image, 0.5))}


class Python(Network):
    """Calls Python in one signature, and has another one without."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        (same,) = tf.numpy_function(lambda pixels: [pixels], [image], [tf.float32])
        return {"scores": self.scores(tf.ensure_shape(same, (None, SIZE, SIZE, 3)))}

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def without(self, image: Any) -> dict[str, Any]:
        return {"scores": self.scores(image)}


class EagerPython(Network):
    """Calls Python in the other way that there is."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        same = tf.py_function(lambda pixels: pixels * 1.0, [image], tf.float32)
        return {"scores": self.scores(tf.ensure_shape(same, (None, SIZE, SIZE, 3)))}


class OfAnotherDevice(tf.Module):
    """Has an operation that a processor has no kernel for."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x: Any) -> dict[str, Any]:
        state = tf.zeros([1, tf.shape(x)[0], 3])
        answer = tf.raw_ops.CudnnRNN(input=x[None], input_h=state, input_c=state, params=tf.ones([99]))
        return {"y": tf.ensure_shape(answer.output[0], [None, 3])}


class Demanding(tf.Module):
    """Takes nothing that anyone would make up."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def __call__(self, x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_greater(x, 1000.0, message="x is too small")]):
            return {"y": x * 2.0}


def augmented(folder: Path) -> None:
    """A network of Keras whose augmentation was left on."""
    tf.keras.utils.set_random_seed(4)
    layers = tf.keras.layers
    image = layers.Input((SIZE, SIZE, 3), name="image")
    x = layers.RandomZoom(0.3)(layers.RandomFlip()(image, training=True), training=True)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    tf.keras.Model(image, layers.Dense(10, activation="softmax", name="scores")(x)).save(str(folder), save_format="tf")


def half(folder: Path) -> None:
    """A network of Keras' policy `mixed_float16`."""
    tf.keras.utils.set_random_seed(3)
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3), name="image"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
            layers.Activation("softmax", dtype="float32", name="scores"),
        ]
    )
    tf.keras.mixed_precision.set_global_policy("float32")
    model.save(str(folder), save_format="tf")


def pictures(count: int) -> list[bytes]:
    """Files of pictures of several sizes."""
    random = np.random.default_rng(21)
    made = []
    for number in range(count):
        pixels = random.integers(0, 256, (40 + 8 * number, 48, 3)).astype(np.uint8)
        made.append(bytes(tf.io.encode_jpeg(pixels).numpy()))
    return made


def examples(count: int) -> list[bytes]:
    """Examples with all that `Examples` takes."""
    made = []
    for number, picture in enumerate(pictures(count)):
        features = {
            "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
            "size": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, number])),
            "count": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
            "tags": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"tag"] * number)),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        made.append(bytes(example.SerializeToString()))
    return made


def main(folder: Path) -> None:
    """Save each, and what it answers."""
    made = {
        "pictures": Pictures,
        "examples": Examples,
        "jitted": Jitted,
        "jitted-whole": JittedWhole,
        "jitted-twice": JittedTwice,
        "jitted-loop": JittedLoop,
        "flowing": Flowing,
        "quantized": Quantized,
        "random": Random,
        "python": Python,
        "eager-python": EagerPython,
        "of-another-device": OfAnotherDevice,
        "demanding": Demanding,
    }
    for name, kind in made.items():
        module = kind()
        signatures = {"serving_default": module.__call__}
        if name == "python":
            signatures["without"] = module.without
        tf.saved_model.save(module, str(folder / name), signatures=signatures)
    half(folder / "half")
    augmented(folder / "augmented")
    image = np.random.default_rng(22).normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)
    of_pixels = ("jitted", "jitted-whole", "jitted-twice", "jitted-loop", "flowing", "quantized", "half")
    asked: dict[str, dict[str, Any]] = {name: {"image": image} for name in of_pixels}
    asked["pictures"] = {"image_bytes": np.array(pictures(3), dtype=object)}
    asked["examples"] = {"examples": np.array(examples(3), dtype=object)}
    for name, inputs in asked.items():
        function = tf.saved_model.load(str(folder / name)).signatures["serving_default"]
        answers = function(**{key: tf.constant(value) for key, value in inputs.items()})
        arrays = {f"input {key}": value for key, value in inputs.items()}
        np.savez(folder / f"{name}.npz", **arrays, **{f"output {key}": value.numpy() for key, value in answers.items()})
    # The user's own, as a file of calibration or verification data has them.
    (folder / "data").mkdir()
    np.savez(folder / "data/pictures.npz", image_bytes=np.array(pictures(6)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
