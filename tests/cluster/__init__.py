"""A real Kubernetes on one machine, without Docker: for tests and the demo.

`python -m tests.cluster up` starts etcd, kube-apiserver, kube-controller-manager, kube-scheduler, containerd, kubelet,
kube-proxy and CoreDNS in one network namespace, and a second node in one of its own where that is asked for; `down`
leaves nothing behind.
"""

from .cluster import Cluster
from .images import Image, converter_image, fake_gpu_image, gateway_image, operator_image
from .prerequisites import Missing

__all__ = ["Cluster", "Image", "Missing", "converter_image", "fake_gpu_image", "gateway_image", "operator_image"]
