"""examples/gateway.yaml in front of a served model: Envoy Gateway by its own chart, on the embedded cluster."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import Cluster, Image, gateway_image
from tests.e2e.conftest import Workspace, a_workspace, cluster, models
from tests.e2e.test_served_model import is_serving
from tests.support.certificates import Issuer
from tests.support.go_modules import module
from tests.support.waiting import eventually

from .tokens import Tokens

__all__ = ["cluster", "models"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "gateway.yaml"
NAMESPACE, RELEASE = "envoy-gateway-system", "eg"
"""Those of Envoy Gateway's documentation; the example's model lets this namespace in."""


@pytest.fixture(scope="session")
def envoy_gateway(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster with Envoy Gateway, as a platform team installs it, and the class that it is known by."""
    image = gateway_image()
    cluster.load_image(image)
    chart = tmp_path_factory.mktemp("chart") / "gateway-helm"
    shutil.copytree(module("gateway", "github.com/envoyproxy/gateway") / "charts" / "gateway-helm", chart)
    for path in (chart, *chart.rglob("*")):
        path.chmod(0o755)  # as the cache of modules has it, nobody may write
    values = (chart / "values.tmpl.yaml").read_text()
    values = values.replace("${GatewayImage}", image.full_name).replace("${GatewayImagePullPolicy}", "IfNotPresent")
    (chart / "values.yaml").write_text(values)
    place = ("--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "300s")
    cluster.helm("upgrade", "--install", RELEASE, str(chart), *place)
    documents = yaml.safe_dump_all(gateway_class(image))
    cluster.kubectl("apply", "-f", "-", stdin=documents)
    yield cluster
    cluster.kubectl("delete", "-f", "-", stdin=documents)
    cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    cluster.kubectl("delete", "namespace", NAMESPACE)
    cluster.kubectl("delete", "--recursive", "-f", str(chart / "charts" / "crds" / "crds"))


def gateway_class(image: Image) -> list[Any]:
    """The example's class. This cluster has nobody who gives addresses to Services of type LoadBalancer."""
    deployment = {"container": {"image": image.full_name}}
    service = {"type": "ClusterIP"}
    proxy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyProxy",
        "metadata": {"name": "inside", "namespace": NAMESPACE},
        "spec": {
            "provider": {
                "type": "Kubernetes",
                "kubernetes": {"envoyService": service, "envoyDeployment": deployment},
            }
        },
    }
    reference = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "inside", "namespace": NAMESPACE}
    return [
        proxy,
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "envoy"},
            "spec": {
                "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
                "parametersRef": reference,
            },
        },
    ]


@dataclass(frozen=True)
class Behind:
    """A served model behind the gateway, and what its clients are given."""

    workspace: Workspace
    address: str
    authority: Path
    """The certificate that clients trust."""
    tokens: Tokens


@pytest.fixture(scope="module")
def behind(envoy_gateway: Cluster, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """The example, applied: what is a user's in it is ours; its model runs without a GPU, and takes large requests."""
    folder = tmp_path_factory.mktemp("gateway")
    issuer, tokens = Issuer.new(), Tokens.new()
    (folder / "ca.crt").write_bytes(issuer.certificate)
    with a_workspace(envoy_gateway, models) as workspace:
        api = workspace.api
        certificate, key = issuer.for_name("*.models.example.com")
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "models-example-com"},
            "stringData": {"tls.crt": certificate.decode(), "tls.key": key.decode()},
        }
        workspace.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([secret, *example(api.namespace, tokens)]))
        workspace.kubectl("wait", "gateway/models", "--for=condition=Programmed", "--timeout=180s")
        eventually(lambda: is_serving(api, "resnet50"), seconds=300)
        address = workspace.kubectl("get", "gateway", "models", "-o", "jsonpath={.status.addresses[0].value}")
        for kind in ("httproute", "grpcroute"):
            assert accepted(workspace, kind), kind
        yield Behind(workspace, address, folder / "ca.crt", tokens)
        workspace.kubectl("delete", "gateway", "models")


def example(namespace: str, tokens: Tokens) -> Iterator[Any]:
    """The documents of the example, in this namespace, with the keys of these tokens."""
    for document in yaml.safe_load_all(EXAMPLE.read_text()):
        document["metadata"]["namespace"] = namespace
        if document["kind"] == "SecurityPolicy":
            (provider,) = document["spec"]["jwt"]["providers"]
            # An issuer elsewhere would be asked for its keys over the network.
            del provider["remoteJWKS"]
            provider["localJWKS"] = {"type": "Inline", "inline": json.dumps(tokens.keys)}
        if document["kind"] == "TRTModel":
            document["spec"] |= {
                "source": {"uri": "pvc://models/totals"},
                "runtime": "cpu",
                "conversion": {"maxBatchSize": 128, "batchSizes": [1, 128]},
            }
            document["spec"]["serving"]["replicas"] = 2
        yield document


def accepted(workspace: Workspace, kind: str) -> bool:
    found = json.loads(workspace.kubectl("get", kind, "resnet50", "-o", "json"))
    (parent,) = found["status"]["parents"]
    return {("Accepted", "True"), ("ResolvedRefs", "True")} <= {
        (one["type"], one["status"]) for one in parent["conditions"]
    }
