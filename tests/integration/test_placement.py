"""Pods go where their image, their GPU and their engine run: the real scheduler, and nodes that nobody runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.api import Api, Json
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

from .kubelet import finish_job, pod_of_job

GPU = "nvidia.com/gpu"
TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
BUCKETS: dict[str, Any] = {"source": {"uri": "s3://models/resnet50"}, "artifacts": {"uri": "s3://models/tftrt"}}
"""Where no claim is in the scheduler's way."""
NewNode = Callable[..., None]


def labels(product: str, capability: str) -> dict[str, str]:
    """What GPU feature discovery says of a node."""
    major, _, minor = capability.partition(".")
    return {f"{GPU}.product": product, f"{GPU}.compute.major": major, f"{GPU}.compute.minor": minor}


@pytest.fixture
def new_node(admin: Api) -> Iterator[NewNode]:
    """A function that makes a node with one GPU. No kubelet runs it: pods are bound to it, and stay as they are.

    Each test has names of its own: what was bound to a node of an earlier one is not gone at once.
    """
    made: list[str] = []

    def make(name: str, said: dict[str, str] | None = None, architecture: str = "amd64") -> None:
        amounts = {"cpu": "64", "memory": "256Gi", "pods": "99", "ephemeral-storage": "1Ti", GPU: "1"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/arch": architecture, **(said or {})}},
            "spec": {"taints": [TAINT]},
            "status": {
                "capacity": amounts,
                "allocatable": amounts,
                "conditions": [{"type": "Ready", "status": "True", "reason": "Test"}],
            },
        }
        admin.create(node)
        made.append(name)

    yield make
    for name in made:
        admin.delete("Node", name)


def test_a_mixed_cluster_converts_and_serves_where_it_can(api: Api, new_node: NewNode) -> None:
    new_node("blackwell", labels("NVIDIA-B200", "10.0"))
    new_node("arm", labels("NVIDIA-GH200-480GB", "9.0"), "arm64")
    api.create(trtmodel(**BUCKETS, runtime="triton"))
    (job,) = eventually(lambda: job_names(api))
    eventually(lambda: "compute capability of at most 9.0" in message(api, "Ready"))
    assert "for runtime 'triton' knows no newer" in message(api, "Ready")

    new_node("ampere", labels("NVIDIA-A10", "8.6"))
    eventually(lambda: where(pod_of_job(api, job)) == "ampere")
    occupy(api, "ampere")
    finish_job(api, job, device="NVIDIA A10")

    new_node("hopper", labels("NVIDIA-H100", "9.0"))
    eventually(lambda: conditions(api)["Ready"] == ("False", "InsufficientGPU"))
    built_on = f"{GPU}.product=NVIDIA-A10 or without that label, for the engine was built on NVIDIA-A10"
    assert built_on in message(api, "Ready")

    new_node("unlabelled")
    (server,) = eventually(lambda: [pod for pod in servers(api) if where(pod)])
    assert where(server) == "unlabelled", "what no label tells the server itself finds out"


def test_an_affinity_of_the_specs_own_holds_beside_the_engines(api: Api, new_node: NewNode) -> None:
    vision, speech = {"pool": "vision"}, {"pool": "speech"}
    new_node("a10-vision", labels("NVIDIA-A10", "8.6") | vision)
    within = {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["vision"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [within]}}
    api.create(trtmodel(**BUCKETS, runtime="triton", pods={"affinity": {"nodeAffinity": required}}))
    (job,) = eventually(lambda: job_names(api))
    eventually(lambda: where(pod_of_job(api, job)) == "a10-vision")
    occupy(api, "a10-vision")
    finish_job(api, job, device="NVIDIA A10")

    new_node("h100-vision", labels("NVIDIA-H100", "9.0") | vision)
    new_node("a10-speech", labels("NVIDIA-A10-SHARED", "8.6") | speech)
    eventually(lambda: conditions(api)["Ready"] == ("False", "InsufficientGPU"))
    new_node("a10-shared", labels("NVIDIA-A10-SHARED", "8.6") | vision)
    (server,) = eventually(lambda: [pod for pod in servers(api) if where(pod)])
    assert where(server) == "a10-shared"


def where(pod: Json) -> str:
    return str(pod["spec"].get("nodeName", ""))


def servers(api: Api) -> list[Json]:
    return api.list("Pod", "app.kubernetes.io/component=server")


def occupy(api: Api, node: str) -> None:
    """Take the node's GPU, as somebody who does not ask the scheduler: none is free there when this pod's is."""
    taken = {"containers": [{"name": "c", "image": "i", "resources": {"limits": {GPU: "1"}}}], "nodeName": node}
    api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": taken})
