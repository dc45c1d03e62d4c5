"""The autoscaler that a spec gets which names no metric, and what its examples ask for."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tftrt_operator.api import API_VERSION, KIND
from tftrt_operator.domain.manifests.horizontal_pod_autoscaler import horizontal_pod_autoscaler

from .builders import trtmodel
from .test_pods import templates

EXAMPLES = Path(__file__).parents[2] / "examples"


def autoscaler(resources: dict[str, Any] | None = None, **autoscaling: Any) -> dict[str, Any]:
    model = trtmodel(serving={"autoscaling": {"maxReplicas": 5} | autoscaling, "resources": resources or {}})
    assert model.spec.serving.autoscaling is not None
    spec: dict[str, Any] = horizontal_pod_autoscaler(model, model.spec.serving.autoscaling).body["spec"]
    return spec


@pytest.mark.parametrize(
    ("resources", "millicores"),
    [
        (None, "800m"),
        ({"requests": {"memory": "1Gi"}}, "800m"),
        ({"requests": {"cpu": "4"}, "limits": {"cpu": "8"}}, "3200m"),
        ({"limits": {"cpu": "500m"}}, "400m"),
        ({"requests": {"cpu": "1m"}}, "1m"),
        ({"requests": {"cpu": "0"}}, "800m"),
    ],
)
def test_a_server_is_busy_at_80_percent_of_what_the_spec_asks_for_or_of_one_core(
    resources: dict[str, Any] | None, millicores: str
) -> None:
    """Of the request that it gets without being asked (250m), 80 % would be what it idles with."""
    (metric,) = autoscaler(resources)["metrics"]
    target = {"type": "AverageValue", "averageValue": millicores}
    assert metric == {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": "server", "target": target},
    }


def test_what_it_looks_at_is_the_servers_own_container() -> None:
    (metric,) = autoscaler()["metrics"]
    (server,) = templates(trtmodel())["server"]["spec"]["containers"]
    assert metric["containerResource"]["container"] == server["name"]


def test_metrics_of_the_specs_own_take_the_place_of_the_default() -> None:
    mine = {"type": "Pods", "pods": {"metric": {"name": "x"}, "target": {"type": "AverageValue", "averageValue": "8"}}}
    assert autoscaler(metrics=[mine])["metrics"] == [mine]


def test_pods_are_taken_away_one_by_one_and_not_at_once() -> None:
    down = autoscaler()["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 300
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_an_autoscaler_of_ones_own_scales_the_trtmodel() -> None:
    scaled = yaml.safe_load((EXAMPLES / "keda-scaledobject.yaml").read_text())
    assert scaled["spec"]["scaleTargetRef"] == {"apiVersion": API_VERSION, "kind": KIND, "name": "resnet50"}
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    assert query.rstrip().endswith("or vector(0)"), "it is a number when nobody asks, and where no server is up"


def test_the_adapters_metric_is_the_one_that_the_example_scales_on() -> None:
    rules = yaml.safe_load((EXAMPLES / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    model = yaml.safe_load((EXAMPLES / "resnet50-autoscaled.yaml").read_text())
    (metric,) = model["spec"]["serving"]["autoscaling"]["metrics"]
    assert metric["type"] == "Pods"
    assert [rule["name"]["as"] for rule in rules] == [metric["pods"]["metric"]["name"]]
