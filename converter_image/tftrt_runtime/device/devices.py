"""A child process that tells which GPU TensorFlow sees, and which TensorRT it has loaded."""

from __future__ import annotations

import tensorflow as tf

from tftrt_runtime.device import cuda, tensorrt
from tftrt_runtime.device.messages import DevicesAnswer, DevicesRequest
from tftrt_runtime.processes import child


def look(_request: DevicesRequest) -> DevicesAnswer:
    """The GPUs that this TensorFlow can use; the rest is about the first."""
    gpus = tuple(device.name for device in tf.config.list_physical_devices("GPU"))
    if not gpus:
        return DevicesAnswer(tensorflow=tf.__version__, gpus=())
    device = cuda.Cuda()
    return DevicesAnswer(
        tensorflow=tf.__version__,
        gpus=gpus,
        name=device.name,
        compute_capability=device.compute_capability,
        memory_bytes=device.free_and_total()[1],
        driver=cuda.driver_version(),
        tensorrt=tensorrt.version(),
    )


if __name__ == "__main__":
    child.answer(DevicesRequest, look)
