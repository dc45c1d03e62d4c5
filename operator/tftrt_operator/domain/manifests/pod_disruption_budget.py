"""The PodDisruptionBudget of the inference pods."""

from ...api.trtmodel import TRTModel
from ..manifest import Manifest, with_hash
from . import names


def pod_disruption_budget(model: TRTModel) -> Manifest:
    """Return the budget: a drained node takes one inference pod at a time."""
    return with_hash(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": names.child_metadata(model, names.SERVER),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": names.server_selector(model)}},
        }
    )
