"""Clients in processes of their own that ask without a pause too long to notice a gap, and check every answer."""

import multiprocessing
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.queues import Queue
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event as Signal
from typing import NamedTuple

import numpy as np

from tests.support.waiting import eventually
from tests.zero_loss.clients import CLIENTS, LONGEST_SECONDS, Ask
from tests.zero_loss.images import images, totals

# Of gRPC and of processes that have not been forked from a test's: gRPC's threads do not survive a fork.
_processes = multiprocessing.get_context("spawn")
QUESTIONS = 3
"""Different ones of each client."""
END_SECONDS = 90.0
"""What a client may need to end: its longest call, and a little."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one client does: which it is, how many rows a request has, and seconds between an answer and the next."""

    client: str
    rows: int
    pause: float


class Failure(NamedTuple):
    """A request that was not answered, or wrongly."""

    at: str
    words: str


@dataclass(slots=True)
class Outcome:
    """What became of one client's requests; the longest call in seconds."""

    client: str
    rows: int
    requests: int = 0
    longest: float = 0.0
    failures: list[Failure] = field(default_factory=list)


class Load:
    """The clients at work."""

    def __init__(self, address: str, model: str, traffic: Sequence[Traffic]) -> None:
        self._over: Signal = _processes.Event()
        self._outcomes: Queue[Outcome] = _processes.Queue()
        self._counts: list[tuple[Traffic, Synchronized[int]]] = [(one, _processes.Value("q", 0)) for one in traffic]
        self._clients = [
            _processes.Process(
                target=_ask_on, args=(address, model, one, seed, count, self._over, self._outcomes), daemon=True
            )
            for seed, (one, count) in enumerate(self._counts)
        ]
        for client in self._clients:
            client.start()

    def asked(self, rows: int | None = None, clients: Collection[str] = CLIENTS) -> int:
        """How many requests of these clients have come to an end so far, of all sizes or of one.

        Raises:
            RuntimeError: a client has ended, and would be waited for in vain.
        """
        if ended := [client.exitcode for client in self._clients if client.exitcode is not None]:
            raise RuntimeError(f"{len(ended)} clients have ended, with {ended}")
        return sum(count.value for one, count in self._counts if rows in (None, one.rows) and one.client in clients)

    def wait_for_each(self) -> None:
        """Wait until every client has had an answer."""
        eventually(lambda: all(count.value for _, count in self._counts), seconds=120)

    def end(self) -> list[Outcome]:
        """Have each client await its answer and stop; what became of all requests."""
        self._over.set()
        found = [self._outcomes.get(timeout=END_SECONDS) for _ in self._clients]
        for client in self._clients:
            client.join(END_SECONDS)
        return sorted(found, key=lambda one: (list(CLIENTS).index(one.client), one.rows))

    def kill(self) -> None:
        """End the clients, whatever they do."""
        for client in self._clients:
            client.kill()
            client.join()


@contextmanager
def under_load(address: str, model: str, traffic: Sequence[Traffic]) -> Iterator[Load]:
    """Have clients ask from now on, each of which has had an answer."""
    load = Load(address, model, traffic)
    try:
        load.wait_for_each()
        yield load
    finally:
        load.kill()


def _ask_on(
    address: str,
    model: str,
    traffic: Traffic,
    seed: int,
    count: "Synchronized[int]",
    over: Signal,
    outcomes: "Queue[Outcome]",
) -> None:
    def counted(requests: int) -> None:
        count.value = requests

    ask = CLIENTS[traffic.client](address, model)
    outcomes.put(ask_on(ask, traffic, seed, lambda: over.wait(traffic.pause), counted))


def ask_on(ask: Ask, traffic: Traffic, seed: int, over: Callable[[], bool], counted: Callable[[int], None]) -> Outcome:
    """Ask the questions of this seed in turn until it is over, and compare every answer with the right one."""
    outcome = Outcome(traffic.client, traffic.rows)
    asked = [images(traffic.rows, QUESTIONS * seed + turn) for turn in range(QUESTIONS)]
    known = [totals(one) for one in asked]
    while not over():
        turn = outcome.requests % QUESTIONS
        began = time.monotonic()
        try:
            answer = ask(asked[turn])
            if not np.array_equal(answer, known[turn]):
                raise ValueError(f"a wrong answer of shape {answer.shape}: {answer.ravel()[:3]}")
            if (took := time.monotonic() - began) > LONGEST_SECONDS:
                raise TimeoutError(f"the answer took {took:.0f} s")  # over HTTP a client's time-out is a read's
        except Exception as error:
            outcome.failures.append(Failure(datetime.now(UTC).isoformat(timespec="milliseconds"), _words(error)))
        outcome.longest = max(outcome.longest, time.monotonic() - began)
        outcome.requests += 1
        counted(outcome.requests)
    return outcome


def _words(error: Exception) -> str:
    """What an error says in one line; a gRPC error's own text is a page."""
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    told = f"{code().name}: {details()}" if callable(code) and callable(details) else str(error)
    return " ".join(f"{type(error).__name__}: {told}".split())[:300]
