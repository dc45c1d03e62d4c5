"""Converted against unconverted, in process and served, on a GPU. Python 3.10, TensorFlow 2.14.1, TensorRT 8.5.3.1."""
