"""The chart's monitors, alerts and dashboard: the kinds are Prometheus Operator's, the engine is Prometheus' own."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import Cluster
from tests.cluster.deploy import CHART, NAMESPACE, RELEASE, rendered
from tests.cluster.tools import kubernetes_version
from tests.support.api import Api
from tests.support.go_modules import defined, module, tried
from tests.support.prometheus import Alert, Load, Operator, Prometheus, Server, series
from tftrt_operator.controller.metrics import Metrics
from tftrt_operator.domain.milestones import BecameReady, ConversionEnded
from tftrt_operator.domain.verdict import Standing

from .conftest import TEST_INSTANCE
from .kubelet import serving

ROOT = Path(__file__).parents[2]
ON = {name: {"enabled": True} for name in ("podMonitors", "alerts", "dashboard")}
MONITORING_KINDS = ("podmonitors", "prometheusrules")
TARGET = {"namespace", "pod", "job"}
HOUR = 3600.0


@cache
def made(template: str) -> list[Any]:
    """The objects of a template, with all of it switched on."""
    return rendered(Cluster(TEST_INSTANCE), RELEASE, [template], {"monitoring": ON})


def groups() -> list[Any]:
    (rule,) = made("alerts")
    found: list[Any] = rule["spec"]["groups"]
    return found


def expressions() -> dict[str, str]:
    return {rule["alert"]: rule["expr"] for group in groups() for rule in group["rules"]}


# What the API server makes of it.


@pytest.fixture(scope="module")
def prometheus_operator(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the kinds that the chart asks for."""
    folder = module("monitoring", "github.com/prometheus-operator/prometheus-operator") / "example"
    place = folder / "prometheus-operator-crd"
    with defined(cluster, [place / f"monitoring.coreos.com_{kind}.yaml" for kind in MONITORING_KINDS]):
        if f"namespace/{NAMESPACE}" not in cluster.kubectl("get", "namespaces", "-o", "name").split():
            cluster.kubectl("create", "namespace", NAMESPACE)
        yield cluster


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    cluster = Cluster(TEST_INSTANCE)
    text = cluster.helm("template", RELEASE, str(CHART), "--kube-version", kubernetes_version())
    kinds = {one["kind"] for one in yaml.safe_load_all(text) if one}
    assert kinds.isdisjoint({"PodMonitor", "PrometheusRule"})
    assert "grafana" not in text


@pytest.mark.parametrize("namespaces", [[], ["vision", "speech"]])
def test_the_api_server_takes_it(prometheus_operator: Cluster, namespaces: list[str]) -> None:
    values = {
        "watchNamespaces": namespaces,
        "monitoring": {part: {"enabled": True, "labels": {"release": "prometheus"}} for part in ON},
    }
    objects = rendered(prometheus_operator, RELEASE, ["podmonitors", "alerts", "dashboard"], values)
    said = tried(prometheus_operator, yaml.safe_dump_all(objects))
    assert len(said.splitlines()) == len(objects) == 4
    assert all(line.endswith("serverside-applied (server dry run)") for line in said.splitlines())
    assert all(one["metadata"]["labels"]["release"] == "prometheus" for one in objects)
    servers = next(one for one in objects if one["metadata"]["name"].endswith("-servers"))
    wanted = {"matchNames": namespaces} if namespaces else {"any": True}
    assert servers["spec"]["namespaceSelector"] == wanted


@pytest.mark.parametrize(("right", "wrong"), [("podMetricsEndpoints", "endpoints"), ("expr:", "expression:")])
def test_it_would_not_take_another_one(prometheus_operator: Cluster, right: str, wrong: str) -> None:
    text = yaml.safe_dump_all([*made("podmonitors"), *made("alerts")])
    assert right in text
    with pytest.raises(Exception, match=wrong.strip(":")):
        tried(prometheus_operator, text.replace(right, wrong))


def test_the_monitors_select_the_pods_that_there_are_and_a_port_that_they_have(api: Api) -> None:
    serving(api)
    pods = {
        f"{RELEASE}-servers": api.get("Deployment", "resnet50")["spec"]["template"],
        RELEASE: rendered(Cluster(TEST_INSTANCE), RELEASE, ["deployment"], {})[0]["spec"]["template"],
    }
    for monitor in made("podmonitors"):
        pod = pods.pop(monitor["metadata"]["name"])
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert wanted <= pod["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        ports = [port["name"] for one in pod["spec"]["containers"] for port in one["ports"]]
        assert endpoint["port"] in ports
    assert not pods


# The alerts.


ONE, OTHER = "resnet50-7c9d8b6f5d-2xkqp", "resnet50-7c9d8b6f5d-9zvlt"
LEADER, WAITING = "tftrt-operator-6f7c9d-abcde", "tftrt-operator-6f7c9d-vwxyz"
BUSY = Load(requests=40, waits=0.15, takes=0.05)


def failing(share: float, code: str = "INTERNAL") -> list[Load]:
    return [replace(BUSY, requests=40 * (1 - share)), Load(requests=40 * share, takes=0.1, code=code)]


def at_work(metrics: Metrics, seconds: float) -> None:
    """What an operator counts in whose cluster all is well."""
    for _ in range(int(seconds / 60)):
        metrics.passed("Done", 0.02)
        metrics.requested("PATCH", 200)
    for _ in range(int(seconds / 600)):
        metrics.reached(ConversionEnded(True, "Converted"))
        metrics.reached(BecameReady(150.0))


def counting(
    count: Callable[[Metrics], None], first: float = 600, every: float = HOUR
) -> Callable[[Metrics, float], None]:
    """Beside that, something that it counts at one second, and again and again after so many."""

    def counts(metrics: Metrics, seconds: float) -> None:
        at_work(metrics, seconds)
        for _ in range(int((seconds - first) // every) + 1 if seconds >= first else 0):
            count(metrics)

    return counts


def failed(metrics: Metrics) -> None:
    metrics.reached(ConversionEnded(False, "SourceNotFound"))


def growing(seconds: float) -> float:
    return seconds


STANDBY = Operator(WAITING, leads=False, counts=at_work, waits=growing)
"""What changes waits in its queue until it acts: that is no delay."""
WELL = Operator(LEADER, counts=at_work, models={Standing.READY: 7, Standing.RECONCILING: 1})
ACTING = (WELL, STANDBY)
SERVING = (Server(ONE, [BUSY]), Server(OTHER, [BUSY]))


@dataclass(frozen=True)
class Case:
    """Who is scraped; the alert fires at the second `at`, with these labels, and not for `almost` instead."""

    alert: str
    pods: tuple[Server | Operator, ...]
    almost: tuple[Server | Operator, ...]
    labels: Mapping[str, str]
    told: str
    at: float = HOUR


MODEL = {"namespace": "default", "model": "resnet50"}
OPERATOR = {"namespace": NAMESPACE}
CASES = [
    Case(
        "TFTRTModelFailing",
        (Server(ONE, failing(0.12)), Server(OTHER, [BUSY]), *ACTING),
        (Server(ONE, failing(0.08)), Server(OTHER, [BUSY]), *ACTING),
        {**MODEL, "severity": "critical"},
        "6% of the requests to model default/resnet50 fail",
    ),
    Case(
        "TFTRTModelFailing",
        (Server(ONE, failing(0.5, "UNAVAILABLE")), *ACTING),
        (Server(ONE, failing(0.9, "INVALID_ARGUMENT")), *ACTING),
        {**MODEL, "severity": "critical"},
        "50% of the requests",
    ),
    Case(
        "TFTRTModelSlow",
        (Server(ONE, [Load(requests=2, waits=9, takes=1.5)]), *ACTING),
        (Server(ONE, [Load(requests=2, waits=8, takes=1.5)]), *ACTING),
        {**MODEL, "severity": "warning"},
        "takes 10.5s from arrival to answer",
    ),
    Case(
        "TFTRTServerStuck",
        (Server(ONE, [BUSY], stuck=2900), Server(OTHER, [BUSY]), *ACTING),
        # The other server of its model answers, or it has nothing to answer.
        (Server(ONE, [replace(BUSY, ends=2900)]), Server(OTHER, [BUSY]), *ACTING),
        {**MODEL, "pod": ONE, "severity": "critical"},
        f"Server default/{ONE} has requests",
    ),
    Case(
        "TFTRTServerNotSeen",
        (Server(ONE, [BUSY], silent=[(1800, HOUR)]), Server(OTHER, [BUSY]), *ACTING),
        # Three minutes until a model is loaded, and one that went.
        (Server(ONE, [BUSY], came=3300, silent=[(3300, 3480)]), Server(OTHER, [BUSY], gone=3000), *ACTING),
        {"namespace": "default", "pod": ONE, "job": f"{NAMESPACE}/{RELEASE}-servers", "severity": "warning"},
        f"does not reach server default/{ONE}",
    ),
    Case(
        "TFTRTServerNotSeen",
        # It loads for a minute, ends as soon as it is asked, and is started again.
        (Server(ONE, [], silent=[(at, at + 60) for at in range(0, int(HOUR), 90)]), *ACTING),
        (Server(ONE, [], silent=[(3200, 3260)]), *ACTING),
        {"namespace": "default", "pod": ONE, "job": f"{NAMESPACE}/{RELEASE}-servers", "severity": "warning"},
        "does not reach server",
    ),
    Case(
        "TFTRTOperatorAbsent",
        (*SERVING, replace(WELL, gone=3000), STANDBY),
        # The other one has taken over.
        (*SERVING, replace(WELL, gone=3000), replace(STANDBY, leads=True, waits=lambda _: 0.0, came=3020)),
        {**OPERATOR, "severity": "critical"},
        "No replica of the operator acts",
    ),
    Case("TFTRTOperatorAbsent", SERVING, ACTING, {**OPERATOR, "severity": "critical"}, "Prometheus does not reach it"),
    Case(
        "TFTRTOperatorBehind",
        (replace(WELL, waits=growing), STANDBY),
        (replace(WELL, waits=lambda seconds: 59.0 if seconds % 600 else 600.0), STANDBY),
        {**OPERATOR, "pod": LEADER, "job": f"{NAMESPACE}/{RELEASE}", "severity": "warning"},
        "waits for 59m 31s to be looked at",
    ),
    Case(
        "TFTRTOperatorFault",
        (replace(WELL, counts=counting(lambda metrics: metrics.passed("InternalError", 0.1), 3300)), STANDBY),
        (replace(WELL, counts=counting(lambda metrics: metrics.passed("Conflict", 0.1), 3300)), STANDBY),
        {**OPERATOR, "severity": "warning"},
        "by a fault of its own",
    ),
    Case(
        "TFTRTWritesRefused",
        (replace(WELL, counts=counting(lambda metrics: metrics.refused("Job", 403), every=60)), STANDBY),
        (replace(WELL, counts=counting(lambda metrics: metrics.refused("Job", 409), every=60)), STANDBY),
        {**OPERATOR, "kind": "Job", "code": "403", "severity": "warning"},
        "writes of Job with 403",
    ),
    Case(
        "TFTRTConversionFailed",
        (replace(WELL, counts=counting(failed, 3000)), STANDBY),
        (WELL, STANDBY),
        {**OPERATOR, "reason": "SourceNotFound", "severity": "info"},
        "Conversions failed within the last hour: SourceNotFound",
    ),
    Case(
        "TFTRTModelsStalled",
        (replace(WELL, models={Standing.STALLED: 2, Standing.READY: 5}), STANDBY),
        (replace(WELL, models={Standing.RECONCILING: 2, Standing.READY: 5}), STANDBY),
        {**OPERATOR, "severity": "warning"},
        "2 TRTModels are not as their spec says",
    ),
]


def firing(pods: tuple[Server | Operator, ...], at: float) -> list[Alert]:
    return [alert for alert in Prometheus(pods, every=30).alerts(groups(), at) if alert.firing]


def test_where_all_is_well_none_is_active() -> None:
    assert Prometheus([*SERVING, *ACTING], every=30).alerts(groups(), HOUR) == []


def test_where_nobody_asks_none_is_active() -> None:
    assert Prometheus([Server(ONE), Server(OTHER), *ACTING], every=30).alerts(groups(), HOUR) == []


@pytest.mark.parametrize("case", CASES, ids=[f"{case.alert}-{number}" for number, case in enumerate(CASES)])
def test_an_alert_fires_when_it_should_and_no_other_does(case: Case) -> None:
    (alert,) = firing(case.pods, case.at)
    assert (alert.name, dict(alert.labels)) == (case.alert, dict(case.labels))
    assert case.told in alert.summary


@pytest.mark.parametrize("case", CASES, ids=[f"{case.alert}-{number}" for number, case in enumerate(CASES)])
def test_what_is_almost_that_is_no_reason(case: Case) -> None:
    assert firing(case.almost, case.at) == []


def test_every_alert_has_its_case() -> None:
    assert {case.alert for case in CASES} == set(expressions())


@pytest.mark.parametrize("name", expressions())
def test_an_alert_asks_for_series_and_labels_that_there_are(name: str) -> None:
    known = series() | series(Operator(counts=every_kind).shows(1)) | {"up": set()}
    found = Prometheus([Server(ONE), WELL]).answer(expressions()[name])
    assert not found.error
    assert found.selectors
    for selected, labels in found.selectors:
        assert labels <= known[selected] | TARGET


def every_kind(metrics: Metrics, seconds: float) -> None:
    at_work(metrics, seconds)
    metrics.refused("Job", 403)


def test_one_threshold_is_the_users() -> None:
    values = {"monitoring": {"alerts": {"enabled": True, "slowSeconds": 0.1}}}
    (rule,) = rendered(Cluster(TEST_INSTANCE), RELEASE, ["alerts"], values)
    found = [
        one for one in Prometheus([*SERVING, *ACTING], every=30).alerts(rule["spec"]["groups"], HOUR) if one.firing
    ]
    assert [alert.name for alert in found] == ["TFTRTModelSlow"]


def test_without_our_monitors_nothing_is_said_of_what_they_would_see() -> None:
    (rule,) = rendered(Cluster(TEST_INSTANCE), RELEASE, ["alerts"], {"monitoring": {"alerts": {"enabled": True}}})
    names = {one["alert"] for group in rule["spec"]["groups"] for one in group["rules"]}
    assert names == set(expressions()) - {"TFTRTServerNotSeen"}


def test_the_page_names_every_alert_and_how_grave_it_is() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text().partition("## Alerts")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(TFTRT\w+)` \| (\w+) \|", page, re.MULTILINE))
    assert rows == {rule["alert"]: rule["labels"]["severity"] for group in groups() for rule in group["rules"]}


# The dashboard.


def dashboard() -> Any:
    (config_map,) = made("dashboard")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = config_map["data"].values()
    return json.loads(text)


def panels() -> dict[str, list[str]]:
    """What each panel asks, with Grafana's variables as they are when a person has chosen nothing."""
    values = {"$namespace": ".*", "$model": ".*", "$__rate_interval": "2m"}

    def filled(expression: str) -> str:
        for name, value in values.items():
            expression = expression.replace(name, value)
        assert "$" not in expression
        return expression

    shown = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    return {panel["title"]: [filled(target["expr"]) for target in panel["targets"]] for panel in shown}


@pytest.mark.parametrize("title", panels())
def test_a_panel_shows_numbers(title: str) -> None:
    operators = (replace(WELL, counts=every_kind), STANDBY)
    prometheus = Prometheus([Server(ONE, failing(0.1)), Server(OTHER, [BUSY]), *operators], every=30)
    for expression in panels()[title]:
        found = prometheus.answer(expression, at=HOUR)
        assert not found.error, found.error
        assert found.values, expression
        # A quantile of what has not happened is no number, and Grafana draws nothing.
        assert any(isfinite(value) for value in found.values.values()), expression


def test_panels_lie_side_by_side() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
