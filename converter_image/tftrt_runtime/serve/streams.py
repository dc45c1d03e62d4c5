"""A SavedModel that answers several calls at a time, each on a CUDA stream of its own. Imports TensorFlow.

TensorFlow computes all that a device is asked on one stream, so the GPU idles between the small kernels of one call
though another call waits. A logical device has a stream of its own; engines are loaded once for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tftrt_runtime.model.quick_call import QuickCall


class Stream:
    """The loaded model on one device; safe to call from several threads."""

    def __init__(self, folder: Path, device: str | None, signature: str | None = None) -> None:
        self.device = device
        with tf.device(device):
            # Kept, for its functions refer to its tables and variables only weakly.
            self._loaded = tf.saved_model.load(str(folder))
        signatures = self._loaded.signatures
        (function,) = signatures.values() if signature is None else (signatures[signature],)
        self.function = function
        self._call = QuickCall(function)

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The answers by output name, still being computed; the tensors may lie anywhere."""
        with tf.device(self.device):
            return self._call(tensors)

    def resident(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays as tensors on this stream's device, for types that it has."""
        # A constant lies on the host; what an operation makes of it lies on the device.
        constants = {name: tf.constant(value) for name, value in arrays.items()}
        with tf.device(self.device):
            return {name: tf.identity(value) for name, value in constants.items()}

    def expect_device(self) -> None:
        """Hold that something can be brought to this stream's device, and back.

        Raises:
            tf.errors.OpError: it cannot.
        """
        for tensor in self.resident({"x": np.ones(1, np.float32)}).values():
            tensor.numpy()


def load(folder: Path, devices: Sequence[str | None], signature: str | None = None) -> tuple[Stream, ...]:
    """The model's only signature, or the one that is named, on each device; None is TensorFlow's own choice.

    All at the same time: what takes long is to read engines and bring them to the device, for which no thread waits for
    another one's Python.
    """
    with ThreadPoolExecutor(len(devices)) as threads:
        return tuple(threads.map(lambda device: Stream(folder, device, signature), devices))
