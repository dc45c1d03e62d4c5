"""Many runs at a time: every fault in every scenario, at places that take turns."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .faults import Kind
from .runs import AT_ONCE, Harness, Outcome, Reference
from .scenarios import Scenario

Cell = tuple[str, str]
"""Names of a fault and of a scenario."""


@dataclass(frozen=True, slots=True)
class Goal:
    """When there were enough runs in which the fault fired."""

    fired: int
    each: int
    """Of every fault in every scenario."""
    kills: int = 0


@dataclass(slots=True)
class Campaign:
    """What has been run."""

    goal: Goal
    cells: Sequence[Cell]
    outcomes: list[Outcome] = field(default_factory=list)
    fired: Counter[Cell] = field(default_factory=Counter)

    def take(self, outcome: Outcome) -> None:
        """Count a run."""
        self.outcomes.append(outcome)
        if outcome.fired:
            self.fired[outcome.fault, outcome.scenario] += 1

    def lacks(self, cell: Cell) -> bool:
        """Whether another run of a fault in a scenario is wanted: once there are enough in all, of rare ones alone."""
        if sum(self.fired.values()) < self.goal.fired or self.fired[cell] < self.goal.each:
            return True
        return all(self.fired[one] >= self.goal.each for one in self.cells)

    @property
    def is_reached(self) -> bool:
        """Whether there were enough."""
        return (
            sum(self.fired.values()) >= self.goal.fired
            and all(self.fired[cell] >= self.goal.each for cell in self.cells)
            and sum(outcome.kills for outcome in self.outcomes) >= self.goal.kills
        )


async def references(harness: Harness, scenarios: Iterable[Scenario], at_once: int = AT_ONCE) -> dict[str, Reference]:
    """Play each scenario without a fault, twice."""
    at_a_time = asyncio.Semaphore(at_once)

    async def one(scenario: Scenario) -> Reference:
        async with at_a_time:
            return await harness.reference(scenario)

    async with asyncio.TaskGroup() as tasks:
        found = {scenario.name: tasks.create_task(one(scenario)) for scenario in scenarios}
    return {name: task.result() for name, task in found.items()}


async def carried_out(
    harness: Harness,
    goal: Goal,
    scenarios: Mapping[str, Scenario],
    faults: Mapping[str, Kind],
    known: Mapping[str, Reference],
    seconds: float,
    told: Callable[[Outcome], None] = lambda _: None,
    at_once: int = AT_ONCE,
) -> Campaign:
    """Run until the goal is reached, or until there is no time left."""
    cells = [(fault, scenario) for fault in faults for scenario in scenarios]
    campaign = Campaign(goal, cells)
    deadline = time.monotonic() + seconds
    ahead = _places(cells, faults, known)

    async def work() -> None:
        while not campaign.is_reached and time.monotonic() < deadline:
            (fault, scenario), number = next(one for one in ahead if campaign.lacks(one[0]))
            outcome = await harness.faulty(scenarios[scenario], faults[fault], number, known[scenario])
            campaign.take(outcome)
            told(outcome)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work())
    return campaign


def _places(
    cells: Sequence[Cell], faults: Mapping[str, Kind], known: Mapping[str, Reference]
) -> Iterator[tuple[Cell, int]]:
    """Yield for ever which fault is to come in which scenario, and at which place; the same in every campaign.

    The first place comes first in each: it is what all others wait for.
    """
    rng = random.Random(645)
    numbers: dict[Cell, Iterator[int]] = {}
    for fault, scenario in cells:
        places = list(range(2, known[scenario].counts.of(faults[fault].place) + 1))
        rng.shuffle(places)
        numbers[fault, scenario] = itertools.cycle([1, *places])
    while True:
        order = list(cells)
        rng.shuffle(order)
        for cell in order:
            yield cell, next(numbers[cell])
