"""What Prometheus, and the adapter that makes metrics of it, answer and alert on after they scraped for a while.

The engine, the parser of what is shown, the reader of alerts, and the adapter's way from its rules to a query are the
programs' own (tests/cluster/tools/promql). Servers are played, with the series that a real one has; what an operator
has counted is shown by its own code.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.tools import promql_program
from tftrt_operator.controller.metrics import Metrics, Now
from tftrt_operator.domain.verdict import Standing

SHOWN = (Path(__file__).parent / "shown_by_a_server.txt").read_text()
Labels = tuple[tuple[str, str], ...]


def series(shown: str = SHOWN) -> dict[str, set[str]]:
    """The labels of every series that a server has, or whoever shows this, by its name."""
    lines = (re.match(r"(\w+)(?:{(.*)})? ", line) for line in shown.splitlines() if not line.startswith("#"))
    return {found[1]: set(re.findall(r'(\w+)="', found[2] or "")) for found in lines if found}


@dataclass(frozen=True, slots=True)
class Load:
    """What a server is asked: requests of one item in each second, of which each waits, is a batch, and takes so long.

    It begins and ends so many seconds after the server's container started.
    """

    requests: float = 0.0
    waits: float = 0.0
    takes: float = 0.0
    code: str = "OK"
    begins: float = 0
    ends: float = float("inf")

    @property
    def in_the_server(self) -> float:
        """The mean number of requests that are in it, by Little's law."""
        return self.requests * (self.waits + self.takes)

    def figures(self, seconds: float) -> Iterator[tuple[str, float]]:
        """What the server has counted after so long, for each series that is not 0."""
        count = self.requests * max(0, min(seconds, self.ends) - self.begins)
        yield f'tftrt_requests_total{{code="{self.code}",model="resnet50"}}', count
        yield 'nv_inference_queue_duration_us{model="resnet50",version="1"}', count * self.waits * 1e6
        yield 'tftrt_request_duration_seconds_sum{model="resnet50"}', count * self.takes
        yield 'tftrt_request_duration_seconds_count{model="resnet50"}', count
        yield 'tftrt_batch_size_sum{model="resnet50"}', count
        yield 'tftrt_batch_size_count{model="resnet50"}', count
        for name, bound in re.findall(r'(tftrt_request_duration_seconds_bucket{.*le="(.*)"}) ', SHOWN):
            if self.takes <= float(bound):
                yield name, count


@dataclass(frozen=True, slots=True)
class Server:
    """A pod from its first second to its last, asked by all these loads; its container may start anew in between.

    From the second `stuck` on a request waits in it, and none is answered; in each span of `silent` it shows nothing.
    """

    pod: str
    loads: Sequence[Load] = ()
    namespace: str = "default"
    came: float = 0
    gone: float = float("inf")
    restarted: Sequence[float] = ()
    stuck: float = float("inf")
    silent: Sequence[tuple[float, float]] = ()

    @property
    def labels(self) -> dict[str, str]:
        """What the chart's PodMonitor has Prometheus add."""
        return {"namespace": self.namespace, "pod": self.pod, "job": "tftrt-system/tftrt-operator-servers"}

    def shows(self, at: float) -> str:
        """Its /metrics at this second; nothing where it is not there."""
        if not self.came <= at < self.gone or any(begin <= at < end for begin, end in self.silent):
            return ""
        started = max([self.came, *(one for one in self.restarted if one <= at)])
        figures: dict[str, float] = {}
        if at >= self.stuck:
            figures['nv_inference_pending_request_count{model="resnet50",version="1"}'] = 1
            at = self.stuck
        for load in self.loads:
            for name, value in load.figures(at - started):
                figures[name] = figures.get(name, 0) + value
        lines = (line.rpartition(" ")[0] for line in SHOWN.splitlines() if not line.startswith("#"))
        return "".join(f"{name} {figures.get(name, 0)}\n" for name in lines)


@dataclass(frozen=True, slots=True)
class Operator:
    """A pod of the operator: what it counts from its first second on, given the seconds that it runs for."""

    pod: str = "tftrt-operator-6f7c9d-abcde"
    leads: bool = True
    counts: Callable[[Metrics, float], None] = lambda _metrics, _seconds: None
    waits: Callable[[float], float] = lambda _seconds: 0.0
    models: Mapping[Standing, int] = field(default_factory=dict)
    came: float = 0
    gone: float = float("inf")

    @property
    def labels(self) -> dict[str, str]:
        """What the chart's PodMonitor has Prometheus add."""
        return {"namespace": "tftrt-system", "pod": self.pod, "job": "tftrt-system/tftrt-operator"}

    def shows(self, at: float) -> str:
        """Its /metrics at this second; nothing where it is not there."""
        if not self.came <= at < self.gone:
            return ""
        seconds = at - self.came
        metrics = Metrics()
        waits = self.waits(seconds)
        metrics.watch(lambda: Now(self.leads, int(waits > 0), waits, self.models))
        self.counts(metrics, seconds)
        return metrics.exposition().decode()


@dataclass(frozen=True, slots=True)
class Adapted:
    """A metric of pods, as a HorizontalPodAutoscaler asks prometheus-adapter for it."""

    rules: Sequence[Mapping[str, object]]
    metric: str
    pods: Sequence[str]
    namespace: str = "default"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an instant query gave, by labels; the expression is the one that was evaluated."""

    expression: str
    selectors: Sequence[tuple[str, frozenset[str]]]
    values: Mapping[Labels, float]
    error: str

    @property
    def value(self) -> float:
        """The one number that it is."""
        assert not self.error, self.error
        (value,) = self.values.values()
        return value


@dataclass(frozen=True, slots=True)
class Alert:
    """One that is active: its labels but for its name, and the sentence that a person reads first."""

    name: str
    firing: bool
    labels: Mapping[str, str]
    summary: str


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that has scraped these pods every few seconds, but for some times at which it got no answer in time."""

    servers: Sequence[Server | Operator] = ()
    every: float = 15
    without: Iterable[float] = ()

    def answers(self, *questions: str | Adapted, at: float = 600) -> list[Answer]:
        """Each question's answer at this second."""
        return [_answer(found) for found in self._asked([_question(question, at) for question in questions], at)]

    def alerts(self, groups: Sequence[Mapping[str, object]], at: float) -> list[Alert]:
        """What is active at this second of these groups of alerts, which are looked at every minute."""
        # YAML is a superset of JSON.
        (found,) = self._asked([{"Alerts": json.dumps({"groups": groups}), "At": at}], at)
        assert not found["error"], found["error"]
        return [_alert(one) for one in found["alerts"]]

    def _asked(self, questions: Sequence[Mapping[str, object]], at: float) -> list[dict[str, Any]]:
        done = subprocess.run(
            [promql_program()],
            input=json.dumps({"Scrapes": list(self._scrapes(at)), "Questions": questions}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    def answer(self, question: str | Adapted, at: float = 600) -> Answer:
        """What it answers to one."""
        (found,) = self.answers(question, at=at)
        return found

    def _scrapes(self, until: float) -> Iterator[dict[str, object]]:
        """Each server a moment after the one before it; a target that is gone is scraped once more, to mark its end."""
        failed = set(self.without)
        for number, server in enumerate(self.servers):
            at = 1.0 + number
            while at <= until:
                if server.came <= at < server.gone + self.every:
                    text = "" if at - 1.0 - number in failed else server.shows(at)
                    yield {"Target": server.labels, "At": at, "Text": text, "Gone": at >= server.gone}
                at += self.every


def _question(question: str | Adapted, at: float) -> dict[str, object]:
    if isinstance(question, str):
        return {"Expression": question, "At": at}
    # YAML is a superset of JSON; the chart prometheus-adapter puts rules.custom there.
    configuration = json.dumps({"rules": question.rules})
    asked = {"Configuration": configuration, "Metric": question.metric, "Namespace": question.namespace}
    return {"Adapter": {**asked, "Pods": list(question.pods)}, "At": at}


def _alert(found: Mapping[str, Any]) -> Alert:
    labels = {name: value for name, value in found["labels"].items() if name != "alertname"}
    return Alert(found["labels"]["alertname"], found["state"] == "firing", labels, found["annotations"]["summary"])


def _answer(found: Mapping[str, object]) -> Answer:
    selectors, samples = found["selectors"] or [], found["samples"] or []
    assert isinstance(selectors, list)
    assert isinstance(samples, list)
    assert not found["warnings"], found["warnings"]
    return Answer(
        expression=str(found["expression"]),
        selectors=[(one["name"], frozenset(one["labels"])) for one in selectors],
        values={tuple(sorted(one["labels"].items())): float(one["value"]) for one in samples},
        error=str(found["error"]),
    )
