"""NetworkPolicies in force: who reaches a server, and what a Job's pods reach."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster import Cluster, operator_image
from tests.cluster.policies import NotInForceError
from tests.support.api import Api
from tests.support.trtmodels import job_names, trtmodel
from tests.support.waiting import eventually

from .conftest import Workspace, an_empty_namespace
from .test_served_model import is_serving, tiny

HTTP, GRPC, METRICS = 8000, 8001, 8002
AMOUNTS = {"cpu": "50m", "memory": "64Mi"}


@pytest.fixture
def in_force(cluster: Cluster) -> Iterator[None]:
    """NetworkPolicies count during the test, where this machine's kernel can."""
    try:
        with cluster.network_policies_in_force():
            yield
    except NotInForceError as why:
        pytest.skip(str(why))


@pytest.fixture
def elsewhere(cluster: Cluster) -> Iterator[Api]:
    """Another namespace."""
    with an_empty_namespace(cluster, "elsewhere") as found:
        yield found


class Client:
    """A pod that does nothing but ask."""

    def __init__(self, cluster: Cluster, api: Api) -> None:
        self._cluster, self._namespace = cluster, api.namespace
        security = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "client",
            "image": operator_image().name,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-c", "import signal; signal.pause()"],
            "securityContext": security,
            "resources": {"requests": AMOUNTS, "limits": AMOUNTS},
        }
        spec = {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "containers": [container]}
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec})
        cluster.kubectl("--namespace", api.namespace, "wait", "pod/client", "--for=condition=Ready", "--timeout=60s")

    def reaches(self, address: str, port: int) -> bool:
        """Whether a connection comes about."""
        return connects(self._cluster, self._namespace, "client", "client", address, port)


def connects(cluster: Cluster, namespace: str, pod: str, container: str, address: str, port: int) -> bool:
    """Whether a container comes to a connection. A policy shows as silence."""
    program = f"import socket; socket.create_connection(({address!r}, {port}), timeout=3)"
    inside = ("exec", pod, "--container", container, "--", "python3", "-c", program)
    try:
        cluster.kubectl("--namespace", namespace, *inside)
    except subprocess.CalledProcessError as failed:
        assert "TimeoutError" in failed.stderr or "timed out" in failed.stderr, failed.stderr
        return False
    return True


def test_a_server_is_reached_by_whom_its_model_names_and_by_nobody_else(
    workspace: Workspace, elsewhere: Api, in_force: None
) -> None:
    api, cluster = workspace.api, workspace.cluster
    here, there = Client(cluster, api), Client(cluster, elsewhere)
    api.create(tiny())
    eventually(lambda: is_serving(api, "tiny"), seconds=180)  # by the word of the kubelet, whose probes pass
    address = workspace.address("tiny")
    for port in (HTTP, GRPC, METRICS):
        eventually(lambda port=port: here.reaches(address, port))  # type: ignore[misc]
    assert not there.reaches(address, HTTP)
    assert not there.reaches(address, METRICS)
    with pytest.raises(TimeoutError):
        socket.create_connection((address, HTTP), timeout=3)  # from out of the cluster

    def let_in(**policy: object) -> None:
        api.patch("TRTModel", "tiny", {"spec": {"serving": {"networkPolicy": policy}}})

    let_in(**{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": elsewhere.namespace}}}]})
    eventually(lambda: there.reaches(address, HTTP))
    assert not there.reaches(address, METRICS)
    assert not here.reaches(address, HTTP), "who names others leaves the namespace out"

    let_in(mode="Unmanaged", **{"from": None})
    eventually(lambda: there.reaches(address, METRICS))
    eventually(lambda: here.reaches(address, HTTP))


def test_a_jobs_pod_reaches_its_source_and_no_other_port(workspace: Workspace, in_force: None) -> None:
    api, cluster = workspace.api, workspace.cluster
    host = cluster.layout.host_address
    with listening(host) as (source, asked), listening(host) as (other, _):
        api.create(trtmodel("tiny", source={"uri": f"http://{host}:{source}/tiny.tar.gz"}))
        (job,) = eventually(lambda: job_names(api))
        eventually(asked.is_set, seconds=60)  # and is kept waiting for an answer
        (pod,) = api.list("Pod", f"batch.kubernetes.io/job-name={job}")
        name = pod["metadata"]["name"]
        assert connects(cluster, api.namespace, name, "fetch", host, source)
        assert not connects(cluster, api.namespace, name, "fetch", host, other)
        assert Client(cluster, api).reaches(host, other), "it is there for whom no policy selects"


@contextmanager
def listening(address: str) -> Iterator[tuple[int, threading.Event]]:
    """Have somebody take connections at a port, and say nothing; the event says that somebody came."""
    came = threading.Event()
    taken: list[socket.socket] = []

    def take(server: socket.socket) -> None:
        try:
            while True:
                taken.append(server.accept()[0])
                came.set()
        except OSError:
            return  # closed

    with socket.create_server((address, 0)) as server:
        thread = threading.Thread(target=take, args=(server,), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()
