"""The NetworkPolicy of the inference pods."""

from ...api.storage import scheme_of
from ...api.trtmodel import TRTModel
from ..manifest import Manifest, with_hash
from ..record import EngineRecord
from . import names


def network_policy(model: TRTModel, record: EngineRecord) -> Manifest:
    """Return the policy: anyone may ask for a prediction, and the server itself calls no one.

    An artifact in a claim comes through a volume that the kubelet mounts, so the pod needs no way out. One in an object
    store is pulled by the pod, from addresses that no policy can know.
    """
    closed = scheme_of(record.summary.artifact) == "pvc"
    ports = [{"port": port, "protocol": "TCP"} for port in ("http", "grpc", "metrics")]
    return with_hash(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": names.child_metadata(model, names.SERVER),
            "spec": {
                "podSelector": {"matchLabels": names.server_selector(model)},
                "policyTypes": ["Ingress", "Egress"] if closed else ["Ingress"],
                "ingress": [{"ports": ports}],
            },
        }
    )
