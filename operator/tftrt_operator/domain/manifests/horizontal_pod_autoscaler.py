"""The HorizontalPodAutoscaler of the inference Deployment."""

from typing import Any

from ...api.serving import Autoscaling
from ...api.trtmodel import TRTModel
from ..manifest import Manifest, with_hash
from . import names


def horizontal_pod_autoscaler(model: TRTModel, autoscaling: Autoscaling) -> Manifest:
    """Return the autoscaler on the Deployment. A user's own one targets the TRTModel's scale subresource instead."""
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": model.metadata.name},
        "minReplicas": autoscaling.min_replicas,
        "maxReplicas": autoscaling.max_replicas,
    }
    if autoscaling.metrics:
        spec["metrics"] = list(autoscaling.metrics)
    return with_hash(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": names.child_metadata(model, names.SERVER),
            "spec": spec,
        }
    )
