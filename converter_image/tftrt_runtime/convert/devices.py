"""A child process that tells which GPUs TensorFlow sees."""

from __future__ import annotations

import tensorflow as tf

from tftrt_runtime import child
from tftrt_runtime.convert.messages import DevicesAnswer, DevicesRequest


def look(_request: DevicesRequest) -> DevicesAnswer:
    """The GPUs that this TensorFlow can use."""
    return DevicesAnswer(gpus=tuple(device.name for device in tf.config.list_physical_devices("GPU")))


if __name__ == "__main__":
    child.answer(DevicesRequest, look)
