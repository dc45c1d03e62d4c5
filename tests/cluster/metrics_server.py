"""metrics-server, the source of what autoscalers and `kubectl top` go by, beside the API server that asks it."""

import base64
from pathlib import Path
from typing import Any

from . import certificates, processes
from .layout import Layout

PROCESS = "metrics-server"
API_SERVICE = "v1beta1.metrics.k8s.io"
_PORT = 4443
_NAME = {"name": "metrics-server", "namespace": "kube-system"}


def up(layout: Layout, program: Path) -> None:
    """Start it unless it runs."""
    certificates.make_metrics_server(layout)
    kubeconfig, authority = layout.kubeconfig("metrics-server"), layout.certificate("ca.crt")
    flags = {
        "bind-address": layout.control_plane_address,
        "secure-port": _PORT,
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "tls-cert-file": layout.certificate("metrics-server.crt"),
        "tls-private-key-file": layout.certificate("metrics-server.key"),
        "kubelet-certificate-authority": authority,
        "kubelet-preferred-address-types": "InternalIP",
        "metric-resolution": "10s",  # the shortest that it takes, and longer than the next
        "kubelet-request-timeout": "5s",
    }
    processes.start(layout, PROCESS, [program, *(f"--{name}={value}" for name, value in flags.items())])


def down(layout: Layout) -> None:
    """End it."""
    processes.stop(layout, PROCESS)


def manifests(layout: Layout) -> list[dict[str, Any]]:
    """Return what leads the API server to it: a Service without a selector, for it is no pod."""
    address = {"addresses": [layout.control_plane_address], "conditions": {"ready": True}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _NAME,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": _PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": _NAME | {"labels": {"kubernetes.io/service-name": _NAME["name"]}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": _PORT, "protocol": "TCP"}],
            "endpoints": [address],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API_SERVICE},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": _NAME,
                "caBundle": base64.b64encode(layout.certificate("ca.crt").read_bytes()).decode(),
            },
        },
    ]
