"""Writes the sources of the end-to-end tests. Runs in the converter image's own environment, which has TensorFlow.

    make_models.py FOLDER

FOLDER/tiny is a SavedModel with a seeded convolutional network; FOLDER/tiny.npz its input `images` [4, 8, 8, 3] and its
answer `scores` [4, 10]; FOLDER/text a folder that holds no SavedModel.
"""

import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Write them all."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(7)
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Input((8, 8, 3), name="images"),
            tf.keras.layers.Conv2D(16, 3, activation="relu", bias_initializer="random_normal"),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(10, name="scores", bias_initializer="random_normal"),
        ]
    )
    tf.saved_model.save(model, str(folder / "tiny"))
    images = np.random.default_rng(7).uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)
    np.savez(folder / "tiny.npz", images=images, scores=model(images).numpy())
    (folder / "text").mkdir()
    (folder / "text" / "README").write_text("no model here\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
