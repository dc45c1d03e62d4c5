"""Two nodes: a drain moves what runs on one to the other, and it answers whoever asks, from wherever."""

import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.cluster import Cluster, operator_image
from tests.cluster.layout import NodeLayout
from tests.cluster.policies import NotInForceError
from tests.support.api import Api, Json
from tests.support.waiting import eventually

from .conftest import an_empty_namespace

PORT = 8080
WHERE = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
# Says where it runs.
SERVER = f"""
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["NODE"].encode())
http.server.ThreadingHTTPServer(("", {PORT}), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def second(cluster: Cluster) -> Iterator[NodeLayout]:
    """A second node, while this module runs."""
    with cluster.second_node() as node:
        cluster.load_image(operator_image())
        yield node


@pytest.fixture
def api(cluster: Cluster) -> Iterator[Api]:
    """An empty namespace."""
    with an_empty_namespace(cluster, "nodes") as found:
        yield found


def pod_of(program: str, **spec: object) -> Json:
    container = {
        "name": "python",
        "image": operator_image().name,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", program],
        "env": [WHERE],
    }
    return {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}


def web(prefers: str) -> tuple[Json, Json]:
    """A Deployment of one pod that would rather run on this node, and its Service."""
    labels = {"app": "web"}
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [prefers]}]}
    affinity = {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]}
    }
    ready = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    pod = pod_of(SERVER, affinity=affinity)
    pod["containers"][0]["readinessProbe"] = ready
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": PORT}]},
    }
    return deployment, service


def asked_from(cluster: Cluster, api: Api, node: NodeLayout, label: str = "anybody") -> str:
    """What a pod of this node is answered, by the Service's name; it has a label."""
    name = f"{label}-on-{node.name}"
    ask = f"import urllib.request; print(urllib.request.urlopen('http://web:{PORT}', timeout=5).read().decode())"
    if not api.exists("Pod", name):
        spec = pod_of("import signal; signal.pause()", nodeName=node.name)
        metadata = {"name": name, "labels": {"who": label}}
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        cluster.kubectl("-n", api.namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    return cluster.kubectl("-n", api.namespace, "exec", name, "--", "python", "-c", ask).strip()


def nodes_of_what_stays(api: Api) -> list[str | None]:
    """The node of each web pod that is not being deleted; None where the scheduler has not chosen one yet."""
    pods = api.list("Pod", "app=web")
    return [pod["spec"].get("nodeName") for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def test_a_drain_moves_a_pod_to_the_other_node_and_it_answers_from_outside_and_from_both_nodes(
    cluster: Cluster, second: NodeLayout, api: Api
) -> None:
    first = cluster.layout.first
    nodes = cluster.kubectl("get", "nodes", "--no-headers").splitlines()
    assert [line.split()[:2] for line in nodes] == [[first.name, "Ready"], [second.name, "Ready"]]

    for manifest in web(prefers=second.name):
        api.create(manifest)
    address = f"http://{api.get('Service', 'web')['spec']['clusterIP']}:{PORT}"

    def asked_from_outside() -> str:
        try:
            return httpx.get(address, timeout=5).text
        except httpx.HTTPError as fault:
            raise AssertionError(fault) from fault

    assert eventually(asked_from_outside, seconds=60) == second.name
    assert asked_from(cluster, api, first) == second.name

    try:
        cluster.kubectl("drain", second.name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        # The drain waits for the old pod's end, not until the new one has its node.
        eventually(lambda: nodes_of_what_stays(api) == [first.name], seconds=60)
        eventually(lambda: asked_from_outside() == first.name, seconds=60)
    finally:
        cluster.kubectl("uncordon", second.name)
    assert asked_from(cluster, api, first) == first.name
    assert asked_from(cluster, api, second) == first.name


def test_network_policies_are_in_force_between_the_nodes(cluster: Cluster, second: NodeLayout, api: Api) -> None:
    first = cluster.layout.first
    for manifest in web(prefers=second.name):
        api.create(manifest)
    eventually(lambda: api.get("Deployment", "web")["status"].get("readyReplicas") == 1, seconds=60)
    policy = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"who": "friend"}}}]}],
    }

    def is_answered(label: str) -> bool:
        try:
            return asked_from(cluster, api, first, label) == second.name
        except subprocess.CalledProcessError as failed:
            assert "timed out" in failed.stderr, failed.stderr
            return False

    try:
        with cluster.network_policies_in_force():
            assert is_answered("friend")
            assert is_answered("stranger")
            kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "web"}}
            api.create({**kind, "spec": policy})
            eventually(lambda: not is_answered("stranger"))
            assert is_answered("friend")
    except NotInForceError as why:
        pytest.skip(str(why))
