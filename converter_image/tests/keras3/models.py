# mypy: ignore-errors
"""Exports a network of Keras 3, in an environment of its own (`__main__.py`): `python models.py FOLDER`.

Where JAX is installed, a function of JAX, too.
"""

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def network():
    """A picture through convolutions and a text through attention, to two outputs."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(layers.ZeroPadding2D(1)(image))
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    x = layers.SeparableConv2D(8, 3, padding="same", activation="silu")(x)
    seen = layers.GlobalAveragePooling2D()(x)
    tokens = layers.Input((None,), dtype="int64", name="tokens")
    y = layers.Embedding(50, 8)(tokens)
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(2, 4)(y, y))
    read = layers.GRU(8)(layers.Dense(8, activation="gelu")(y))
    both = layers.Dropout(0.5)(layers.Concatenate()([seen, read]))
    outputs = {
        "topic": layers.Dense(5, activation="softmax", name="topic")(both),
        "price": layers.Dense(1, name="price")(both),
    }
    model = keras.Model([image, tokens], outputs)
    random = np.random.default_rng(0)
    for weight in model.weights:
        # Means, scales and biases that are not what they begin as, so that leaving one out would show.
        if len(weight.shape) == 1 and "seed" not in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape).astype("float32"))
    return model


def jax_function(folder: Path) -> None:
    """A dense layer of JAX, as `jax2tf` exports it: an operation that holds a program for XLA."""
    import jax
    from jax.experimental import jax2tf

    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)

    def predict(x):
        return jax.nn.softmax(x @ weights)

    converted = jax2tf.convert(predict, polymorphic_shapes=["(b, 4)"], with_gradient=False)
    module = tf.Module()
    module.serve = tf.function(
        lambda x: {"scores": converted(x)}, autograph=False, input_signature=[tf.TensorSpec([None, 4], name="x")]
    )
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def main(folder: Path) -> None:
    """Export, and save what the network answers: an archive of `input NAME` and `output NAME`."""
    folder.mkdir()
    model = network()
    model.export(str(folder / "keras"))
    random = np.random.default_rng(7)
    inputs = {
        "image": random.normal(size=(3, 16, 16, 3)).astype(np.float32),
        "tokens": random.integers(0, 50, (3, 7)),
    }
    answers = model.predict(inputs, verbose=0)
    arrays = {f"input {name}": value for name, value in inputs.items()}
    arrays |= {f"output {name}": value for name, value in answers.items()}
    np.savez_compressed(folder / "keras.npz", **arrays)
    if importlib.util.find_spec("jax"):
        jax_function(folder / "jax")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
