"""Nodes with GPUs of two kinds: engines are served where they were built, and refused elsewhere, with both names.

The devices are played (tests/cluster/devices.py), and so is TensorRT; the operator, its Jobs and servers know nothing
of that.
"""

from collections.abc import Iterator
from decimal import ROUND_FLOOR, Decimal

import numpy as np
import pytest

from tests.cluster import Cluster, fake_gpu_image
from tests.cluster.devices import A10, B200, H200
from tests.cluster.layout import NodeLayout
from tests.e2e.conftest import Workspace
from tests.e2e.inference import infer, relative_error
from tests.e2e.test_served_model import TOLERANCE, is_serving
from tests.support.api import Api, Json
from tests.support.trtmodels import conditions, message, trtmodel
from tests.support.waiting import eventually

MEMORY, WORKSPACE = 8_000_000_000, 2_000_000_000


@pytest.fixture(scope="module")
def second(cluster: Cluster) -> Iterator[NodeLayout]:
    """A second node with another GPU than the first, while this module runs."""
    first = cluster.layout.first
    with cluster.second_node() as node:
        cluster.load_image(fake_gpu_image())
        cluster.set_gpus(first, 1, A10)
        cluster.set_gpus(node, 1, H200)
        yield node
        cluster.set_gpus(first, 1)


def servers(api: Api) -> list[Json]:
    return [
        pod
        for pod in api.list("Pod", "app.kubernetes.io/component=server")
        if "deletionTimestamp" not in pod["metadata"]
    ]


def test_engines_are_served_on_the_kind_of_gpu_that_they_were_built_on_and_on_no_other(
    workspace: Workspace, second: NodeLayout
) -> None:
    api, cluster, first = workspace.api, workspace.cluster, workspace.cluster.layout.first
    cluster.kubectl("cordon", second.name)
    api.create(
        trtmodel(
            "tiny",
            source={"uri": "pvc://models/tiny"},
            runtime="fake-gpu",
            conversion={"precision": "FP16", "maxWorkspaceSize": str(WORKSPACE)},
            gpu={"memory": str(MEMORY)},
        )
    )
    (job,) = eventually(lambda: api.list("Pod", "app.kubernetes.io/component=conversion"))
    eventually(lambda: api.get("Pod", job["metadata"]["name"])["spec"]["nodeName"] == first.name)

    # Its server finds room on the other kind alone, and waits.
    cluster.kubectl("uncordon", second.name)
    cluster.kubectl("cordon", first.name)
    try:
        (waiting,) = eventually(lambda: servers(api), seconds=300)  # ten processes start TensorFlow
        eventually(lambda: "affinity" in unschedulable(api, waiting), seconds=30)
    finally:
        cluster.kubectl("uncordon", first.name)
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    assert [pod["spec"]["nodeName"] for pod in servers(api)] == [first.name]

    status = api.get("TRTModel", "tiny")["status"]
    device = status["conversion"]["device"]
    assert (device["name"], device["computeCapability"]) == (A10.name, A10.compute_capability)
    fraction = (Decimal(MEMORY - WORKSPACE) / A10.memory_bytes).quantize(Decimal("0.0001"), ROUND_FLOOR)
    assert status["serving"]["memoryFraction"] == str(fraction)
    reserved = int(fraction * A10.memory_bytes) >> 20
    assert f'"mebibytes": {reserved}' in workspace.kubectl("logs", servers(api)[0]["metadata"]["name"])

    known = np.load(workspace.volume / "tiny.npz")
    answer = infer(workspace.address("tiny"), "tiny", images=known["images"][:1])
    assert relative_error(answer, known["scores"][:1]) < TOLERANCE

    # Another device, which the node does not tell of: only the server can see it.
    cluster.set_gpus(first, 1, H200, labelled=False)
    cluster.set_gpus(second, 0)
    try:
        workspace.kubectl("delete", "pod", servers(api)[0]["metadata"]["name"], "--grace-period=1")
        eventually(lambda: conditions(api, "tiny").get("Stalled") == ("True", "EngineDeviceMismatch"), seconds=180)
        told = message(api, "Stalled", "tiny")
        assert A10.product in told
        assert H200.product in told
    finally:
        cluster.set_gpus(first, 1, A10)
        cluster.set_gpus(second, 1, H200)
    eventually(lambda: is_serving(api, "tiny"), seconds=180)


def test_a_gpu_that_is_newer_than_the_runtimes_tensorrt_is_told_before_anything_is_built(
    workspace: Workspace, second: NodeLayout
) -> None:
    """By the node's label, so that nothing starts there; where there is no label, by the container itself."""
    api, cluster, first = workspace.api, workspace.cluster, workspace.cluster.layout.first
    cluster.set_gpus(first, 1, B200)
    cluster.set_gpus(second, 0)
    try:
        model = {"source": {"uri": "pvc://models/tiny"}, "runtime": "fake-gpu", "conversion": {"precision": "FP16"}}
        api.create(trtmodel("tiny", **model))
        (job,) = eventually(lambda: api.list("Pod", "app.kubernetes.io/component=conversion"))
        eventually(lambda: "affinity" in unschedulable(api, job), seconds=30)
        eventually(lambda: "compute capability of at most 9.0" in message(api, "Ready", "tiny"))
        assert conditions(api, "tiny")["Ready"] == ("False", "ConversionPending")
        assert "for runtime 'fake-gpu' knows no newer" in message(api, "Ready", "tiny")

        cluster.set_gpus(first, 1, B200, labelled=False)
        eventually(lambda: conditions(api, "tiny").get("Stalled") == ("True", "GPUUnfit"), seconds=180)
        told = message(api, "Stalled", "tiny")
        assert f"This node's GPU is a {B200.name}, of compute capability 10.0" in told
        assert "knows GPUs up to 9.0" in told
        assert [pod["metadata"]["name"] for pod in api.list("Pod", "app.kubernetes.io/component=conversion")] == [
            job["metadata"]["name"]
        ], "it is tried once"
        assert not list(workspace.volume.glob("tftrt/*/*/*/builds"))
    finally:
        cluster.set_gpus(first, 1, A10)
        cluster.set_gpus(second, 1, H200)


def unschedulable(api: Api, pod: Json) -> str:
    """Why a pod is on no node, in the scheduler's words."""
    found = api.get("Pod", pod["metadata"]["name"])["status"].get("conditions", [])
    return next(str(item["message"]) for item in found if item["type"] == "PodScheduled" and item["status"] == "False")
