"""The example with TLS and authentication in front of a model, against the schemas of those who read it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import Cluster
from tests.cluster.layout import SOURCE
from tests.cluster.prerequisites import find
from tests.support.api import Api
from tests.support.waiting import eventually

from .kubelet import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "gateway.yaml"
GATEWAY_API = ("gateways", "httproutes", "grpcroutes")
ENVOY_GATEWAY = ("securitypolicies", "backendtrafficpolicies")


def module(path: str) -> Path:
    """The folder of a Go module, in the version that tools/gateway pins and with the hash that its go.sum has."""
    go = find("go") or "/usr/local/go/bin/go"
    done = subprocess.run(
        [go, "mod", "download", "-json", path],
        cwd=SOURCE / "tools" / "gateway",
        env={**os.environ, "GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(json.loads(done.stdout)["Dir"])


def definitions() -> list[Path]:
    """The custom resource definitions that the example is of."""
    standard = module("sigs.k8s.io/gateway-api") / "config/crd/standard"
    envoy = module("github.com/envoyproxy/gateway") / "charts/gateway-crds-helm/templates/generated"
    return [
        *(standard / f"gateway.networking.k8s.io_{kind}.yaml" for kind in GATEWAY_API),
        *(envoy / f"gateway.envoyproxy.io_{kind}.yaml" for kind in ENVOY_GATEWAY),
    ]


def plain(file: Path) -> Any:
    """What a file of Envoy Gateway's chart has within the template's condition."""
    text = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("{{"))
    return next(document for document in yaml.safe_load_all(text) if document)


@pytest.fixture(scope="module")
def gateway_apis(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the kinds of the example."""
    made = json.dumps({"apiVersion": "v1", "kind": "List", "items": [plain(file) for file in definitions()]})
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=made)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", "-", stdin=made)
    yield cluster
    cluster.kubectl("delete", "-f", "-", stdin=made)


def tried(cluster: Cluster, text: str) -> str:
    """What the API server says to these objects, of which it keeps nothing."""
    return cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


def test_the_api_server_takes_the_example(gateway_apis: Cluster) -> None:
    said = tried(gateway_apis, EXAMPLE.read_text())
    kinds = [document["kind"].lower() for document in yaml.safe_load_all(EXAMPLE.read_text())]
    assert len(said.splitlines()) == len(kinds) == 6
    for kind, line in zip(kinds, said.splitlines(), strict=True):
        assert line.startswith(kind)
        assert line.endswith("serverside-applied (server dry run)")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("certificateRefs", "certificates"),
        ("PathPrefix", "Prefix"),
        ("remoteJWKS", "jwks"),
        ("requestTimeout", "request"),
    ],
)
def test_it_would_not_take_another_one(gateway_apis: Cluster, right: str, wrong: str) -> None:
    with pytest.raises(Exception, match=wrong):
        tried(gateway_apis, EXAMPLE.read_text().replace(right, wrong, 1))


def test_the_routes_lead_to_the_ports_that_a_model_has_and_the_model_lets_the_gateway_in(api: Api) -> None:
    documents = {document["kind"]: document for document in yaml.safe_load_all(EXAMPLE.read_text())}
    serving(api, serving=documents["TRTModel"]["spec"]["serving"])
    ports = {port["port"]: port.get("appProtocol") for port in api.get("Service", "resnet50")["spec"]["ports"]}
    for kind, protocol in (("HTTPRoute", "http"), ("GRPCRoute", "kubernetes.io/h2c")):
        (rule,) = documents[kind]["spec"]["rules"]
        (backend,) = rule["backendRefs"]
        assert backend["name"] == "resnet50"
        assert ports[backend["port"]] == protocol
    policy = eventually(lambda: api.get("NetworkPolicy", "resnet50"))["spec"]
    asked = next(rule for rule in policy["ingress"] if any(port["port"] == "http" for port in rule["ports"]))
    assert asked["from"] == documents["TRTModel"]["spec"]["serving"]["networkPolicy"]["from"]
