"""Two nodes: a drain moves what runs on one to the other, and it answers whoever asks, from wherever."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.cluster import Cluster, operator_image
from tests.cluster.layout import NodeLayout
from tests.support.api import Api, Json
from tests.support.waiting import eventually

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
    admin = Api.from_kubeconfig(cluster.kubeconfig)
    name = f"nodes-{uuid.uuid4().hex[:8]}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield admin.within(name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


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


def asked_from(cluster: Cluster, api: Api, node: NodeLayout) -> str:
    """What a pod of this node is answered, by the Service's name."""
    name = f"asks-from-{node.name}"
    ask = f"import urllib.request; print(urllib.request.urlopen('http://web:{PORT}', timeout=5).read().decode())"
    if not api.exists("Pod", name):
        spec = pod_of("import signal; signal.pause()", nodeName=node.name)
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        cluster.kubectl("-n", api.namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    return cluster.kubectl("-n", api.namespace, "exec", name, "--", "python", "-c", ask).strip()


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
        pods = api.list("Pod", "app=web")
        assert [pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"]] == [first.name]
        eventually(lambda: asked_from_outside() == first.name, seconds=60)
    finally:
        cluster.kubectl("uncordon", second.name)
    assert asked_from(cluster, api, first) == first.name
    assert asked_from(cluster, api, second) == first.name
