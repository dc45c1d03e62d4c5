"""An operator for some namespaces only, which has rights nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import Cluster, audit
from tests.cluster.deploy import account_kubeconfig, rendered
from tests.support.api import Api
from tests.support.trtmodels import conditions, job_names, trtmodel
from tests.support.waiting import eventually

from .conftest import CONFIG, STARTED, OperatorProcess
from .kubelet import finish_cleanup, serving

RELEASE = "some-namespaces"


@pytest.fixture
def namespaces(admin: Api) -> Iterator[tuple[Api, Api]]:
    names = [f"test-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    one, other = (admin.within(name) for name in names)
    yield one, other
    for api in (one, other):
        for model in api.list("TRTModel"):
            api.delete("TRTModel", model["metadata"]["name"])
    for name in names:
        if admin.exists("Namespace", name):
            admin.delete("Namespace", name)


@pytest.fixture
def some(
    cluster: Cluster, namespaces: tuple[Api, Api], operator: OperatorProcess, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """An operator that knows of these namespaces only; the one for all of them is away meanwhile."""
    values = yaml.safe_load(CONFIG) | {"watchNamespaces": [api.namespace for api in namespaces]}
    (config_map,) = rendered(cluster, RELEASE, ["configmap"], values)
    account = account_kubeconfig(cluster, RELEASE, tmp_path, values)
    process = OperatorProcess(account, tmp_path, config_map["data"]["config.yaml"], release=RELEASE)
    operator.stop()
    try:
        process.start()
        yield process
        process.stop()
    finally:
        operator.start()


def asked(cluster: Cluster) -> list[audit.Call]:
    return [call for call in audit.calls(cluster.layout, STARTED) if call.user.endswith(f":{RELEASE}")]


def test_it_serves_the_models_of_its_namespaces_and_leaves_all_others_alone(
    bare_api: Api, namespaces: tuple[Api, Api], some: OperatorProcess, cluster: Cluster
) -> None:
    bare_api.create(trtmodel())
    one, other = namespaces
    serving(one)
    serving(other, artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"})
    one.delete("Service", "resnet50")
    eventually(lambda: one.exists("Service", "resnet50"))
    other.delete("TRTModel", "resnet50")
    cleanup = eventually(lambda: [name for name in job_names(other) if "-cleanup-" in name])[0]
    finish_cleanup(other, cleanup)
    eventually(lambda: not other.exists("TRTModel", "resnet50"))

    assert conditions(bare_api)["Ready"] == ("Unknown", "Pending")
    assert job_names(bare_api) == []
    of_models = [call for call in asked(cluster) if call.resource and call.resource != "leases"]
    assert {call.namespace for call in of_models} == {one.namespace, other.namespace}
    assert "orbidden" not in some.log.read_text()


def test_a_namespace_that_goes_stops_no_other_not_even_after_a_restart(
    admin: Api, namespaces: tuple[Api, Api], some: OperatorProcess
) -> None:
    one, other = namespaces
    serving(one)
    before = job_names(one)
    admin.delete("Namespace", other.namespace)
    eventually(lambda: not admin.exists("Namespace", other.namespace), seconds=60)
    some.stop()
    some.launch()
    one.patch("TRTModel", "resnet50", {"spec": {"conversion": {"maxBatchSize": 4}}})
    eventually(lambda: [name for name in job_names(one) if name not in before])
    assert some.answer("healthz")[0] == 200
    status, words = some.answer("readyz")
    assert status == 503
    assert f'cannot list resource "trtmodels" in API group "tftrt.dev" in the namespace "{other.namespace}"' in words
