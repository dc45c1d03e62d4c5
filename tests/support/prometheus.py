"""What Prometheus, and the adapter that makes metrics of it, answer after they scraped servers for a while.

The engine, the parser of what a server shows, and the adapter's way from its rules to a query are the programs' own
(tests/cluster/tools/promql); the servers are played, with the series that a real one has.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.tools import promql_program

SHOWN = (Path(__file__).parent / "shown_by_a_server.txt").read_text()
Labels = tuple[tuple[str, str], ...]


def series() -> dict[str, set[str]]:
    """The labels of every series that a server has, by its name."""
    lines = (re.match(r"(\w+){(.*)} ", line) for line in SHOWN.splitlines() if not line.startswith("#"))
    return {found[1]: set(re.findall(r'(\w+)="', found[2])) for found in lines if found}


@dataclass(frozen=True, slots=True)
class Load:
    """What a server is asked: requests in each second, of which each waits and then takes so many seconds.

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
        for name, bound in re.findall(r'(tftrt_request_duration_seconds_bucket{.*le="(.*)"}) ', SHOWN):
            if self.takes <= float(bound):
                yield name, count


@dataclass(frozen=True, slots=True)
class Server:
    """A pod from its first second to its last, asked by all these loads; its container may start anew in between."""

    pod: str
    loads: Sequence[Load] = ()
    namespace: str = "default"
    came: float = 0
    gone: float = float("inf")
    restarted: Sequence[float] = ()

    def shows(self, at: float) -> str:
        """Its /metrics at this second; nothing where it is not there."""
        if not self.came <= at < self.gone:
            return ""
        started = max([self.came, *(one for one in self.restarted if one <= at)])
        figures: dict[str, float] = {}
        for load in self.loads:
            for name, value in load.figures(at - started):
                figures[name] = figures.get(name, 0) + value
        lines = (line.rpartition(" ")[0] for line in SHOWN.splitlines() if not line.startswith("#"))
        return "".join(f"{name} {figures.get(name, 0)}\n" for name in lines)


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
class Prometheus:
    """One that has scraped these servers every few seconds, but for some times at which it got no answer in time."""

    servers: Sequence[Server] = ()
    every: float = 15
    without: Iterable[float] = ()

    def answers(self, *questions: str | Adapted, at: float = 600) -> list[Answer]:
        """Each question's answer at this second."""
        asked = [_question(question, at) for question in questions]
        done = subprocess.run(
            [promql_program()],
            input=json.dumps({"Scrapes": list(self._scrapes(at)), "Questions": asked}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [_answer(found) for found in json.loads(done.stdout)]

    def answer(self, question: str | Adapted, at: float = 600) -> Answer:
        """What it answers to one."""
        (found,) = self.answers(question, at=at)
        return found

    def _scrapes(self, until: float) -> Iterator[dict[str, object]]:
        """Each server a moment after the one before it; a target that is gone is scraped once more, to mark its end."""
        failed = set(self.without)
        for number, server in enumerate(self.servers):
            target = {"namespace": server.namespace, "pod": server.pod}
            at = 1.0 + number
            while at <= until:
                if server.came <= at < server.gone + self.every:
                    text = "" if at - 1.0 - number in failed else server.shows(at)
                    yield {"Target": target, "At": at, "Text": text}
                at += self.every


def _question(question: str | Adapted, at: float) -> dict[str, object]:
    if isinstance(question, str):
        return {"Expression": question, "At": at}
    # YAML is a superset of JSON; the chart prometheus-adapter puts rules.custom there.
    configuration = json.dumps({"rules": question.rules})
    asked = {"Configuration": configuration, "Metric": question.metric, "Namespace": question.namespace}
    return {"Adapter": {**asked, "Pods": list(question.pods)}, "At": at}


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
