"""The networks that are measured, written as SavedModels: `python -m benchmarks.gpu.models NAME FOLDER`.

FOLDER/NAME is the SavedModel, FOLDER/NAME-calibration.npz data for INT8, FOLDER/NAME-answer.npz an `input` with the
model's `output`, and FOLDER/NAME.json what a TRTModel says in `conversion` beyond precision, workspace and batch sizes.
The Transformer has FOLDER/transformer-verification.npz, too: made-up tokens are two of its whole vocabulary.
`digits` alone is trained, and has FOLDER/digits-held-out.npz with `labels`. Runs on the CPU.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20180327
CALIBRATION_SAMPLES = 128
VERIFICATION_SAMPLES = 128
DIGITS_EPOCHS = 30
# Of the Transformer encoder: a small BERT.
LAYERS, WIDTH, HEADS, VOCABULARY, CLASSES = 6, 512, 8, 30_000, 1000
LENGTHS = {"min": [16], "opt": [128], "max": [384]}
# Of an image that is enlarged, and by how much: 9 kB travel for what costs three times as much as one of 224 x 224.
THUMBNAIL, ENLARGED = 96, 4


def picture_network(name: str, policy: str = "float32") -> Any:
    """One of Keras' own networks with seeded weights; `policy` is Keras' for the types of what it computes."""
    import tensorflow as tf

    tf.keras.mixed_precision.set_global_policy(policy)
    tf.keras.utils.set_random_seed(SEED)
    makers = {
        "resnet50": tf.keras.applications.ResNet50,
        "mobilenetv2": tf.keras.applications.MobileNetV2,
        "efficientnetb0": tf.keras.applications.EfficientNetB0,
        "densenet121": tf.keras.applications.DenseNet121,
    }
    model = makers[name](weights=None)
    random = np.random.default_rng(SEED)
    # Keras starts biases and batch normalisation at 0 and 1, which an optimiser folds away. No trained model has them.
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign_add(np.abs(random.normal(0, 0.05, weight.shape)).astype(np.float32))
    return model


def enlarged() -> Any:
    """ResNet-50 of images [batch, 96, 96, 3] of bytes, which it enlarges itself: few bytes, and much to compute."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    image = tf.keras.Input((THUMBNAIL, THUMBNAIL, 3), dtype=tf.uint8, name="image")
    x = tf.keras.layers.UpSampling2D(ENLARGED)(tf.cast(image, tf.float32) / 255)
    size = THUMBNAIL * ENLARGED
    return tf.keras.Model(image, tf.keras.applications.ResNet50(weights=None, input_shape=(size, size, 3))(x))


def of_bytes(network: Any) -> Any:
    """The same network of images of bytes, which it makes numbers from 0 to 1 of: a quarter of the bytes to move."""
    import tensorflow as tf

    image = tf.keras.Input(network.input_shape[1:], dtype=tf.uint8, name="image")
    return tf.keras.Model(image, network(tf.cast(image, tf.float32) / 255))


def small() -> Any:
    """Three convolutions of images [batch, 224, 224, 3]: many bytes, little to compute, and soon converted."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    image = tf.keras.Input((224, 224, 3), name="image")
    x = image
    for channels in (16, 32, 64):
        x = tf.keras.layers.Conv2D(channels, 3, strides=2, activation="relu")(x)
    classes = tf.keras.layers.Dense(10, activation="softmax")(tf.keras.layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(image, classes)


def transformer() -> Any:
    """An encoder that takes token numbers [batch, length], both open, and answers with classes [batch, 1000]."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    tokens = tf.keras.Input((None,), dtype=tf.int32, name="tokens")
    x = tf.keras.layers.Embedding(VOCABULARY, WIDTH)(tokens)
    for _ in range(LAYERS):
        attended = tf.keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(x, x)
        x = tf.keras.layers.LayerNormalization()(x + attended)
        wide = tf.keras.layers.Dense(4 * WIDTH, activation="gelu")(x)
        x = tf.keras.layers.LayerNormalization()(x + tf.keras.layers.Dense(WIDTH)(wide))
    classes = tf.keras.layers.Dense(CLASSES, activation="softmax", name="classes")(tf.reduce_mean(x, axis=1))
    return tf.keras.Model(tokens, classes)


def digits(folder: Path) -> Any:
    """A network trained on scikit-learn's handwritten digits (1,797 of 8 x 8), on two thirds of them.

    The last third is never seen while training or calibrating: the answer to whether INT8 keeps the accuracy.
    """
    import tensorflow as tf
    from sklearn.datasets import load_digits

    tf.keras.utils.set_random_seed(SEED)
    found = load_digits()
    images = (found.images[..., np.newaxis] / 16).astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(images))
    seen, held_out = np.split(order, [2 * len(order) // 3])
    convolution = {"padding": "same", "activation": "relu"}
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Input((8, 8, 1), name="image"),
            tf.keras.layers.Conv2D(32, 3, **convolution),
            tf.keras.layers.Conv2D(64, 3, **convolution),
            tf.keras.layers.MaxPooling2D(),
            tf.keras.layers.Conv2D(128, 3, **convolution),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images[seen], found.target[seen], epochs=DIGITS_EPOCHS, batch_size=64, verbose=0)
    np.savez(folder / "digits-calibration.npz", image=images[seen[:512]])
    np.savez(folder / "digits-held-out.npz", image=images[held_out], labels=found.target[held_out])
    return model


def write(name: str, folder: Path) -> None:
    """Write the model and what belongs to it, unless it is there."""
    described = folder / f"{name}.json"
    if described.exists():
        return
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    model = MODELS[name](folder)
    tf.saved_model.save(model, str(folder / name))
    conversion: dict[str, Any] = {}
    if name == "transformer":
        conversion = {"dynamicShapes": "Range", "inputShapes": {"tokens": LENGTHS}}
        tokens = np.random.default_rng(SEED + 2).integers(0, VOCABULARY, (VERIFICATION_SAMPLES, *LENGTHS["opt"]))
        np.savez(folder / "transformer-verification.npz", tokens=tokens.astype(np.int32))
    elif name != "digits":
        shape = (CALIBRATION_SAMPLES, *model.input_shape[1:])
        arrays: dict[str, Any] = {model.input_names[0]: values(model, shape, SEED)}
        np.savez(folder / f"{name}-calibration.npz", **arrays)
    shape = (2, *(size or LENGTHS["opt"][0] for size in model.input_shape[1:]))
    asked = values(model, shape, SEED + 1)
    np.savez(folder / f"{name}-answer.npz", input=asked, output=model(asked).numpy())
    # Last, so that its presence says that all is there.
    described.write_text(json.dumps(conversion))


def values(model: Any, shape: tuple[int, ...], seed: int) -> Any:
    """Of the model's input: token numbers, bytes, or numbers from 0 to 1."""
    dtype = model.inputs[0].dtype.as_numpy_dtype
    random = np.random.default_rng(seed)
    integers = {np.int32: VOCABULARY, np.uint8: 256}
    found = random.integers(0, integers[dtype], shape) if dtype in integers else random.uniform(0, 1, shape)
    return found.astype(dtype)


MODELS: dict[str, Callable[[Path], Any]] = {
    "resnet50": lambda _folder: picture_network("resnet50"),
    "resnet50-bytes": lambda _folder: of_bytes(picture_network("resnet50")),
    "mobilenetv2": lambda _folder: picture_network("mobilenetv2"),
    "mobilenetv2-bytes": lambda _folder: of_bytes(picture_network("mobilenetv2")),
    "efficientnetb0": lambda _folder: picture_network("efficientnetb0"),
    "densenet121": lambda _folder: picture_network("densenet121"),
    "mobilenetv2half": lambda _folder: picture_network("mobilenetv2", "mixed_float16"),
    "enlarged": lambda _folder: enlarged(),
    "small": lambda _folder: small(),
    "small-bytes": lambda _folder: of_bytes(small()),
    "transformer": lambda _folder: transformer(),
    "digits": digits,
}

if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
