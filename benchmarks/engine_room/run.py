"""One run: a control plane, an operator, and many models from apply to Ready and on."""

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.build import ROOT, Build, Operator
from tests.cluster import Cluster
from tests.cluster.audit import WITH_BODIES
from tests.cluster.deploy import RELEASE, account_kubeconfig
from tests.cluster.progress import say

from . import bare, controllers, processes
from .asked import Asked, counted, is_creation_of
from .changes import make_changes
from .client import Client
from .driver import JOBS, MODELS, Driver, Place, Row, creations, places, rows_of
from .life import OBJECTS, Life, Lived, Meter, last_answer, tell
from .results import Delays, Idle, Phase, Run, Start

INSTANCE = 6
NAMESPACES = 10
"""The operator works on a few models of a namespace at a time: these are as many as all its workers can work on."""
MOST_OTHERS = MOST_BARE = 1000
SECONDS_BETWEEN_CHANGES, SECONDS_BETWEEN_CHANGES_BESIDE_OTHERS = 0.2, 0.1
QUIET_SECONDS, QUIET_SHARE_OF_A_CPU = 5.0, 0.05
START_SECONDS = 1200
SAMPLE = Place(WITH_BODIES, "model-99999")
"""It goes before the others, so that all code has run once, and its writes are known with their bodies."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is to be measured."""

    name: str
    build: Build
    models: int
    changes: int
    """Of models that have nothing else to do, and once more of others while yet others are converted."""
    idle_minutes: float

    @property
    def sentence(self) -> str:
        """What this is, for a person who waits."""
        return f"{self.name} ({self.build.commit}): {self.models:,} models"

    @property
    def minutes(self) -> float:
        """About how long it takes on two cores that nobody else uses."""
        return 5 + self.idle_minutes + self.models * 0.004

    def run(self, part_is_known: Callable[[Run], None]) -> Run:
        """Measure it, on a control plane that nothing was on before. What is known is told after each part.

        Raises:
            RuntimeError, TimeoutError, RefusedError: a part does not come up, or does not do its part.
        """
        others = min(self.models, MOST_OTHERS)
        run = Run(self.name, self.build.commit, self.models, NAMESPACES, others, round(os.getloadavg()[0], 1))
        crds = self.build.folder / "crds"
        with Cluster(INSTANCE).api_server(crds) as cluster, tempfile.TemporaryDirectory() as folder:
            chart = self.build.folder / "charts" / "tftrt-operator"
            account = account_kubeconfig(cluster, RELEASE, Path(folder), {}, chart)
            return asyncio.run(_measured(self, cluster, account, Notes(run, part_is_known)))


class Notes:
    """What is known of a run so far."""

    def __init__(self, run: Run, part_is_known: Callable[[Run], None]) -> None:
        self.run = run
        self._part_is_known = part_is_known

    def add(self, **parts: object) -> None:
        """Take note of parts."""
        self.run = replace(self.run, **parts)  # type: ignore[arg-type]
        self._part_is_known(self.run)

    def add_phase(self, words: str, phase: Phase) -> None:
        """Take note of a phase of the operator's."""
        tell(words, phase)
        self.add(**{"servers" if self.run.jobs is not None else "jobs": phase})


async def _measured(setting: Setting, cluster: Cluster, account: Path, notes: Notes) -> Run:
    build, models = setting.build, setting.models
    where = places("bench", models, NAMESPACES)
    others = places("others", notes.run.others, NAMESPACES)
    async with Client.connected(cluster.kubeconfig) as admin:
        asked, driver = Asked(cluster.layout), Driver(admin)
        await driver.make_namespaces([SAMPLE, *where, *others])
        with build.running(account) as operator:
            life = Life(cluster, asked, driver, operator)
            sample = await life.lived([SAMPLE], objects_a_model=0)
            lived = await life.lived(where, len(sample.created), notes.add_phase)
            notes.add(
                writes_a_model_in_second_phase=round(len(lived.second_writes) / models, 2),
                cpu_milliseconds_a_model=_milliseconds(lived.cpu_seconds, models),
                cpu_milliseconds_a_model_in_second_phase=_milliseconds(lived.second_cpu_seconds, models),
                writes_a_model=_each(lived.writes, models),
                reads_a_model=_each(lived.reads, models),
                memory=processes.memory(operator.process.pid),
            )
            del lived  # all of its calls
            say(f"nothing changes for {setting.idle_minutes:g} minutes")
            notes.add(idle=await _idle(asked, operator, setting.idle_minutes))
        say("the start")
        with build.started(account) as operator:
            notes.add(start=await _start(asked, operator))
            say("changes")
            alone = await make_changes(asked, driver, where[: setting.changes], SECONDS_BETWEEN_CHANGES)
            notes.add(change_when_idle=Delays.of([one.seconds for one in alone]))
            say(f"changes while {len(others):,} others are converted")
            async with driver.playing():
                applying = asyncio.create_task(driver.send(creations(others)))
                pause = SECONDS_BETWEEN_CHANGES_BESIDE_OTHERS
                beside = await make_changes(asked, driver, where[-setting.changes :], pause)
                await applying
                last = await driver.wait_until_ready(others)
            those = [one for one in beside if one.sent < last]
            notes.add(
                change_while_others_convert=Delays.of([one.seconds for one in those]),
                change_requests_while_others_convert=Delays.of([one.request_seconds for one in those]),
            )
            operator.look()
        say("the bare client")
        bare_jobs, bare_servers = await _bare_phases(cluster, account, admin, asked, sample, min(models, MOST_BARE))
        notes.add(bare_jobs=bare_jobs, bare_servers=bare_servers, bare_writes_a_model=len(sample.second_writes))
    return notes.run


async def _idle(asked: Asked, operator: Operator, minutes: float) -> Idle:
    begin, cpu = time.time(), processes.cpu_seconds(operator.process.pid)
    await asyncio.sleep(60 * minutes)
    used = processes.cpu_seconds(operator.process.pid) - cpu
    calls = asked.since(begin)
    told = (call for call in calls if call.verb != "watch" and call.resource != "leases")
    return Idle(minutes, counted(told), sum(call.verb == "watch" for call in calls), round(used, 2))


async def _start(asked: Asked, operator: Operator) -> Start:
    """Wait until the operator has used nearly no CPU and asked nothing for a while: it was quiet from then on."""
    pid, begin = operator.process.pid, time.time()
    seen = [(begin, processes.cpu_seconds(pid))]
    while True:
        await asyncio.sleep(0.25)
        operator.look()
        seen.append((time.time(), processes.cpu_seconds(pid)))
        window = [one for one in seen if one[0] >= seen[-1][0] - QUIET_SECONDS]
        (quiet, used), is_whole = window[0], len(window) < len(seen)
        is_still = seen[-1][1] - used < QUIET_SECONDS * QUIET_SHARE_OF_A_CPU
        if is_whole and is_still and all(call.verb == "watch" for call in asked.since(quiet)):
            break
        if seen[-1][0] > begin + START_SECONDS:
            raise TimeoutError(f"the operator is not quiet {START_SECONDS} s after its start")
    calls = asked.since(begin)
    operator.wait_until_healthy()
    writes = sum(call.is_write for call in calls)
    return Start(round(quiet - begin, 2), round(used, 2), counted(calls), writes, processes.memory(pid))


async def _bare_phases(
    cluster: Cluster, account: Path, admin: Client, asked: Asked, sample: Lived, models: int
) -> tuple[Phase, Phase]:
    """Have a bare client send, for as many models, what the operator sent for the sample in each of the phases.

    In the first it begins when all models are there, whose UIDs it has to know; that they are made counts as well.
    """
    driver, where, meter = Driver(admin), places("bare", models, NAMESPACES), Meter(cluster, {})
    await driver.make_namespaces(where)
    rows = creations(where)
    before, begin = meter.read(), time.time()
    await driver.send(rows)
    creating = time.time() - begin
    creating_used = meter.since(before)
    (job,), (model,) = await driver.all_of(JOBS, [SAMPLE]), await driver.all_of(MODELS, [SAMPLE])
    words = bare.words(job, model, await driver.uids(where))
    sending = await _sent_bare(account, meter, bare.Writes.of(sample.first_writes, words), [], driver)
    made = [call for call in asked.since(sending.begin) if is_creation_of(call, "jobs")]
    seconds = creating + last_answer(made) - sending.begin
    used = {name: round(spent + creating_used.get(name, 0), 2) for name, spent in sending.used.items()}
    first = Phase(models, seconds, creating, used)
    tell("a bare client's first phase", first)
    jobs = await driver.all_of(JOBS, where)
    await driver.send(rows_of(controllers.WAITS, jobs))
    done_rows = rows_of(controllers.IS_DONE, jobs)
    sending = await _sent_bare(account, meter, bare.Writes.of(sample.second_writes, words), done_rows, driver)
    made = [call for call in asked.since(sending.begin) if is_creation_of(call, *OBJECTS)]
    second = Phase(models, last_answer(made) - sending.begin, sending.driver_seconds, sending.used)
    tell("a bare client's second phase", second)
    return first, second


@dataclass(frozen=True, slots=True)
class _Sending:
    """What it took to send writes, the driver's among them."""

    begin: float
    driver_seconds: float
    used: Mapping[str, float]


async def _sent_bare(
    account: Path, meter: Meter, writes: bare.Writes, besides: Sequence[Row], driver: Driver
) -> _Sending:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "writes.json"
        file.write_text(writes.text())
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.engine_room.bare", str(account), str(file)),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
        )
        assert client.stdout is not None
        await client.stdout.readline()  # it is ready
        before, begin = meter.read(), time.time()
        answering = asyncio.create_task(client.communicate(b"\n"))
        await driver.send(besides)
        done = time.time()
        said, _ = await answering
        used = meter.since(before)
    if client.returncode:
        raise RuntimeError(f"the bare client ended with {client.returncode}")
    return _Sending(begin, done - begin, {"bare client": float(said), **used})


def _each(counts: Mapping[str, int], models: int) -> dict[str, float]:
    return {words: round(count / models, 2) for words, count in counts.items()}


def _milliseconds(seconds: float, models: int) -> float:
    return round(1000 * seconds / models, 2)
