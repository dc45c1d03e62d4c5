"""The Service in front of the inference pods."""

from ...api.trtmodel import TRTModel
from ..manifest import Manifest, with_hash
from ..remembered import identity_of, remembered
from . import names
from .deployment import GRPC_PORT, HTTP_PORT, METRICS_PORT

H2C = "kubernetes.io/h2c"
"""HTTP/2 without TLS, by the name that Kubernetes gives it (KEP-3726). Gateways reach a backend by HTTP/1.1 unless they
are told so (Gateway API, GEP-1911); a bare `grpc` is no name that they have to know."""


@remembered(identity_of)
def service(model: TRTModel) -> Manifest:
    """Return the Service: Open Inference Protocol on HTTP and gRPC, and Prometheus metrics."""
    return with_hash(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": names.child_metadata(model, names.SERVER),
            "spec": {
                "selector": names.server_selector(model),
                "ports": [
                    {"name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
                    {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "protocol": "TCP", "appProtocol": H2C},
                    {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"},
                ],
            },
        }
    )


def service_url(model: TRTModel) -> str:
    """Return the model's address in the Open Inference Protocol, as pods of the cluster reach it."""
    name, namespace = model.metadata.name, model.metadata.namespace
    return f"http://{name}.{namespace}.svc:{HTTP_PORT}/v2/models/{name}"
