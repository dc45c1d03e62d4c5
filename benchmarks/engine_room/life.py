"""Many models from apply to Ready, a step at a time, and what each of the two phases came to."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.build import Operator
from tests.cluster import Cluster
from tests.cluster.audit import Call
from tests.cluster.processes import pid_of
from tests.cluster.progress import say

from . import controllers, processes
from .asked import Asked, counted, is_creation_of
from .driver import DEPLOYMENTS, JOBS, Driver, Place, creations, rows_of
from .results import Phase

IDLE_SHARE_OF_A_CPU = 0.2
"""Of a second; who uses more is not done, even if it has written nothing for a while."""
OBJECTS = ("deployments", "services", "networkpolicies", "poddisruptionbudgets", "horizontalpodautoscalers")


@dataclass(frozen=True, slots=True)
class Lived:
    """Models that have come from apply to Ready; CPU of the operator."""

    jobs: Phase
    servers: Phase
    cpu_seconds: float
    second_cpu_seconds: float
    writes: dict[str, int]
    reads: dict[str, int]
    first_writes: list[Call]
    second_writes: list[Call]

    @property
    def created(self) -> list[Call]:
        """The writes that made what serves."""
        return [call for call in self.second_writes if is_creation_of(call, *OBJECTS)]


def tell(what: str, phase: Phase) -> None:
    """Print what a phase came to, for a person who waits."""
    used = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phase.cpu_seconds.items())
    say(f"{what}: {phase.models:,} models, {phase.models_per_second:,.1f} a second; CPU: {used}")


class Life:
    """Brings models from apply to Ready, all of them a step at a time."""

    def __init__(self, cluster: Cluster, asked: Asked, driver: Driver, operator: Operator) -> None:
        self._asked = asked
        self._driver = driver
        self._operator = operator.process.pid
        self._meter = Meter(cluster, {"operator": operator.process.pid})

    async def lived(
        self, where: Sequence[Place], objects_a_model: int, phase_is_over: Callable[[str, Phase], None] = tell
    ) -> Lived:
        """Bring them there; of what serves a model so many objects are waited for, or until nothing more is written."""
        asked, driver, count = self._asked, self._driver, len(where)
        rows = creations(where)  # all that is sent at once is made before the time begins
        begin, cpu, meter = time.time(), processes.cpu_seconds(self._operator), self._meter.read()
        await driver.send(rows)
        applied = time.time()
        jobs = await asked.wait_for("Jobs", lambda call: is_creation_of(call, "jobs"), count, begin)
        first = Phase(count, last_answer(jobs) - begin, applied - begin, self._meter.since(meter))
        phase_is_over("applied -> all Jobs created", first)
        await self._settle()
        first_writes = [call for call in asked.since(begin) if call.is_write]
        listed = await driver.all_of(JOBS, where)
        steps = {"wait": controllers.WAITS, "run": controllers.RUNS, "succeed": controllers.HAS_SUCCEEDED}
        for name, step in steps.items():
            say(f"the pods of {count:,} Jobs {name}")
            await driver.send(rows_of(step, listed))
            await self._settle()
        rows = rows_of(controllers.IS_DONE, listed)
        del listed  # thousands of large objects
        second_begin, second_cpu, meter = time.time(), processes.cpu_seconds(self._operator), self._meter.read()
        await driver.send(rows)
        done = time.time()
        wanted = objects_a_model * count
        made = await asked.wait_for("objects", lambda call: is_creation_of(call, *OBJECTS), wanted, second_begin)
        meter = self._meter.since(meter)
        await self._settle()
        second_used = processes.cpu_seconds(self._operator) - second_cpu
        second_writes = [call for call in asked.since(second_begin) if call.is_write]
        made = made or [call for call in second_writes if is_creation_of(call, *OBJECTS)]
        second = Phase(count, last_answer(made) - second_begin, done - second_begin, meter)
        phase_is_over("all Jobs done -> all objects created", second)
        deployments = await driver.all_of(DEPLOYMENTS, where)
        for name, step in {"begin": controllers.BEGINS, "answer": controllers.ANSWERS}.items():
            say(f"{count:,} servers {name}")
            await driver.send(rows_of(step, deployments))
            await self._settle()
        used = processes.cpu_seconds(self._operator) - cpu
        calls = asked.since(begin)
        writes = counted(call for call in calls if call.is_write)
        reads = counted(call for call in calls if call.verb in ("get", "list"))
        await driver.wait_until_ready(where)
        return Lived(first, second, used, second_used, writes, reads, first_writes, second_writes)

    async def _settle(self) -> None:
        """Wait until the operator has written nothing for a while, and is not about to."""
        while True:
            await self._asked.settle()
            before = processes.cpu_seconds(self._operator)
            await asyncio.sleep(1)
            if processes.cpu_seconds(self._operator) - before < IDLE_SHARE_OF_A_CPU:
                return


class Meter:
    """The CPU that each part of a run has used."""

    def __init__(self, cluster: Cluster, others: dict[str, int]) -> None:
        layout = cluster.layout
        control_plane = {"API server": pid_of(layout, "apiserver"), "etcd": pid_of(layout, "etcd")}
        self._pids = {**others, **control_plane, "driver": os.getpid()}

    def read(self) -> dict[str, float]:
        """Return it in seconds."""
        return {name: processes.cpu_seconds(pid) for name, pid in self._pids.items()}

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """Return what has been used since then."""
        return {name: round(used - before[name], 2) for name, used in self.read().items()}


def last_answer(calls: Sequence[Call]) -> float:
    """Return when the last of them was answered."""
    return max(call.answered for call in calls)
