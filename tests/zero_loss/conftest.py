"""The cluster of the end-to-end tests, and in it a model that large requests cost little."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.e2e.conftest import a_workspace, cluster, models
from tests.support.trtmodels import trtmodel
from tests.zero_loss.events import MODEL, REPLICAS, Scene

__all__ = ["cluster", "models", "scene"]


@pytest.fixture(scope="session")
def scene(cluster: Cluster, models: Path) -> Iterator[Scene]:
    """The model, served by two replicas in a namespace of its own."""
    with a_workspace(cluster, models) as workspace:
        found = Scene(workspace, cluster)
        workspace.api.create(served())
        found.wait_until_served()
        yield found


def served(**serving: object) -> dict[str, object]:
    """The model with all batches that clients ask for."""
    return trtmodel(
        MODEL,
        source={"uri": f"pvc://models/{MODEL}"},
        conversion={"maxBatchSize": 128, "batchSizes": [1, 32, 128]},
        serving={"replicas": REPLICAS} | serving,
    )
