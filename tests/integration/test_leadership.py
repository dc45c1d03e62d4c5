"""Of two replicas one acts; when it ends, however it does, the other one takes over, and nothing is done twice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.deploy import NAMESPACE, RELEASE, account_kubeconfig
from tests.support.api import Api, Json
from tests.support.trtmodels import job_names, trtmodel
from tests.support.waiting import eventually

from .conftest import HEALTH_PORT, OperatorProcess

TAKES_OVER_SECONDS = 15
"""From the end of one that says nothing; docs/how-it-works.md."""

Replicas = tuple[OperatorProcess, OperatorProcess]


@pytest.fixture
def replicas(cluster: Cluster, operator: OperatorProcess, tmp_path: Path) -> Iterator[Replicas]:
    """One that acts and one that waits, in place of the one of the other tests."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first, second = (
        OperatorProcess(account_kubeconfig(cluster, RELEASE, folder, {}), folder, port=HEALTH_PORT + number)
        for number, folder in enumerate(folders, 1)
    )
    operator.stop()
    try:
        first.start()
        eventually(lambda: lease(cluster)["spec"]["holderIdentity"])
        second.start()
        yield first, second
    finally:
        for replica in (first, second):
            if replica.runs():
                replica.stop()
        operator.start()


def lease(cluster: Cluster) -> Json:
    return Api.from_kubeconfig(cluster.kubeconfig).within(NAMESPACE).get("Lease", RELEASE)


def applied(api: Api, name: str) -> float:
    """Apply a model; seconds until its Job is there."""
    began = time.monotonic()
    api.create(trtmodel(name, source={"uri": f"pvc://models/{name}"}))
    eventually(lambda: [job for job in job_names(api) if job.startswith(f"{name}-")], seconds=60)
    return time.monotonic() - began


def test_one_that_is_killed_is_followed_within_fifteen_seconds(replicas: Replicas, bare_api: Api) -> None:
    first, second = replicas
    applied(bare_api, "before")
    assert second.answer("readyz")[1].endswith(" acts\n"), "it waits, and could take over"
    first.kill()
    assert applied(bare_api, "after") < TAKES_OVER_SECONDS
    assert len(job_names(bare_api)) == 2


def test_one_that_is_told_to_end_is_followed_at_once(replicas: Replicas, bare_api: Api) -> None:
    first, _ = replicas
    first.stop()
    assert applied(bare_api, "after") < TAKES_OVER_SECONDS / 3


def test_one_that_stood_still_ends_where_another_has_acted_since(
    replicas: Replicas, bare_api: Api, cluster: Cluster
) -> None:
    first, second = replicas
    holder = lease(cluster)["spec"]["holderIdentity"]
    first.pause()
    assert applied(bare_api, "meanwhile") < TAKES_OVER_SECONDS
    first.resume()
    assert first.ended(seconds=20) == 1
    assert "is not ours any more" in first.log.read_text()
    assert lease(cluster)["spec"]["holderIdentity"] not in ("", holder)
    assert len(job_names(bare_api)) == 1
    assert second.answer("readyz")[0] == 200


def test_somebody_elses_lease_is_awaited_and_one_without_end_is_not(
    replicas: Replicas, bare_api: Api, cluster: Cluster
) -> None:
    """An administrator's mistake, or another release's of the same name: a holder that never renews."""
    first, second = replicas
    admin = Api.from_kubeconfig(cluster.kubeconfig).within(NAMESPACE)
    admin.patch("Lease", RELEASE, {"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 2**31 - 1}})
    assert first.ended(seconds=20) == 1
    assert applied(bare_api, "after") < 2 * TAKES_OVER_SECONDS
    assert second.answer("readyz")[0] == 200
