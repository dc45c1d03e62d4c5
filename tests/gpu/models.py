"""Makes the SavedModels of these tests, in a process of its own: `python models.py FOLDER`."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


class Network(tf.Module):
    """Two convolutions, an average, classes; biases that are not zero."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.first = tf.Variable(random.normal(0, 0.3, (3, 3, 3, 16)).astype(np.float32))
        self.second = tf.Variable(random.normal(0, 0.1, (3, 3, 16, 32)).astype(np.float32))
        self.biases = [tf.Variable(random.normal(0, 0.5, size).astype(np.float32)) for size in (16, 32, 10)]
        self.classes = tf.Variable(random.normal(0, 1, (32, 10)).astype(np.float32))

    def features(self, image: Any) -> Any:
        """The part that TensorRT takes as a whole."""
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(image, self.first, 1, "SAME"), self.biases[0]))
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, self.second, 2, "SAME"), self.biases[1]))
        return tf.matmul(tf.reduce_mean(x, [1, 2]), self.classes) + self.biases[2]


class CNN(Network):
    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"classes": tf.nn.softmax(self.features(image))}


class OfOne(Network):
    """A batch of one picture and no other, as exporters of object detection write it."""

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        return {"classes": tf.nn.softmax(self.features(image))}


class Kept(Network):
    """A scalar beside the batch: what training keeps of the features."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image"),
            tf.TensorSpec([], tf.float32, name="keep_prob"),
        ]
    )
    def __call__(self, image: Any, keep_prob: Any) -> dict[str, Any]:
        return {"classes": tf.nn.softmax(self.features(image) * keep_prob)}


class Refusing(Network):
    """Refuses bright images, by an operation that TensorFlow computes on the host."""

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_max(image), 100.0, message="too bright")]):
            return {"classes": tf.nn.softmax(self.features(tf.identity(image)))}


class Wide(tf.Module):
    """Layers so large that TensorRT takes FP16 for its speed, whose kernels are of these scales.

    TensorRT is free to compute a layer of an FP16 engine in FP32, and does where that is as fast.
    """

    def __init__(self, scales: tuple[float, ...]) -> None:
        random = np.random.default_rng(0)
        sizes = ((3, 3, 3, 128), (3, 3, 128, 128), (3, 3, 128, 128), (3, 3, 128, 128))
        self.kernels = [
            tf.Variable(random.normal(0, scale, size).astype(np.float32))
            for size, scale in zip(sizes, scales, strict=True)
        ]

    @tf.function(input_signature=[tf.TensorSpec([None, 64, 64, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        x = image
        for kernel in self.kernels:
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        return {"scores": tf.reduce_mean(x, [1, 2])}


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


class Vocabulary(tf.Module):
    """Words to numbers by a file that TensorFlow reads, then an embedding and a dense layer for TensorRT."""

    def __init__(self, file: Path) -> None:
        file.write_text("".join(f"sample {number}\n" for number in range(90)))
        lines = tf.lookup.TextFileInitializer(
            str(file), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self.table = tf.lookup.StaticVocabularyTable(lines, 5)
        random = np.random.default_rng(4)
        self.embedding = tf.Variable(random.normal(size=(95, 16)).astype(np.float32))
        self.hidden = tf.Variable(random.normal(size=(16, 32)).astype(np.float32))
        self.classes = tf.Variable(random.normal(size=(32, 4)).astype(np.float32))
        self.bias = tf.Variable([1.0, -1.0, 0.5, 0.25])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.string, name="words")])
    def __call__(self, words: Any) -> dict[str, Any]:
        vectors = tf.reduce_mean(tf.gather(self.embedding, self.table.lookup(words)), axis=1)
        hidden = tf.nn.relu(tf.matmul(vectors, self.hidden))
        return {"scores": tf.nn.softmax(tf.matmul(hidden, self.classes) + self.bias)}


class Sequence(tf.Module):
    """Vectors in a row of any length."""

    def __init__(self) -> None:
        random = np.random.default_rng(6)
        self.first = tf.Variable(random.normal(0, 0.5, (8, 32)).astype(np.float32))
        self.second = tf.Variable(random.normal(0, 0.5, (32, 4)).astype(np.float32))
        self.bias = tf.Variable(random.normal(0, 0.5, 4).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, None, 8], tf.float32, name="steps")])
    def __call__(self, steps: Any) -> dict[str, Any]:
        x = tf.nn.relu(tf.matmul(steps, self.first))
        return {"scores": tf.nn.softmax(tf.reduce_mean(tf.matmul(x, self.second), axis=1) + self.bias)}


class Excited(tf.Module):
    """Squeeze and excitation: a `Reshape` to the batch that the input has, as Keras' layer computes it."""

    def __init__(self) -> None:
        random = np.random.default_rng(13)
        sizes = ((3, 3, 3, 16), (1, 1, 16, 4), (1, 1, 4, 16))
        self.kernels = [tf.Variable(random.normal(0, 0.3, size).astype(np.float32)) for size in sizes]

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        first, narrow, wide = self.kernels
        x = tf.nn.relu(tf.nn.conv2d(image, first, 1, "SAME"))
        squeezed = tf.reshape(tf.reduce_mean(x, [1, 2]), tf.stack([tf.shape(x)[0], 1, 1, 16]))
        weights = tf.nn.sigmoid(tf.nn.conv2d(tf.nn.silu(tf.nn.conv2d(squeezed, narrow, 1, "VALID")), wide, 1, "VALID"))
        return {"scores": tf.nn.softmax(tf.reduce_mean(x * weights, [1, 2]))}


class Normalized(tf.Module):
    """Vectors in a row of any length, with Keras' layer normalization between dense layers."""

    def __init__(self) -> None:
        random = np.random.default_rng(12)
        self.layers = [tf.keras.layers.LayerNormalization() for _ in range(2)]
        self.weights = [tf.Variable(random.normal(0, 0.5, size).astype(np.float32)) for size in ((8, 32), (32, 4))]

    @tf.function(input_signature=[tf.TensorSpec([None, None, 8], tf.float32, name="steps")])
    def __call__(self, steps: Any) -> dict[str, Any]:
        x = steps
        for layer, weights in zip(self.layers, self.weights, strict=True):
            x = tf.nn.relu(tf.matmul(layer(x), weights))
        return {"scores": tf.nn.softmax(tf.reduce_mean(x, axis=1))}


class SpelledOut(tf.Module):
    """The same, with the layer normalization of BERT: elementary operations, and an epsilon that is nearly nothing."""

    def __init__(self) -> None:
        random = np.random.default_rng(12)
        self.weights = [tf.Variable(random.normal(0, 0.5, size).astype(np.float32)) for size in ((8, 32), (32, 4))]

    @tf.function(input_signature=[tf.TensorSpec([None, None, 8], tf.float32, name="steps")])
    def __call__(self, steps: Any) -> dict[str, Any]:
        x = steps
        for weights in self.weights:
            mean, variance = tf.nn.moments(x, [-1], keepdims=True)
            x = tf.nn.relu(tf.matmul(tf.nn.batch_normalization(x, mean, variance, 0.1, 1.5, 1e-12), weights))
        return {"scores": tf.nn.softmax(tf.reduce_mean(x, axis=1))}


class Repeated(tf.Module):
    """Three times the same block in a loop: attention whose products are rewritten, and dense layers round it."""

    def __init__(self) -> None:
        random = np.random.default_rng(14)
        self.first, self.inner, self.last = (
            tf.Variable(random.normal(0, 0.4, size).astype(np.float32)) for size in ((8, 16), (16, 16), (16, 4))
        )

    @tf.function(input_signature=[tf.TensorSpec([None, 10, 8], tf.float32, name="steps")])
    def __call__(self, steps: Any) -> dict[str, Any]:
        def block(count: Any, x: Any) -> Any:
            heads = tf.reshape(tf.matmul(x, self.inner), tf.stack([tf.shape(x)[0], 10, 2, 8]))
            weights = tf.nn.softmax(tf.einsum("aecd,abcd->acbe", heads, heads))
            values = tf.einsum("acbe,aecd->abcd", weights, heads)
            return count + 1, tf.ensure_shape(tf.nn.relu(tf.reshape(values, tf.shape(x))), [None, 10, 16])

        x = tf.nn.relu(tf.nn.relu(tf.matmul(steps, self.first)) + 0.5)
        _, x = tf.while_loop(lambda count, _: count < 3, block, (0, x))
        return {"scores": tf.nn.softmax(tf.nn.relu(tf.matmul(tf.reduce_mean(x, axis=1), self.last)) + 0.1)}


class Boxes(Network):
    """A detector: boxes in pixels for 8,192 places of a picture, and the best of each of 3 classes that overlap little.

    What a place scores hangs on where it is, so that no two good ones are nearly equal.
    """

    places, side = 8192, 512.0

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(16)
        corners = random.uniform(0, self.side - 40, (self.places, 2))
        self.boxes = tf.constant(np.hstack([corners, corners + random.uniform(8, 40, corners.shape)]), tf.float32)
        self.shifts = tf.Variable(random.normal(0, 0.5, (10, 4)).astype(np.float32))
        # One place of 400 is good, and each of those is so much better than the next that FP16 sees it.
        scores = np.full(self.places * 3, -6.0)
        scores[:60] = np.linspace(0.3, 4.0, 60)
        self.scores = tf.constant(random.permutation(scores).reshape(self.places, 3), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        features = self.features(image)
        shift = tf.matmul(features, self.shifts)[:, None, :]
        boxes = (self.boxes + shift)[:, :, None, :]
        scores = tf.sigmoid(self.scores + 0.001 * features[:, None, :3])
        found = tf.image.combined_non_max_suppression(boxes, scores, 10, 20, 0.5, 0.5, clip_boxes=False)
        return {"boxes": found[0], "scores": found[1], "classes": found[2], "count": found[3][:, None]}


class ClassMap(Network):
    """A class for each place of a picture, as a number: whole numbers that are no rounded quantities."""

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(image, self.first, 1, "SAME"), self.biases[0]))
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, self.second, 1, "SAME"), self.biases[1]))
        scores = tf.nn.conv2d(x, self.classes[None, None], 1, "VALID") + self.biases[2]
        return {"map": tf.argmax(scores, -1)}


class Convolved(tf.Module):
    """Convolutions that are grouped, dilated and transposed, as Keras has them, and the numbers of classes.

    With as many channels as a dense kernel may not have, the grouped one is `large`.
    """

    def __init__(self, large: bool = False) -> None:
        tf.keras.utils.set_random_seed(15)
        layers = tf.keras.layers
        width = 768 if large else 32
        self.layers = [
            layers.Conv2D(width, 3, 2, "same", activation="relu", bias_initializer="random_normal"),
            layers.Conv2D(width, 3, padding="same", groups=4, activation="relu", bias_initializer="random_normal"),
            layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, activation="relu"),
            layers.Conv2D(16, 3, padding="same", dilation_rate=3, activation="relu"),
            layers.Conv2DTranspose(8, 3, 2, "same", output_padding=0, activation="relu"),
            layers.Conv2D(5, 1),
        ]
        self(tf.zeros([1, 33, 33, 3]))

    @tf.function(input_signature=[tf.TensorSpec([None, 33, 33, 3], tf.float32, name="image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        x = image
        for layer in self.layers:
            x = layer(x)
        scores = 100.0 * tf.reduce_mean(x, [1, 2])  # apart enough for FP16
        return {"scores": tf.nn.softmax(scores), "class": tf.argmax(scores, 1)[:, None]}


class Attended(tf.Module):
    """Keras' attention over a row of any length, and its vectors taken to heads by an equation."""

    def __init__(self) -> None:
        random = np.random.default_rng(13)
        self.attention = tf.keras.layers.MultiHeadAttention(2, 16)
        self.attention(tf.zeros([1, 1, 8]), tf.zeros([1, 1, 8]))
        # So large that every step attends to few others.
        self.attention.set_weights([random.normal(0, 0.4, weight.shape) for weight in self.attention.weights])
        self.heads = tf.Variable(random.normal(0, 0.4, (8, 2, 4)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, None, 8], tf.float32, name="steps")])
    def __call__(self, steps: Any) -> dict[str, Any]:
        attended = self.attention(steps, steps)
        return {"attended": attended, "heads": tf.einsum("abc,cde->adbe", attended, self.heads)}


def frozen(folder: Path) -> None:
    """A graph of TensorFlow 1 with one input and one output."""
    random = np.random.default_rng(8)
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None, 16], name="net/input")
        for number in range(3):
            weights = tf.constant(random.normal(0, 0.4, (16, 16)).astype(np.float32))
            x = tf.nn.relu(tf.nn.bias_add(tf.matmul(x, weights), [0.1 * number] * 16))
        tf.identity(x, name="net/features")
    folder.mkdir()
    (folder / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())


def calibration(folder: Path) -> None:
    """Images for `cnn`, and files of them that do not fit."""
    for name, size in {"fit": 32, "unfit": 16}.items():
        (folder / name).mkdir(parents=True)
        images = np.random.default_rng(9).random((70, size, size, 3)).astype(np.float32)
        np.savez(folder / name / "images.npz", image=images, label=np.zeros(70))
    (folder / "bytes").mkdir()
    pixels = np.random.default_rng(9).integers(0, 256, (70, 32, 32, 3)).astype(np.uint8)
    np.savez(folder / "bytes/images.npz", image=pixels)
    (folder / "one").mkdir()
    np.savez(folder / "one/images.npz", image=np.random.default_rng(9).random((70, 1, 32, 32, 3)).astype(np.float32))
    (folder / "steps").mkdir()
    steps = np.random.default_rng(10).normal(size=(70, 10, 8)).astype(np.float32)
    np.save(folder / "steps/steps.npy", steps)


def save_answers(folder: Path, name: str, **inputs: Any) -> None:
    """Save what a model was asked and what it answers: an archive of `input NAME` and `output NAME`."""
    function = tf.saved_model.load(str(folder / name)).signatures["serving_default"]
    answers = function(**{key: tf.constant(value) for key, value in inputs.items()})
    arrays = {f"input {key}": value for key, value in inputs.items()}
    arrays |= {f"output {key}": value.numpy() for key, value in answers.items()}
    np.savez(folder / f"{name}-answers.npz", **arrays)


def main(folder: Path) -> None:
    """Save each, and what some of them answer."""
    frozen(folder / "frozen")
    calibration(folder / "calibration")
    made = {
        "cnn": CNN,
        "of-one": OfOne,
        "kept": Kept,
        "refusing": Refusing,
        "wide": lambda: Wide((0.27, 0.04, 0.04, 0.04)),
        # Behind its layers the mean value is 110, 27,500, 6.5e6 and 1.8e7. FP16 ends at 65,504.
        "large": lambda: Wide((100, 10, 10, 0.1)),
        # 0.02, 5.7, 1,400 and 660 of input up to 1, and 350,000 behind the third of input up to 255.
        "faint": lambda: Wide((0.02, 10, 10, 0.02)),
        "mixed": Mixed,
        "text": Text,
        "sequence": Sequence,
        "normalized": Normalized,
        "spelled-out": SpelledOut,
        "repeated": Repeated,
        "attended": Attended,
        "excited": Excited,
        "boxes": Boxes,
        "class-map": ClassMap,
        "convolved": Convolved,
        "large-groups": lambda: Convolved(large=True),
        "vocabulary": lambda: Vocabulary(folder / "vocabulary.txt"),
    }
    for name, kind in made.items():
        module = kind()
        tf.saved_model.save(module, str(folder / name), signatures={"serving_default": module.__call__})
    image = np.random.default_rng(5).random((3, 32, 32, 3)).astype(np.float32)
    answer = tf.saved_model.load(str(folder / "cnn")).signatures["serving_default"](image=tf.constant(image))
    np.savez(folder / "cnn.npz", image=image, classes=answer["classes"].numpy())
    pixels = np.random.default_rng(6).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    save_answers(folder, "cnn", image=pixels * np.float32(0.00392156862745098))
    save_answers(folder, "of-one", image=image[:1])
    save_answers(folder, "kept", image=image, keep_prob=np.float32(0.5))
    save_answers(folder, "vocabulary", words=np.array([[b"sample 2", b"unknown", b"sample 3"], [b"", b"x", b"y"]]))
    steps = np.random.default_rng(11).normal(size=(3, 10, 8)).astype(np.float32)
    save_answers(folder, "sequence", steps=steps)
    save_answers(folder, "attended", steps=steps)
    save_answers(folder, "repeated", steps=steps)
    picture = np.random.default_rng(5).random((3, 33, 33, 3)).astype(np.float32)
    save_answers(folder, "boxes", image=image)
    save_answers(folder, "class-map", image=image)
    save_answers(folder, "convolved", image=picture)
    save_answers(folder, "large-groups", image=picture)
    # FP16 ends at 65,504, and the squares of the second are larger.
    large = steps * np.float32([1, 500, 0])[:, None, None]
    save_answers(folder, "normalized", steps=large)
    save_answers(folder, "spelled-out", steps=large)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
