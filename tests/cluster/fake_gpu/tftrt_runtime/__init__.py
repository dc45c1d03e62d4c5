"""The converter's package, in an image that plays a GPU."""

from tftrt_runtime import fake_gpu

fake_gpu.install()
