"""Nobody fights over the number of servers: Kubernetes' own autoscaler, kubectl, ours, and what a spec says.

What was written is counted by `metadata.generation`, which the API server raises with every write that changes a spec.
There is no metrics server here: an autoscaler knows its smallest and largest number alone, and looks every two seconds.
"""

import subprocess

import pytest

from tests.cluster import Cluster
from tests.support.api import Api, Json
from tests.support.trtmodels import conditions, message
from tests.support.waiting import eventually

from .kubelet import serving

QUIET_SECONDS = 20
KINDS = ("TRTModel", "Deployment")


def autoscaler(kind: str, least: int, most: int) -> Json:
    """One of a user's, on the TRTModel or past it."""
    api_version = {"TRTModel": "tftrt.dev/v1alpha1", "Deployment": "apps/v1"}[kind]
    target = {"apiVersion": api_version, "kind": kind, "name": "resnet50"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "mine"},
        "spec": {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most},
    }


def numbers(api: Api) -> tuple[int, int]:
    """How many replicas the TRTModel asks for, and its Deployment."""
    model, deployment = (api.get(kind, "resnet50")["spec"] for kind in KINDS)
    return model.get("serving", {}).get("replicas", 1), deployment["replicas"]


def generations(api: Api) -> dict[str, int]:
    return {kind: api.get(kind, "resnet50")["metadata"]["generation"] for kind in KINDS}


def expect_quiet(api: Api) -> None:
    """Hold that for a while, in which everybody has looked several times, nobody writes either spec."""
    before = generations(api)
    with api.watch("TRTModel", QUIET_SECONDS) as events:
        seen = [event["object"]["metadata"]["generation"] for event in events]
    assert set(seen) <= {before["TRTModel"]}
    assert generations(api) == before


def scale(cluster: Cluster, api: Api, what: str, replicas: int) -> None:
    cluster.kubectl("--namespace", api.namespace, "scale", what, f"--replicas={replicas}")


def test_an_autoscaler_of_the_users_and_kubectl_each_write_once(api: Api, cluster: Cluster) -> None:
    serving(api)
    before = generations(api)
    api.create(autoscaler("TRTModel", 2, 4))
    eventually(lambda: numbers(api) == (2, 2), seconds=30)
    scale(cluster, api, "trtmodel/resnet50", 7)
    eventually(lambda: numbers(api) == (4, 4), seconds=30)
    scale(cluster, api, "trtmodel/resnet50", 3)
    eventually(lambda: numbers(api) == (3, 3), seconds=30)
    expect_quiet(api)
    assert numbers(api) == (3, 3)
    after = generations(api)
    assert after["TRTModel"] - before["TRTModel"] == 4, "up to the least, by hand, down to the most, by hand"
    # The operator may have been too late to see what did not stay.
    assert 3 <= after["Deployment"] - before["Deployment"] <= 4

    # Past the TRTModel: what its spec says is put right, once for each time.
    scale(cluster, api, "deployment/resnet50", 1)
    eventually(lambda: generations(api)["Deployment"] == after["Deployment"] + 2)
    assert numbers(api) == (3, 3)
    expect_quiet(api)


def test_ours_goes_by_its_bounds_and_the_operator_leaves_the_number_to_it(api: Api, cluster: Cluster) -> None:
    serving(api, serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    eventually(lambda: numbers(api)[1] == 2, seconds=30)
    before = generations(api)
    scale(cluster, api, "deployment/resnet50", 9)
    eventually(lambda: numbers(api)[1] == 4, seconds=30)
    expect_quiet(api)
    assert numbers(api)[1] == 4
    after = generations(api)
    assert (after["TRTModel"] - before["TRTModel"], after["Deployment"] - before["Deployment"]) == (0, 2)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        scale(cluster, api, "trtmodel/resnet50", 3)
    assert "HorizontalPodAutoscaler sets the number" in refused.value.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_two_autoscalers_of_the_same_pods_both_stand_still(api: Api, kind: str) -> None:
    serving(api, serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 3}})
    eventually(lambda: numbers(api)[1] == 2, seconds=30)
    api.create(autoscaler(kind, 1, 6))
    eventually(lambda: conditions(api)["ScalingActive"] == ("False", "AmbiguousSelector"), seconds=60)
    assert "exclude each other" in message(api, "ScalingActive")
    expect_quiet(api)


def test_one_beside_ours_that_wants_a_number_beyond_its_bounds_is_refused_it(api: Api) -> None:
    """Kubernetes looks for others that scale the same pods only once a number is within an autoscaler's own bounds."""
    serving(api, serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 3}})
    eventually(lambda: numbers(api)[1] == 2, seconds=30)
    api.create(autoscaler("TRTModel", 5, 6))

    def able() -> Json:
        found = api.get("HorizontalPodAutoscaler", "mine")["status"]["conditions"]
        return next(one for one in found if one["type"] == "AbleToScale")

    assert eventually(lambda: able()["status"] == "False" and able(), seconds=30)["reason"] == "FailedUpdateScale"
    assert "HorizontalPodAutoscaler sets the number" in able()["message"]
    expect_quiet(api)


def test_one_on_the_deployment_is_overruled_again_and_again(api: Api) -> None:
    """Why docs/autoscaling.md has a user's autoscaler scale the TRTModel."""
    serving(api)
    api.create(autoscaler("Deployment", 2, 4))
    before = generations(api)
    eventually(lambda: generations(api)["Deployment"] >= before["Deployment"] + 2, seconds=30)
    assert generations(api)["TRTModel"] == before["TRTModel"]
