"""An operator for some namespaces only, which has rights nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import Cluster, audit
from tests.cluster.deploy import rendered
from tests.support.api import Api
from tests.support.trtmodels import conditions, job_names, trtmodel
from tests.support.waiting import eventually

from .conftest import CONFIG, STARTED, OperatorProcess, account_of
from .kubelet import finish_cleanup, serving

RELEASE = "some-namespaces"


@pytest.fixture
def namespaces(admin: Api) -> Iterator[tuple[Api, Api]]:
    names = [f"test-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    one, other = (admin.within(name) for name in names)
    yield one, other
    for model in one.list("TRTModel"):
        one.delete("TRTModel", model["metadata"]["name"])
    for name in names:
        admin.delete("Namespace", name)


@pytest.fixture
def watched(
    cluster: Cluster, namespaces: tuple[Api, Api], operator: OperatorProcess, tmp_path: Path
) -> Iterator[tuple[Api, Api]]:
    """Two namespaces with an operator at work that knows of no others; the one for all namespaces is away meanwhile."""
    names = [api.namespace for api in namespaces]
    values = yaml.safe_load(CONFIG) | {"watchNamespaces": names}
    (config_map,) = rendered(cluster, RELEASE, ["configmap"], values)
    account = account_of(cluster, RELEASE, tmp_path, values)
    some = OperatorProcess(account, tmp_path, config_map["data"]["config.yaml"])
    operator.stop()
    try:
        some.start()
        yield namespaces
        some.stop()
        assert "orbidden" not in some.log.read_text()
    finally:
        operator.start()


def test_it_serves_the_models_of_its_namespaces_and_leaves_all_others_alone(
    bare_api: Api, watched: tuple[Api, Api], cluster: Cluster
) -> None:
    bare_api.create(trtmodel())
    one, other = watched
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
    calls = [call for call in audit.calls(cluster.layout, STARTED) if call.user.endswith(f":{RELEASE}")]
    assert {call.namespace for call in calls if call.resource} == {one.namespace, other.namespace}
    assert all(call.authorized for call in calls)
