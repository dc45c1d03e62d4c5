"""Converts TensorFlow models with TensorRT and serves them."""
