"""The example with TLS and authentication in front of a model, against the schemas of those who read it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import Cluster
from tests.support.api import Api
from tests.support.go_modules import defined, module, tried
from tests.support.waiting import eventually

from .kubelet import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "gateway.yaml"
LONGEST_CALL = "120s"
"""docs/how-it-works.md, the end of a pod."""
GATEWAY_API = ("gateways", "httproutes", "grpcroutes")
ENVOY_GATEWAY = ("securitypolicies", "backendtrafficpolicies")


def definitions() -> list[Path]:
    """The custom resource definitions that the example is of."""
    standard = module("gateway", "sigs.k8s.io/gateway-api") / "config/crd/standard"
    envoy = module("gateway", "github.com/envoyproxy/gateway") / "charts/gateway-crds-helm/templates/generated"
    return [
        *(standard / f"gateway.networking.k8s.io_{kind}.yaml" for kind in GATEWAY_API),
        *(envoy / f"gateway.envoyproxy.io_{kind}.yaml" for kind in ENVOY_GATEWAY),
    ]


@pytest.fixture(scope="module")
def gateway_apis(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the kinds of the example."""
    with defined(cluster, definitions()):
        yield cluster


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
    assert documents["HTTPRoute"]["spec"]["rules"][0]["timeouts"]["request"] == LONGEST_CALL
    assert documents["BackendTrafficPolicy"]["spec"]["timeout"]["http"]["requestTimeout"] == LONGEST_CALL
    assert asked["from"] == documents["TRTModel"]["spec"]["serving"]["networkPolicy"]["from"]
