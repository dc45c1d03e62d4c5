"""The HorizontalPodAutoscaler of the inference Deployment."""

from decimal import ROUND_CEILING, Decimal
from typing import Any

from ...api.kubernetes import ResourceRequirements
from ...api.quantity import LARGEST, quantity_value
from ...api.serving import Autoscaling
from ...api.trtmodel import TRTModel
from ..manifest import Manifest, with_hash
from . import names

SERVER_CONTAINER = "server"
BUSY = Decimal("0.8")
"""The share of its CPU at which a server is busy: what the HorizontalPodAutoscaler's own default has, too."""
PRESUMED_CPU = Decimal(1)
"""Cores of a server whose spec names no CPU. A share of the request that it gets then would have it scaled by a single
client, for that is what the scheduler is to keep free; of its limit, which many nodes lack, it would never be."""
SCALE_DOWN: dict[str, Any] = {
    "stabilizationWindowSeconds": 300,
    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
}
"""One at a time, and none before five minutes with less to do: a server that is wanted again has to load its engine."""


def horizontal_pod_autoscaler(model: TRTModel, autoscaling: Autoscaling) -> Manifest:
    """Return the autoscaler on the Deployment. A user's own one targets the TRTModel's scale subresource instead."""
    return with_hash(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": names.child_metadata(model, names.SERVER),
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": model.metadata.name},
                "minReplicas": autoscaling.min_replicas,
                "maxReplicas": autoscaling.max_replicas,
                "metrics": list(autoscaling.metrics) or [_cpu(model.spec.serving.resources)],
                "behavior": {"scaleDown": SCALE_DOWN},
            },
        }
    )


def _cpu(asked: ResourceRequirements) -> dict[str, Any]:
    """Return the metric that needs nothing but a metrics server: what the server's container takes of the CPU.

    Not the pod: a sidecar that asks for no CPU would make a share of what the pod asks for impossible.
    """
    named = asked.requests.get("cpu", asked.limits.get("cpu", "0"))  # Kubernetes requests a limit that stands alone
    cores = quantity_value(named) or PRESUMED_CPU
    millis = min(int((1000 * BUSY * cores).to_integral_value(ROUND_CEILING)), LARGEST)
    target = {"type": "AverageValue", "averageValue": f"{millis}m"}
    return {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": SERVER_CONTAINER, "target": target},
    }
