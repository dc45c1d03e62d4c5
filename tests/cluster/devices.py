"""A node's GPU, which is played: the scheduler counts it, the labels name it, and containers find what tells of it.

No device stands behind it. An image that plays CUDA's driver (`fake_gpu/`) reads in the folder that every container of
the node has at `PLACE` which device it is, and has the device's memory there together with all others on the node. As
where NVIDIA's plugin shares a device by time-slicing, a node's GPUs are all the same one.
"""

import json
import re
import shutil
from dataclasses import asdict, dataclass

from .layout import NodeLayout

PLACE = "/run/fake-gpu"
RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True)
class Device:
    """What CUDA's driver says of it: its name, such as `NVIDIA A10`, its architecture and its memory."""

    name: str
    compute_capability: str
    memory_bytes: int

    @property
    def product(self) -> str:
        """Its name as NVIDIA's GPU feature discovery has it in `nvidia.com/gpu.product`."""
        return "-".join(re.sub(r"[^A-Za-z0-9_. -]", "", self.name).split())

    @property
    def labels(self) -> dict[str, str]:
        """What GPU feature discovery says of it."""
        major, minor = self.compute_capability.split(".")
        return dict(zip(LABELS, (self.product, major, minor, str(self.memory_bytes >> 20)), strict=True))


LABELS = tuple(f"nvidia.com/gpu.{what}" for what in ("product", "compute.major", "compute.minor", "memory"))

A10 = Device("NVIDIA A10", "8.6", 23028 << 20)
H200 = Device("NVIDIA H200", "9.0", 143771 << 20)
B200 = Device("NVIDIA B200", "10.0", 183359 << 20)
"""Newer than what TensorRT 8.5 knows."""


def make_place(node: NodeLayout) -> None:
    """Make the folder that every container has; empty, and nobody's to write in, as long as there is no device."""
    node.gpu.mkdir(parents=True, exist_ok=True)


def put(node: NodeLayout, device: Device | None) -> None:
    """Have the node's containers find this device, or none."""
    shutil.rmtree(node.gpu / "memory", ignore_errors=True)
    described = node.gpu / "device.json"
    if device is None:
        described.unlink(missing_ok=True)
    else:
        described.write_text(json.dumps(asdict(device)))
        (node.gpu / "memory").mkdir()
        (node.gpu / "memory").chmod(0o1777)


def capacity(count: int) -> str:
    """Return a patch of a node's status, as a plugin of devices would have it."""
    amount = {RESOURCE: str(count)}
    return json.dumps({"status": {"capacity": amount, "allocatable": amount}})
