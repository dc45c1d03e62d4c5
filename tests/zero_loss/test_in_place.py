"""A rollout in place needs no GPU beside the one that serves; what that costs where there is no other replica."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.cluster import Cluster, fake_gpu_image
from tests.cluster.devices import A10
from tests.e2e.conftest import a_workspace
from tests.support.trtmodels import conditions, trtmodel
from tests.support.waiting import eventually
from tests.zero_loss import results
from tests.zero_loss.clients import CLIENTS
from tests.zero_loss.events import MODEL, Scene
from tests.zero_loss.load import Load, Traffic, under_load

TIMES = 3
SMALL = [Traffic(client, 1, 0.05) for client in CLIENTS]


@pytest.fixture
def on_the_only_gpu(cluster: Cluster, models: Path) -> Iterator[Scene]:
    """The model on one replica, which has the cluster's only GPU."""
    cluster.load_image(fake_gpu_image())
    cluster.set_gpus(cluster.layout.first, 1, A10)
    with a_workspace(cluster, models) as workspace:
        found = Scene(workspace, cluster)
        workspace.api.create(
            trtmodel(
                MODEL,
                source={"uri": f"pvc://models/{MODEL}"},
                conversion={"maxBatchSize": 1, "batchSizes": [1], "maxWorkspaceSize": "1000000000"},
                gpu={"memory": "8000000000"},
                runtime="fake-gpu",
            )
        )
        found.wait_until_served(1)
        yield found
    cluster.set_gpus(cluster.layout.first, 1)


def test_a_rollout_in_place_needs_no_spare_gpu(on_the_only_gpu: Scene) -> None:
    scene = on_the_only_gpu
    new = scene.roll()
    eventually(lambda: conditions(scene.api, MODEL)["Reconciling"] == ("True", "InsufficientGPU"), seconds=120)
    scene.change(rollout={"strategy": "InPlace"})
    scene.wait_until_served(1, by=new)

    replaced, unanswered, requests, failures = [], [], 0, 0
    for _ in range(TIMES):
        with under_load(scene.workspace.address(MODEL), MODEL, SMALL) as load:
            began = time.monotonic()
            scene.wait_until_served(1, by=scene.roll())
            wait_for_answers(load)
            replaced.append(time.monotonic() - began)
            outcomes = load.end()
        results.show("rolled in place", outcomes)
        when = [datetime.fromisoformat(failure.at) for one in outcomes for failure in one.failures]
        unanswered.append((max(when) - min(when)).total_seconds() if when else 0.0)
        requests += sum(one.requests for one in outcomes)
        failures += len(when)
    results.keep_in_place(replaced, unanswered, requests, failures)
    # The old server answers until it is drained, and the new one as soon as it is ready.
    assert all(gap < whole for gap, whole in zip(unanswered, replaced, strict=True))


def wait_for_answers(load: Load) -> None:
    """Wait until every client has had some more answers."""
    before = load.asked()
    eventually(lambda: load.asked() > before + 10 * len(SMALL), seconds=60)
