"""The NetworkPolicy of the inference pods."""

from ...api.trtmodel import TRTModel
from ..manifest import Manifest, with_hash
from . import names


def network_policy(model: TRTModel) -> Manifest:
    """Return the policy: anyone may ask for a prediction, and the server itself calls no one.

    Its artifact comes from a volume that the kubelet mounts, so no pod of it needs a way out.
    """
    ports = [{"port": port, "protocol": "TCP"} for port in ("http", "grpc", "metrics")]
    return with_hash(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": names.child_metadata(model, names.SERVER),
            "spec": {
                "podSelector": {"matchLabels": names.server_selector(model)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"ports": ports}],
            },
        }
    )
