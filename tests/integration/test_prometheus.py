"""What the examples and the documentation ask Prometheus for, evaluated by Prometheus' own engine."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest
import yaml

from tests.support.prometheus import Adapted, Answer, Labels, Load, Prometheus, Server, series

ROOT = Path(__file__).parents[2]
TARGET = {"namespace", "pod"}
"""What Prometheus adds to the labels of a server."""
ONE, OTHER = "resnet50-7c9d8b6f5d-2xkqp", "resnet50-7c9d8b6f5d-9zvlt"
BUSY = Load(requests=40, waits=0.15, takes=0.05)
"""Eight requests are in a server that is asked like this: six wait."""
EVERY = (5, 15, 30)
"""Seconds from scrape to scrape."""


def loaded(path: str) -> dict[str, object]:
    found = yaml.safe_load((ROOT / "examples" / path).read_text())
    assert isinstance(found, dict)
    return found


def keda() -> str:
    (trigger,) = loaded("keda-scaledobject.yaml")["spec"]["triggers"]  # type: ignore[index]
    return str(trigger["metadata"]["query"])


def adapted(*pods: str, namespace: str = "default") -> Adapted:
    """The metric that examples/resnet50-autoscaled.yaml scales on, for these pods."""
    (metric,) = loaded("resnet50-autoscaled.yaml")["spec"]["serving"]["autoscaling"]["metrics"]  # type: ignore[index]
    rules = loaded("prometheus-adapter-values.yaml")["rules"]["custom"]  # type: ignore[index]
    return Adapted(rules, metric["pods"]["metric"]["name"], pods or (ONE, OTHER), namespace)


def documented() -> dict[str, str]:
    """The queries of docs/metrics.md, by what they answer."""
    table = (ROOT / "docs" / "metrics.md").read_text().partition("## What to ask Prometheus")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|`]+) \| `(.+)` \|$", table, re.MULTILINE)
    filled = {"NAMESPACE": "default", "NAME": "resnet50", r"\|": "|"}
    queries = {}
    for question, query in rows:
        for placeholder, value in filled.items():
            query = query.replace(placeholder, value)
        queries[question.strip("*")] = query
    return queries


QUERIES = {"keda": keda(), **documented()}
WAITING, INSIDE = "requests that wait, on average", "requests in a model's servers, on average (for autoscaling)"
RATE, FAILED = "requests per second", "the share that failed"
QUANTILE, MEAN = "how long 99 % take in the model", "mean time from arrival to answer, the queue included"
IN_ALL = (QUERIES["keda"], QUERIES[INSIDE])


def by_pod(**values: float) -> dict[Labels, object]:
    return {(("pod", {"one": ONE, "other": OTHER}[name]),): pytest.approx(value) for name, value in values.items()}


def approximately(answers: Sequence[Answer], value: float, rel: float = 1e-6) -> bool:
    return [answer.value for answer in answers] == [pytest.approx(value, rel=rel)] * len(answers)


# What is asked for is there.


def test_the_documentation_has_all_these_questions() -> None:
    assert set(documented()) == {RATE, FAILED, QUANTILE, MEAN, WAITING, INSIDE}


def unknown(answer: Answer) -> list[str]:
    """The series, and the labels of series, in an expression that no server has."""
    assert not answer.error, answer.error
    known = series()
    return [
        f"{name}{{{', '.join(labels)}}}"
        for name, labels in answer.selectors
        if name not in known or not labels <= known[name] | TARGET
    ]


@pytest.mark.parametrize("question", [*QUERIES.values(), adapted(ONE)], ids=[*QUERIES, "adapter"])
def test_an_expression_asks_for_series_and_labels_that_a_server_has(question: str | Adapted) -> None:
    found = Prometheus([Server(ONE)]).answer(question)
    assert found.selectors
    assert unknown(found) == []


@pytest.mark.parametrize("wrong", ["rate(tftrt_request_seconds_sum[2m])", 'tftrt_requests_total{status="OK"}'])
def test_one_that_asks_for_others_would_be_told_of(wrong: str) -> None:
    assert len(unknown(Prometheus([Server(ONE)]).answer(wrong))) == 1


def test_the_documentation_names_no_metric_that_a_server_does_not_have() -> None:
    known = set(series()) | {re.sub("_(bucket|count|sum)$", "", name) for name in series()}
    for page in (ROOT / "docs").glob("*.md"):
        # The operator's own metrics are unit tests' affair.
        named = set(re.findall(r"`((?:tftrt_(?!operator_)|nv_)[a-z_]+)", page.read_text()))
        assert named <= known, page


# Autoscaling: nobody asks.


@pytest.mark.parametrize("every", EVERY)
def test_where_nobody_asks_nothing_is_in_the_servers(every: float) -> None:
    prometheus = Prometheus([Server(ONE), Server(OTHER)], every)
    assert [answer.value for answer in prometheus.answers(*IN_ALL)] == [0, 0]
    assert prometheus.answer(adapted()).values == by_pod(one=0, other=0)


def test_where_nobody_asks_any_more_it_is_0_after_two_minutes() -> None:
    prometheus = Prometheus([Server(ONE, [replace(BUSY, ends=300)])])
    assert approximately(prometheus.answers(*IN_ALL, at=300), 8)
    assert [answer.value for answer in prometheus.answers(*IN_ALL, adapted(), at=436)] == [0, 0, 0]


def test_keda_gets_a_number_where_there_is_no_server_yet() -> None:
    assert Prometheus().answer(keda()).value == 0


def test_the_adapter_has_no_such_metric_before_the_first_server_was_scraped() -> None:
    assert "no metric tftrt_requests_in_server" in Prometheus().answer(adapted()).error


def test_nobody_asks_is_a_mean_time_that_is_no_number() -> None:
    """Why docs/autoscaling.md has autoscalers go by something else."""
    assert isnan(Prometheus([Server(ONE)]).answer(QUERIES[MEAN]).value)


# Autoscaling: a steady load.


@pytest.mark.parametrize("every", EVERY)
def test_a_steady_load_is_as_many_requests_as_little_says(every: float) -> None:
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(OTHER, [Load(requests=10, takes=0.1)])], every)
    assert BUSY.in_the_server == pytest.approx(8)
    assert approximately(prometheus.answers(*IN_ALL), 9)
    assert prometheus.answer(adapted()).values == by_pod(one=8, other=1)


@pytest.mark.parametrize("every", EVERY)
def test_the_adapter_answers_for_a_single_pod_as_for_several(every: float) -> None:
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(OTHER, [BUSY])], every)
    assert prometheus.answer(adapted(ONE)).values == by_pod(one=8)


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("lost", [2, 3, 4])
def test_a_scrape_without_an_answer_in_between_changes_nothing(every: float, lost: int) -> None:
    prometheus = Prometheus([Server(ONE, [BUSY])], every, without=[600 - every * lost])
    assert approximately(prometheus.answers(*IN_ALL, adapted()), 8)


@pytest.mark.parametrize("every", EVERY)
def test_until_the_next_one_the_last_scrape_without_an_answer_takes_a_part_away_and_not_all(every: float) -> None:
    prometheus = Prometheus([Server(ONE, [BUSY])], every, without=[600 - every])
    for answer in prometheus.answers(*IN_ALL, adapted()):
        assert 8 * 0.6 <= answer.value < 8


def test_at_a_scrape_a_minute_one_that_gets_no_answer_is_an_idle_server_to_keda() -> None:
    """Why docs/autoscaling.md wants one every 30 seconds."""
    assert Prometheus([Server(ONE, [BUSY])], every=60, without=[540]).answer(keda()).value == 0


# Autoscaling: servers come, go and start anew.


@pytest.mark.parametrize("seconds", [1, 16, 31, 61, 91])
def test_a_container_that_started_anew_never_counts_more_than_it_does(seconds: float) -> None:
    """Its counters begin at 0 again; what was counted between the last scrape and its end is lost."""
    prometheus = Prometheus([Server(ONE, [BUSY], restarted=[600 - seconds])])
    for answer in (*prometheus.answers(*IN_ALL), prometheus.answer(adapted())):
        assert 8 * (1 - 15 / 120) - 0.01 <= answer.value <= 8.01


@pytest.mark.parametrize("seconds", [0, 10, 20, 40, 80, 119])
def test_a_replica_that_has_just_come_leaves_the_others_figure_as_it_is(seconds: float) -> None:
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(OTHER, [BUSY], came=600 - seconds)])
    for answer in prometheus.answers(*IN_ALL):
        assert 8 - 1e-6 <= answer.value <= 16 + 1e-6
    found = prometheus.answer(adapted()).values
    assert found[("pod", ONE),] == pytest.approx(8)
    assert 0 <= found.get((("pod", OTHER),), 0) <= 8 + 1e-6


def test_a_replica_counts_in_full_two_minutes_after_it_came() -> None:
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(OTHER, [BUSY], came=600 - 121 - 15)])
    assert approximately(prometheus.answers(*IN_ALL), 16)
    assert prometheus.answer(adapted()).values == by_pod(one=8, other=8)


@pytest.mark.parametrize("seconds", [15, 30, 60, 90, 120, 150])
def test_a_server_that_takes_anothers_place_is_not_counted_beside_it(seconds: float) -> None:
    """The load moved at once: from what went to what came."""
    moved = 600 - seconds
    prometheus = Prometheus([Server(ONE, [BUSY], gone=moved), Server(OTHER, [BUSY], came=moved)])
    for answer in prometheus.answers(*IN_ALL):
        assert 8 * (1 - 30 / 120) <= answer.value <= 8 * (1 + 15 / 120)


def test_a_server_that_went_is_forgotten_after_two_minutes() -> None:
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(OTHER, [BUSY], gone=479)])
    assert approximately(prometheus.answers(*IN_ALL), 8)


# Autoscaling: others' servers.


def test_a_model_of_the_same_name_in_another_namespace_does_not_count() -> None:
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(OTHER, [BUSY], namespace="team-b")])
    assert approximately(prometheus.answers(*IN_ALL), 8)
    assert prometheus.answer(QUERIES[WAITING]).value == pytest.approx(6)
    assert prometheus.answer(adapted()).values == by_pod(one=8)
    assert prometheus.answer(adapted(namespace="team-b")).values == by_pod(other=8)


def test_a_pod_of_the_same_name_in_another_namespace_does_not_count() -> None:
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(ONE, [BUSY], namespace="team-b")])
    assert approximately(prometheus.answers(*IN_ALL), 8)
    assert prometheus.answer(adapted()).values == by_pod(one=8)


def test_a_model_whose_name_begins_the_same_does_not_count() -> None:
    other = "resnet50-large-7c9d8b6f5d-2xkqp"
    prometheus = Prometheus([Server(ONE, [BUSY]), Server(other, [BUSY])])
    assert prometheus.answer(keda()).value == pytest.approx(8)
    assert prometheus.answer(adapted()).values == by_pod(one=8)


# What a person asks.


def test_each_of_the_documented_questions_has_the_right_answer() -> None:
    failing = Load(requests=10, takes=2, code="INTERNAL")
    prometheus = Prometheus([Server(ONE, [BUSY, failing])])
    assert prometheus.answer(QUERIES[RATE]).value == pytest.approx(50)
    assert prometheus.answer(QUERIES[FAILED]).value == pytest.approx(10 / 50)
    assert prometheus.answer(QUERIES[WAITING]).value == pytest.approx(6)
    assert prometheus.answer(QUERIES[MEAN]).value == pytest.approx((8 + 20) / 50)
    assert 1 < prometheus.answer(QUERIES[QUANTILE]).value <= 2.5


def test_none_failed_is_0_and_not_no_data() -> None:
    assert Prometheus([Server(ONE, [BUSY])]).answer(QUERIES[FAILED]).value == 0


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "CANCELLED"])
def test_what_the_client_did_is_no_failure(code: str) -> None:
    prometheus = Prometheus([Server(ONE, [BUSY, Load(requests=10, takes=0.1, code=code)])])
    assert prometheus.answer(QUERIES[FAILED]).value == 0


def test_the_first_failures_of_a_server_count() -> None:
    """Of a code that a server showed with its first failure only, rate() would not see the growth."""
    failing = Load(requests=10, takes=0.1, code="INTERNAL", begins=580)
    assert Prometheus([Server(ONE, [BUSY, failing])]).answer(QUERIES[FAILED]).value > 0
