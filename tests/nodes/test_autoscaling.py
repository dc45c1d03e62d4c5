"""An autoscaler that goes by what metrics-server says: up under load, down after it, and no request is lost."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.cluster import Cluster
from tests.e2e.conftest import CONVERTER_PYTHON, ROOT, Workspace
from tests.e2e.inference import Array, infer_grpc
from tests.e2e.test_served_model import is_serving
from tests.support.api import Api
from tests.support.trtmodels import trtmodel
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def measured(cluster: Cluster) -> Iterator[None]:
    """metrics-server runs, while this module does."""
    with cluster.metrics():
        yield


class Load:
    """Clients that ask again and again, and nothing twice."""

    def __init__(self, address: str, images: Array, clients: int, pause_seconds: float = 0) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._address, self._images, self._clients, self._pause = address, images, clients, pause_seconds
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """They do so for a while."""
        clients = [threading.Thread(target=self._ask) for _ in range(self._clients)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._over.set()
            for client in clients:
                client.join()

    def _ask(self) -> None:
        while not self._over.wait(self._pause):
            asked = time.monotonic()
            try:
                infer_grpc(self._address, "resnet50", input_1=self._images)
                self.answered += 1
            except Exception as fault:
                self.failures.append(f"after {time.monotonic() - asked:.1f} s: {fault}")


@contextmanager
def replicas_seen(api: Api) -> Iterator[list[int]]:
    """The numbers of replicas that the Deployment was asked for, each once in a row."""
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            replicas = api.get("Deployment", "resnet50")["spec"]["replicas"]
            if seen[-1:] != [replicas]:
                seen.append(replicas)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def ready_replicas(api: Api) -> int:
    return int(api.get("Deployment", "resnet50")["status"].get("readyReplicas", 0))


def served(workspace: Workspace, **serving: Any) -> tuple[str, Array]:
    """The address of ResNet-50, which is served and has answered, and an image to ask it for."""
    subprocess.run([CONVERTER_PYTHON, ROOT / "examples" / "resnet50.py", workspace.volume / "resnet50"], check=True)
    images = np.load(workspace.volume / "resnet50.npz")["input_1"][:1]
    workspace.api.create(trtmodel(serving=serving))
    eventually(lambda: is_serving(workspace.api, "resnet50"), seconds=300)
    address = workspace.address("resnet50")
    eventually(lambda: [infer_grpc(address, "resnet50", input_1=images)])
    return address, images


def test_a_model_with_a_largest_number_of_replicas_alone_is_scaled_up_under_load_and_down_after_it(
    workspace: Workspace, measured: None
) -> None:
    api = workspace.api
    address, images = served(workspace, autoscaling={"maxReplicas": 3})

    heavy, light = Load(address, images, clients=4), Load(address, images, clients=1, pause_seconds=0.5)
    with replicas_seen(api) as seen, light.running():
        with heavy.running():
            eventually(lambda: ready_replicas(api) >= 2, seconds=300)
        # An autoscaler waits for five minutes before it takes one away.
        eventually(lambda: api.get("Deployment", "resnet50")["spec"]["replicas"] == 1, seconds=720)
        eventually(lambda: len(api.list("Pod", "app.kubernetes.io/component=server")) == 1, seconds=90)
    assert heavy.failures + light.failures == []
    assert heavy.answered > 20
    assert light.answered > 100
    assert seen[0] == 1, "load, and nothing before it, has more of them"
    peak = seen.index(max(seen))
    assert seen == [*sorted(seen[:peak]), *sorted(seen[peak:], reverse=True)], "somebody else sets the replicas, too"
    print(f"{heavy.answered + light.answered} requests, none failed; replicas {seen}")


def test_an_autoscaler_of_the_users_scales_the_trtmodel_and_nobody_writes_against_it(
    workspace: Workspace, measured: None
) -> None:
    api = workspace.api
    address, images = served(workspace, resources={"requests": {"cpu": "250m"}, "limits": {"cpu": "2"}})

    # A second server takes a whole core while it starts, and so does each of two that are asked without a pause.
    cpu = {"name": "cpu", "container": "server", "target": {"type": "AverageValue", "averageValue": "400m"}}
    target = {"apiVersion": "tftrt.dev/v1alpha1", "kind": "TRTModel", "name": "resnet50"}
    api.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "mine"},
            "spec": {
                "scaleTargetRef": target,
                "maxReplicas": 2,
                "metrics": [{"type": "ContainerResource", "containerResource": cpu}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
            },
        }
    )
    before = api.get("TRTModel", "resnet50")["metadata"]["generation"]
    light = Load(address, images, clients=1, pause_seconds=1)
    with replicas_seen(api) as seen, light.running():
        with Load(address, images, clients=4).running():
            eventually(lambda: ready_replicas(api) == 2, seconds=300)
        eventually(lambda: api.get("Deployment", "resnet50")["spec"]["replicas"] == 1, seconds=300)
        workspace.kubectl("scale", "trtmodel/resnet50", "--replicas=2")
        eventually(lambda: seen == [1, 2, 1, 2, 1], seconds=300)
        with api.watch("TRTModel", 60) as events:
            after = {event["object"]["metadata"]["generation"] for event in events}
    assert seen == [1, 2, 1, 2, 1], "somebody else sets the replicas, too"
    assert api.get("TRTModel", "resnet50")["metadata"]["generation"] == before + 4, "each number was written once"
    assert after <= {before + 4}, "a minute in which there is nothing to do"
    assert light.failures == []
    print(f"{light.answered} requests, none failed; replicas {seen}")
