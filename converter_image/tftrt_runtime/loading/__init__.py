"""From a model as people have it to a SavedModel of TensorFlow 2, with its values as constants where that can be."""
