"""An API server that is away. After the tests that need Kubernetes' own controllers, which come back a minute later."""

from tests.cluster import Cluster
from tests.support.api import Api
from tests.support.trtmodels import job_names, trtmodel
from tests.support.waiting import eventually

from .conftest import OperatorProcess
from .kubelet import serving


def test_an_api_server_that_is_away_is_waited_for_without_a_restart(
    cluster: Cluster, api: Api, operator: OperatorProcess
) -> None:
    serving(api)
    with cluster.without_api_server():
        assert operator.answer("readyz") == (503, "the API server does not answer\n")
        assert operator.answer("healthz")[0] == 200
    operator.wait_until_healthy()
    api.create(trtmodel("later", source={"uri": "pvc://models/other"}))
    eventually(lambda: [name for name in job_names(api) if name.startswith("later-")], seconds=60)
