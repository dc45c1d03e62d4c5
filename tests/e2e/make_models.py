"""Writes the sources of the end-to-end tests. Runs in the converter image's own environment, which has TensorFlow.

    make_models.py FOLDER

FOLDER/tiny is a SavedModel with a seeded convolutional network; FOLDER/tiny.npz its input `images` [4, 8, 8, 3] and its
answer `scores` [4, 10]; FOLDER/other and other.npz the same with other weights; FOLDER/frozen.pb the first as a frozen
graph; FOLDER/totals what `tests/zero_loss/images.py` knows the answers of; FOLDER/similarity scores all `queries`
[n, 4] of a call with all its `candidates` [n, 4]; FOLDER/text a folder that holds no SavedModel.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path) -> None:
    """Write them all."""
    import tensorflow as tf

    images = np.random.default_rng(7).uniform(0, 1, (4, 8, 8, 3)).astype(np.float32)
    for name, seed in (("tiny", 7), ("other", 8)):
        tf.keras.utils.set_random_seed(seed)
        model = tf.keras.Sequential(
            [
                tf.keras.layers.Input((8, 8, 3), name="images"),
                tf.keras.layers.Conv2D(16, 3, activation="relu", bias_initializer="random_normal"),
                tf.keras.layers.GlobalAveragePooling2D(),
                tf.keras.layers.Dense(10, name="scores", bias_initializer="random_normal"),
            ]
        )
        tf.saved_model.save(model, str(folder / name))
        np.savez(folder / f"{name}.npz", images=images, scores=model(images).numpy())
        if name == "tiny":
            (folder / "frozen.pb").write_bytes(frozen(model))
    save_totals(folder / "totals")
    save_similarity(folder / "similarity")
    (folder / "text").mkdir()
    (folder / "text" / "README").write_text("no model here\n")


def save_totals(folder: Path) -> None:
    """Takes large requests at little cost: of uint8 [n, 224, 224, 3], sums each channel of every eighth pixel."""
    import tensorflow as tf

    def answer(images: Any) -> Any:
        return {"totals": tf.reduce_sum(tf.cast(images[:, ::8, ::8], tf.float32), axis=[1, 2])}

    module = tf.Module()
    specification = tf.TensorSpec((None, 224, 224, 3), tf.uint8, name="images")
    module.answer = tf.function(answer, input_signature=[specification])
    tf.saved_model.save(module, str(folder), signatures=module.answer)


def save_similarity(folder: Path) -> None:
    """Compares every query with every candidate of the call, whoever sent them: `scores` [n, n]."""
    import tensorflow as tf

    def answer(queries: Any, candidates: Any) -> Any:
        return {"scores": tf.matmul(queries, candidates, transpose_b=True)}

    module = tf.Module()
    specifications = [tf.TensorSpec((None, 4), tf.float32, name=name) for name in ("queries", "candidates")]
    module.answer = tf.function(answer, input_signature=specifications)
    tf.saved_model.save(module, str(folder), signatures=module.answer)


def frozen(model: Any) -> bytes:
    """A GraphDef of the model with its weights as constants, from `images:0` to `scores:0`."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def answer(images: Any) -> Any:
        return tf.identity(model(images), name="scores")

    function = tf.function(answer, input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="images")])
    graph = convert_variables_to_constants_v2(function.get_concrete_function()).graph.as_graph_def()
    return bytes(graph.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
