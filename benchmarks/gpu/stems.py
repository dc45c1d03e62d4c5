"""The ways for ResNet's and DenseNet's padding before max pooling, each in a small network: `stems.py FOLDER`.

FOLDER gets a SavedModel for each, in which nothing but the network's beginning takes time. All compute the same, and
what TF-TRT and TensorRT make of them tells which of them a conversion should write. Runs on the CPU.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

SEED = 20180327
SIZE, POOLED = 224, 56


class Stem(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """A convolution of 7 x 7 with a stride of 2, `Relu`, pooling of 3 x 3 with a stride of 2, and what reads that."""

    def __init__(self, way: Callable[["Stem", Any], list[Any]]) -> None:
        random = np.random.default_rng(SEED)
        self.way = way
        self.first = tf.Variable(random.normal(0, 0.1, (7, 7, 3, 64)).astype(np.float32))
        self.bias = tf.Variable(random.normal(0, 0.5, 64).astype(np.float32))
        kernels = [random.normal(0, 0.1, (1, 1, 64, channels)).astype(np.float32) for channels in (64, 256)]
        self.readers = [tf.Variable(kernel) for kernel in kernels]
        self.wide = [tf.Variable(np.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])) for kernel in kernels]

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def __call__(self, image: Any) -> dict[str, Any]:
        """The mean of each channel that the readers make."""
        return {"means": tf.concat([tf.reduce_mean(read, [1, 2]) for read in self.way(self, image)], axis=1)}

    def begin(self, image: Any, before: int, after: int) -> Any:
        """The convolution with so much padding."""
        padded = tf.pad(image, [(0, 0), (before, after), (before, after), (0, 0)])
        return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(padded, self.first, 2, "VALID"), self.bias))

    def read(self, x: Any) -> list[Any]:
        """The two convolutions of 1 x 1 behind the pooling."""
        return [tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID")) for kernel in self.readers]

    def pad(self, image: Any) -> list[Any]:
        """As the networks have it."""
        x = tf.pad(self.begin(image, 3, 3), [(0, 0), (1, 1), (1, 1), (0, 0)])
        return self.read(tf.nn.max_pool2d(x, 3, 2, "VALID"))

    def longer(self, image: Any) -> Any:
        """One row and column more, so that `SAME` pads both sides: 57 x 57, of which 56 x 56 count."""
        return tf.nn.max_pool2d(self.begin(image, 3, 4), 3, 2, "SAME")

    def depthwise(self, image: Any) -> list[Any]:
        """The last row and column left out by a convolution of each channel, whose first element alone is 1."""
        kernel = np.zeros((2, 2, 64, 1), np.float32)
        kernel[0, 0] = 1
        return self.read(tf.nn.depthwise_conv2d(self.longer(image), kernel, [1, 1, 1, 1], "VALID"))

    def inside(self, image: Any) -> list[Any]:
        """The last row and column left out by the readers, in which the first of 2 x 2 elements alone counts."""
        x = self.longer(image)
        return [tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "VALID")) for kernel in self.wide]

    def nearest(self, image: Any) -> list[Any]:
        """The last row and column left out by taking the nearest of 57 for each of 56."""
        return self.read(tf.raw_ops.ResizeNearestNeighbor(images=self.longer(image), size=[POOLED, POOLED]))

    def mask(self, image: Any) -> list[Any]:
        """One row and column more on both sides, made zero."""
        x = self.begin(image, 5, 4)
        inner = np.zeros((1, x.shape[1], x.shape[2], 1), np.float32)
        inner[:, 1:-1, 1:-1] = 1
        return self.read(tf.nn.max_pool2d(x * inner, 3, 2, "VALID"))


WAYS = {
    "pad": Stem.pad,
    "depthwise": Stem.depthwise,
    "inside": Stem.inside,
    "nearest": Stem.nearest,
    "mask": Stem.mask,
}


def write(folder: Path) -> None:
    """Write them all.

    Raises:
        ValueError: one of them answers otherwise than the first.
    """
    image = tf.constant(np.random.default_rng(SEED).uniform(0, 1, (1, SIZE, SIZE, 3)).astype(np.float32))
    expected = None
    for name, way in WAYS.items():
        stem = Stem(way)
        found = stem(image)["means"].numpy()
        expected = found if expected is None else expected
        if not np.allclose(found, expected, rtol=1e-4, atol=1e-5):
            raise ValueError(f"{name} is another function: {np.abs(found - expected).max()} off")
        tf.saved_model.save(stem, str(folder / name), signatures={"serving_default": stem.__call__})


if __name__ == "__main__":
    write(Path(sys.argv[1]))
