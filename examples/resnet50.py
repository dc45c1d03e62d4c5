"""Writes ResNet-50 (Keras, random weights, fixed seed) as a SavedModel, and what it answers before any conversion.

    resnet50.py FOLDER

FOLDER becomes the SavedModel. FOLDER.npz gets `input_1`, a seeded batch of images of shape [2, 224, 224, 3], and
`predictions`, the unconverted model's answer of shape [2, 1000]. Needs TensorFlow 2.14; does nothing where both exist.
"""

import sys
from pathlib import Path

import numpy as np

SEED = 20180327


def main(folder: Path) -> None:
    """Write the model and its answer."""
    answer = folder.with_name(folder.name + ".npz")
    if answer.exists():
        print(f"{folder} is there already")
        return
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    model = tf.keras.applications.ResNet50(weights=None)
    random = np.random.default_rng(SEED)
    # Keras starts biases and batch normalisation at 0 and 1, which an optimiser folds away. No trained model has them.
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign_add(np.abs(random.normal(0, 0.05, weight.shape)).astype(np.float32))
    tf.saved_model.save(model, str(folder))
    images = random.uniform(0, 1, (2, 224, 224, 3)).astype(np.float32)
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    (predictions,) = served(tf.constant(images)).values()
    # Last, so that its presence says that all is there.
    np.savez(answer, input_1=images, predictions=predictions.numpy())
    print(f"{folder}: {sum(file.stat().st_size for file in folder.rglob('*') if file.is_file()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
