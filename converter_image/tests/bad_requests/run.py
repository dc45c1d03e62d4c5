"""Bad requests of all cases at once beside honest ones, for so many of each and so long."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.bad_requests.cases import Case, Clients, cases
from tests.bad_requests.grpc import Grpc
from tests.bad_requests.http import Http
from tests.bad_requests.memory import Sample, processes, resident_mib
from tests.bad_requests.request import MODEL, Question
from tests.box import Server, until
from tests.test_server_metrics import figures, requests

SENDERS = 4
HONEST = 2
"""Clients of each protocol."""
SAMPLE_SECONDS = 1.0
DROPPED = 0.9
"""Of those that are cancelled in the queue over gRPC, the part that is at least never computed: beside other clients
one may just be taken from it. What is given up over HTTP is computed all the same."""
MOST_SECONDS = 600.0
"""Beyond what was asked for, after which something does not get on."""


@dataclass
class Honest:
    """What became of the requests of clients who did nothing wrong."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds


@dataclass
class Counted:
    """By how much the server's own figures (docs/metrics.md) had grown at the end."""

    answered: int = 0
    dropped: int = 0  # from Triton's queue, or by the backend before it was computed

    @classmethod
    def by(cls, server: Server) -> Counted:
        """So far."""
        now = figures(server)
        dropped = now[f'nv_inference_request_failure{{model="{MODEL}",reason="CANCELED",version="1"}}']
        return cls(int(now[requests(MODEL, "OK")]), int(dropped + now[requests(MODEL, "CANCELLED")]))

    def since(self, before: Counted) -> Counted:
        """The growth."""
        return Counted(self.answered - before.answered, self.dropped - before.dropped)


@dataclass
class Findings:
    """What came of it all."""

    answers: Counter[tuple[Case, str]] = field(default_factory=Counter)
    acts: Counter[Case] = field(default_factory=Counter)
    counted: Counted = field(default_factory=Counted)
    failures: list[str] = field(default_factory=list)
    honest: dict[str, Honest] = field(default_factory=dict)
    memory: list[Sample] = field(default_factory=list)
    missing: list[tuple[str, str, int]] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, kind: str, protocol: str) -> int:
        """How many requests of a kind were sent."""
        return sum(count for (case, _), count in self.answers.items() if (case.kind, case.protocol) == (kind, protocol))

    @property
    def arrived(self) -> int:
        """Right requests that reached the model's queue: answered, or given up there or while they were computed."""
        honest = sum(one.answered for one in self.honest.values())
        beside = sum(case.beside * count for case, count in self.acts.items())
        return honest + beside + sum(count for (case, _), count in self.answers.items() if case.arrives)

    def unexpected(self) -> list[str]:
        """What was not as it must be, in sentences."""
        queued = self.of("cancelled in the queue", "gRPC")
        told: list[str] = []
        if self.counted.dropped < DROPPED * queued:
            told.append(f"{queued} were cancelled in the queue over gRPC, and {self.counted.dropped} were dropped")
        if (known := self.counted.answered + self.counted.dropped) < self.arrived:
            told.append(f"{self.arrived} right requests were sent, and the server knows of {known}")
        told += [f"{kind}, {protocol}: only {count} sent" for kind, protocol, count in self.missing]
        told += [
            f"{case.kind}, {case.variant}, {case.protocol}: {count} times {code!r} instead of {case.expected!r}"
            for (case, code), count in self.answers.items()
            if code != case.expected
        ]
        for protocol, honest in self.honest.items():
            told += [f"an honest client of {protocol}: {failure}" for failure in honest.failures]
        return told + self.failures


def bombard(server: Server, each: int, seconds: float = 0.0) -> Findings:
    """Send at least so many of each kind over each protocol where it exists, and go on until the time is over."""
    found = Findings()
    over = threading.Event()
    began = time.monotonic()
    lock = threading.Lock()
    plan = _plan(found, each, seconds)
    watched = processes(server.process.pid)
    before = Counted.by(server)

    def send() -> None:
        clients = Clients(Http(server.http), Grpc(server.grpc))
        while True:
            with lock:
                case = next(plan, None)
            if case is None:
                return
            try:
                codes = case.send(clients)
            except Exception as error:
                codes = [f"{type(error).__name__}: {error}"]
                clients.http = Http(server.http)
            with lock:
                found.acts[case] += 1
                found.answers.update((case, code) for code in codes)

    def watch() -> None:
        while not over.is_set():
            try:
                resident = {name: resident_mib(pid) for name, pid in watched.items()}
            except OSError as error:
                found.failures.append(f"a process of the server has ended: {error}")
                return
            found.memory.append(Sample(time.monotonic() - began, resident))
            over.wait(SAMPLE_SECONDS)

    with ThreadPoolExecutor(SENDERS + 2 * HONEST + 1) as threads:
        watching = threads.submit(watch)
        asking = []
        for protocol, client in (("HTTP", _ask_http), ("gRPC", _ask_grpc)):
            found.honest[protocol] = Honest()
            asking += [
                threads.submit(_ask, client(server), found.honest[protocol], lock, number, over)
                for number in range(HONEST)
            ]
        try:
            for sender in [threads.submit(send) for _ in range(SENDERS)]:
                sender.result()
        finally:
            over.set()
        for done in (watching, *asking):
            done.result()
    found.seconds = time.monotonic() - began
    with contextlib.suppress(AssertionError):  # of those that never are is told with the rest
        for _ in until("the last requests to be counted"):
            found.counted = Counted.by(server).since(before)
            if found.counted.answered + found.counted.dropped >= found.arrived:
                break
    return found


def _plan(found: Findings, each: int, seconds: float) -> Iterator[Case]:
    """Kinds and protocols in turn, in another order each time, and within each its variants in turn."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases():
        groups.setdefault((case.kind, case.protocol), []).append(case)
    turns = {key: itertools.cycle(members) for key, members in groups.items()}
    generator = random.Random(7)
    began = time.monotonic()
    while True:
        elapsed = time.monotonic() - began
        found.missing = [(*key, count) for key in groups if (count := found.of(*key)) < each]
        if (not found.missing and elapsed >= seconds) or elapsed >= seconds + MOST_SECONDS:
            return
        due = list(groups) if elapsed < seconds else [(kind, protocol) for kind, protocol, _ in found.missing]
        generator.shuffle(due)
        for key in due:
            yield next(turns[key])


Ask = Callable[[Question], None]


def _ask_http(server: Server) -> Ask:
    client = Http(server.http)

    def ask(question: Question) -> None:
        status, body = client.infer(question.request)
        assert status == "200", f"{status}: {body!r}"
        assert question.is_answered_by_json(body), f"a wrong answer to {question}: {body!r}"

    return ask


def _ask_grpc(server: Server) -> Ask:
    client = Grpc(server.grpc)

    def ask(question: Question) -> None:
        code, message = client.infer(question.request)
        assert code == "OK", f"{code}: {message!r}"
        assert question.is_answered_by(message), f"a wrong answer to {question}: {message!r}"

    return ask


def _ask(ask: Ask, honest: Honest, lock: threading.Lock, number: int, over: threading.Event) -> None:
    """Ask one question after the other, each with another right answer."""
    for turn in itertools.count():
        if over.is_set():
            return
        began = time.monotonic()
        try:
            ask(Question(turn * HONEST + number, rows=1 + turn % 3))
            failure = None
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        with lock:
            honest.longest = max(honest.longest, time.monotonic() - began)
            if failure is None:
                honest.answered += 1
            else:
                honest.failures.append(failure)
