"""Makes the SavedModels of these tests, in a process of its own: `python models.py FOLDER`."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


class Network(tf.Module):
    """Two convolutions, an average, classes; biases that are not zero."""

    def __init__(self, scale: float = 1.0) -> None:
        random = np.random.default_rng(0)
        self.first = tf.Variable(random.normal(0, 0.3, (3, 3, 3, 16)).astype(np.float32))
        self.second = tf.Variable(random.normal(0, 0.1, (3, 3, 16, 32)).astype(np.float32))
        self.biases = [tf.Variable(random.normal(0, 0.5, size).astype(np.float32)) for size in (16, 32, 10)]
        self.classes = tf.Variable((scale * random.normal(0, 1, (32, 10))).astype(np.float32))

    def features(self, image: Any) -> Any:
        """The part that TensorRT takes as a whole."""
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(image, self.first, 1, "SAME"), self.biases[0]))
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, self.second, 2, "SAME"), self.biases[1]))
        return tf.matmul(tf.reduce_mean(x, [1, 2]), self.classes) + self.biases[2]


class CNN(Network):
    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"classes": tf.nn.softmax(self.features(image))}


class Large(Network):
    """Answers that FP16 cannot hold."""

    def __init__(self) -> None:
        super().__init__(scale=1e6)

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"scores": self.features(image)}


class Mixed(Network):
    """A-B-C of which TensorRT takes B alone: strings before, a bucket of numbers after."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image"),
            tf.TensorSpec([None, 1], tf.string, name="label"),
        ]
    )
    def __call__(self, image: Any, label: Any) -> dict[str, Any]:
        before = tf.roll(image, 1, axis=1)
        classes = self.features(before)
        return {
            "upper": tf.strings.upper(label),
            "bucket": tf.raw_ops.Bucketize(input=classes, boundaries=[-1.0, 0.0, 1.0]),
        }


class Text(tf.Module):
    """Nothing for TensorRT."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.string, name="words")])
    def __call__(self, words: Any) -> dict[str, Any]:
        return {"upper": tf.strings.upper(words)}


def main(folder: Path) -> None:
    """Save each, and what `cnn` answers."""
    for name, kind in {"cnn": CNN, "large": Large, "mixed": Mixed, "text": Text}.items():
        module = kind()
        tf.saved_model.save(module, str(folder / name), signatures={"serving_default": module.__call__})
    image = np.random.default_rng(5).random((3, 32, 32, 3)).astype(np.float32)
    answer = tf.saved_model.load(str(folder / "cnn")).signatures["serving_default"](image=tf.constant(image))
    np.savez(folder / "cnn.npz", image=image, classes=answer["classes"].numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
