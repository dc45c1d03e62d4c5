"""The parts of the Transformer encoder of `models.py`, each a network of its own: `parts.py FOLDER`.

What an engine of each of them answers tells where in the whole TensorRT loses digits. FOLDER gets for each part a
SavedModel, the same in TensorFlow's FP16 (`NAME-half`), and what to ask both (`NAME.npz`). Runs on the CPU.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.models import CLASSES, HEADS, LENGTHS, SEED, WIDTH

BATCH = 32
# Of what the embedding of `models.py` makes, and of what a layer normalization does.
EMBEDDED, NORMALIZED = 0.029, 1.0


def dense(x: Any) -> Any:
    """Two products, without anything in between."""
    from tensorflow.keras import layers

    return layers.Dense(WIDTH)(layers.Dense(WIDTH)(x))


def gelu(x: Any) -> Any:
    """What is behind each attention: a wide layer with GELU, and back."""
    from tensorflow.keras import layers

    return layers.Dense(WIDTH)(layers.Dense(4 * WIDTH, activation="gelu")(x))


def attention(x: Any) -> Any:
    """Attention of all heads."""
    from tensorflow.keras import layers

    return layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(x, x)


def normalization(x: Any) -> Any:
    """Keras' layer normalization between two products."""
    from tensorflow.keras import layers

    return layers.Dense(WIDTH)(layers.LayerNormalization()(layers.Dense(WIDTH)(x)))


def spelled_out(x: Any) -> Any:
    """The same with layer normalization as it is written in papers."""
    import tensorflow as tf
    from tensorflow.keras import layers

    x = layers.Dense(WIDTH)(x)
    centered = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centered), axis=-1, keepdims=True)
    return layers.Dense(WIDTH)(centered * tf.math.rsqrt(variance + tf.cast(1e-3, x.dtype)))


def classes(x: Any) -> Any:
    """The end: the mean over the length, and classes."""
    import tensorflow as tf
    from tensorflow.keras import layers

    return layers.Dense(CLASSES, activation="softmax")(tf.reduce_mean(x, axis=1))


def encoder(count: int) -> Callable[[Any], Any]:
    """So many layers of the encoder."""

    def layers_of_it(x: Any) -> Any:
        from tensorflow.keras import layers

        for _ in range(count):
            x = layers.LayerNormalization()(x + attention(x))
            x = layers.LayerNormalization()(x + gelu(x))
        return x

    return layers_of_it


PARTS: dict[str, tuple[Callable[[Any], Any], float]] = {
    "dense": (dense, NORMALIZED),
    "gelu": (gelu, NORMALIZED),
    "attention": (attention, NORMALIZED),
    "attention-embedded": (attention, EMBEDDED),
    "normalization": (normalization, NORMALIZED),
    "normalization-embedded": (normalization, EMBEDDED),
    "normalization-spelled-out": (spelled_out, NORMALIZED),
    "classes": (classes, NORMALIZED),
    "encoder-1": (encoder(1), EMBEDDED),
    "encoder-3": (encoder(3), EMBEDDED),
    "encoder-6": (encoder(6), EMBEDDED),
    "encoder-6-classes": (lambda x: classes(encoder(6)(x)), EMBEDDED),
}


def write(folder: Path) -> None:
    """Write them all."""
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    for name, (part, scale) in PARTS.items():
        written = []
        for policy in ("float32", "float16"):
            tf.keras.utils.set_random_seed(SEED)
            tf.keras.mixed_precision.set_global_policy(policy)
            x = tf.keras.Input((None, WIDTH), dtype=tf.float32, name="x")
            # Answers in FP32, so that both are compared alike.
            written.append(tf.keras.Model(x, {"y": tf.cast(part(tf.cast(x, policy)), tf.float32)}))
        exact, half = written
        half.set_weights(exact.get_weights())
        tf.saved_model.save(exact, str(folder / name))
        tf.saved_model.save(half, str(folder / f"{name}-half"))
        asked = np.random.default_rng(SEED).normal(0, scale, (BATCH, *LENGTHS["opt"], WIDTH)).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=asked)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
