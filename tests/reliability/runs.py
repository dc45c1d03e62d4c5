"""One run, and many of them."""

import asyncio
import contextlib
import itertools
import random
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from benchmarks.build import Build
from benchmarks.engine_room.processes import cpu_seconds
from tests.cluster import Cluster
from tests.cluster.deploy import RELEASE, account_kubeconfig, rendered
from tests.support.admission import patching, webhook
from tests.support.api import APPLY, Refused

from .api import Connection, Json
from .controllers import Controllers
from .faults import FAULTS, Kind, Place, Trouble
from .operators import THIS_BUILD, Operator, Operators
from .oracle import POKE, End, differences, end_of, untrue
from .proxy import Fault, Line, Proxy
from .scenarios import MIRRORED, SCENARIOS, Scenario, Stage
from .world import InVain, Scene, World

CONFIG = """
runtimes:
  - {name: cpu, image: "converter:test", tensorflow: 2.14.1, accelerator: None}
defaultRuntime: cpu
"""
AT_ONCE = 30
PATIENCE_SECONDS = 60.0
"""Of each step of a scenario, and of what comes after the last one."""
QUIET_SECONDS = 0.5
LAST_PASSES = 3
LONGEST_SECONDS = 240.0
"""Of a run."""
LONGEST_LATENCY_SECONDS = 0.3
FIRST_HEALTH_PORT = 21000


@dataclass(frozen=True, slots=True)
class Counts:
    """What there was in a run, of which a fault may take the place."""

    writes: int
    questions: int
    events: int

    def of(self, place: Place) -> int:
        """Return how many there were."""
        return {Place.WRITE: self.writes, Place.QUESTION: self.questions, Place.EVENT: self.events}[place]


@dataclass(frozen=True, slots=True)
class Reference:
    """A scenario without a fault."""

    end: End
    counts: Counts


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run."""

    scenario: str
    fault: str
    number: int
    """At which write, question or event the fault was to come."""
    fired: bool
    failures: tuple[str, ...]
    seconds: float
    kills: int
    cpu_seconds: float
    """Of the operator that ran last."""
    end: End | None = None
    counts: Counts | None = None
    log: str = field(default="", repr=False)


class Harness:
    """A control plane, a proxy, and operators of one build."""

    def __init__(self, world: World, proxy: Proxy, operators: Operators, folder: Path, chart: "Chart") -> None:
        self._world = world
        self._proxy = proxy
        self._operators = operators
        self._folder = folder
        self._chart = chart
        self._numbers = itertools.count(1)
        self._name = f"run-{uuid.uuid4().hex[:6]}"
        self._ports = list(range(FIRST_HEALTH_PORT, FIRST_HEALTH_PORT + 200))
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    @asynccontextmanager
    async def ready(cls, cluster: Cluster, build: Build = THIS_BUILD) -> AsyncIterator["Harness"]:
        """Have one on a control plane that runs."""
        async with contextlib.AsyncExitStack() as stack:
            admin = await stack.enter_async_context(Connection.opened(cluster.kubeconfig))
            nobody = await stack.enter_async_context(Connection.opened(cluster.kubeconfig, as_nobody=True))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            chart = await asyncio.to_thread(Chart.installed, cluster, build, folder)
            mirror = stack.enter_context(webhook(cluster.layout.host_address, _mirrored))
            await _have_mirrored(admin, mirror.configuration)
            world = await stack.enter_async_context(World.watched(admin))
            proxy = await stack.enter_async_context(Proxy.running(nobody))
            operators = await stack.enter_async_context(Operators.of(build))
            harness = cls(world, proxy, operators, folder, chart)
            harness._http = await stack.enter_async_context(aiohttp.ClientSession())
            yield harness

    @property
    def unknown_timers(self) -> Sequence[str]:
        """The timers that this build does not have."""
        return self._operators.unknown_timers

    async def reference(self, scenario: Scenario) -> Reference:
        """Play a scenario twice without a fault, and return what it comes to.

        Raises:
            AssertionError: it fails, or comes to something else the second time.
        """
        first = await self.run(scenario, "none", Fault(), 0, None)
        assert not first.failures, f"{scenario.name} without a fault: {first.failures}\n{first.log[-3000:]}"
        assert first.end is not None
        assert first.counts is not None
        second = await self.run(scenario, "none", Fault(), 0, first.end)
        assert not second.failures, f"{scenario.name} without a fault, once more: {second.failures}"
        return Reference(first.end, first.counts)

    async def faulty(self, scenario: Scenario, kind: Kind, number: int, reference: Reference) -> Outcome:
        """Play a scenario with a fault."""
        return await self.run(scenario, kind.name, kind.make(number), number, reference.end, slow=True)

    async def run(
        self, scenario: Scenario, name: str, fault: Fault, number: int, wanted: End | None, *, slow: bool = False
    ) -> Outcome:
        """Play a scenario once."""
        run = f"{self._name}-{next(self._numbers)}"
        began = time.monotonic()
        scene = await self._world.scene(run, self._chart.rights(run), dict(scenario.labels))
        line = self._proxy.open(run, run, fault)
        rng = random.Random(f"{scenario.name} {name} {number} {run}")
        if slow:
            line.latency = lambda: rng.uniform(0, LONGEST_LATENCY_SECONDS) * (rng.random() < 0.5)
        replica = _Replica(self, run, self._ports.pop(0))
        line.kill = replica.kill
        if isinstance(fault, Trouble):
            fault.is_told = lambda: _tells_of_failed_writes(scene)
        controllers = Controllers(scene)
        failures: list[str] = []
        try:
            await replica.start()
            async with asyncio.timeout(LONGEST_SECONDS):
                await scenario.play(Stage(scene, controllers, replica, PATIENCE_SECONDS))
                failures += await self._end(scene, line, replica, scenario, wanted)
        except (InVain, AssertionError, TimeoutError, Refused, aiohttp.ClientError) as failure:
            failures.append(f"{type(failure).__name__}: {failure}")
            if wanted is not None:
                failures += differences(wanted, end_of(scene, scenario.alike))
        finally:
            await controllers.stop()
            await self._proxy.close(run)
            await replica.end()
            self._ports.append(replica.port)
            self._world.forget(scene)
        if isinstance(fault, Trouble) and fault.untold:
            failures.append(fault.untold)
        failures += [f"the operator ended by itself with {code}" for code in replica.ends]
        log = replica.log
        if "Traceback" in log:
            failures.append("a traceback in the operator's log")
        return Outcome(
            scenario.name,
            name,
            number,
            fault.fired,
            tuple(failures),
            round(time.monotonic() - began, 1),
            replica.kills,
            replica.cpu_seconds,
            end_of(scene, scenario.alike),
            Counts(line.writes, line.questions, line.events),
            log,
        )

    async def _end(
        self, scene: Scene, line: Line, replica: "_Replica", scenario: Scenario, wanted: End | None
    ) -> list[str]:
        """Wait until there is nothing more to do, and look at what there is."""
        seen = (-1, -1)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            now = (line.writes, sum(len(told) for told in scene.told.values()))
            found = end_of(scene, scenario.alike)
            is_there = not scene.has_leftovers and (wanted is None or found.objects == wanted.objects)
            is_there = is_there and not line.fault.is_behind(line, scene.newest)
            if (now == seen and is_there) or time.monotonic() > deadline:
                break
            seen = now
            # What is to be compared with has to be an end.
            await asyncio.sleep(QUIET_SECONDS if wanted is not None else 4 * QUIET_SECONDS)
        failures = [] if wanted is None else differences(wanted, found)
        failures += untrue(scene)
        if not failures:
            failures += await self._second_pass(scene, line, replica)
            failures += [] if wanted is None else differences(wanted, end_of(scene, scenario.alike))
        return failures

    async def _second_pass(self, scene: Scene, line: Line, replica: "_Replica") -> list[str]:
        """Have every model looked at once more; there is nothing to write.

        What was still under way, on a busy machine, may be written in one pass. In the next one nothing is.
        """
        written: list[str] = []
        for again in range(LAST_PASSES):
            before = len(line.written)
            if not await self._looked_at(scene, replica, str(again)):
                return ["a model that was touched was not looked at"]
            await asyncio.sleep(QUIET_SECONDS / 2)
            if not (written := line.written[before:]):
                return []
        return [f"a second pass writes: {words}" for words in written]

    async def _looked_at(self, scene: Scene, replica: "_Replica", value: str) -> bool:
        """Touch every model, and wait until each has been looked at."""
        models = [model["metadata"]["name"] for model in scene.of("TRTModel")]
        passes = await self._passes(replica)
        if passes is None:
            return True  # an older build, which does not count them
        for name in models:
            await scene.api.patch("TRTModel", name, {"metadata": {"annotations": {POKE: value}}})
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (await self._passes(replica) or 0) < passes + len(models):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)
        return True

    async def _passes(self, replica: "_Replica") -> int | None:
        """Return how many passes the operator has made over models."""
        assert self._http is not None
        url = f"http://127.0.0.1:{replica.port}/metrics"
        while True:
            try:
                async with self._http.get(url) as response:
                    if response.status == 404:
                        return None
                    text = await response.text()
                    break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)  # it was started a moment ago
        counts = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("tftrt_operator_reconcile_duration_seconds_count")
        ]
        return int(sum(counts))


class _Replica:
    """The operator of one run, which may be killed and is then started again."""

    def __init__(self, harness: Harness, run: str, port: int) -> None:
        self._harness = harness
        self._run = run
        self.port = port
        self.kills = 0
        self.cpu_seconds = 0.0
        self.ends: list[int] = []
        self._operator: Operator | None = None
        self._folder = harness._folder / run
        self._folder.mkdir()
        self._is_to_end = False
        self._restarting: asyncio.Task[None] | None = None
        chart = harness._chart
        (self._folder / "config.yaml").write_text(chart.configuration(run))
        (self._folder / "kubeconfig").write_text(chart.kubeconfig(harness._proxy.address(run)))

    async def start(self) -> None:
        """Start it, for the first time or once more."""
        self._is_to_end = False
        arguments = ["--config", "config.yaml", "--health-port", str(self.port)]
        self._operator = await self._harness._operators.start(self._folder, arguments)
        self._operator.code.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Tell it to end, and wait until it has."""
        self._is_to_end = True
        if self._restarting is not None:
            await self._restarting
        assert self._operator is not None
        code = await self._operator.stop()
        if code and not self.kills:
            self.ends.append(code)

    def kill(self) -> None:
        """Kill it; it is started again."""
        if self._operator is not None and self._operator.runs:
            self.kills += 1
            self._operator.kill()

    async def end(self) -> None:
        """Have it end with its run."""
        self._is_to_end = True
        if self._restarting is not None:
            await self._restarting
        if self._operator is not None:
            self.cpu_seconds = _cpu_seconds(self._operator)
            self._operator.kill()
            await self._operator.code

    @property
    def log(self) -> str:
        return "" if self._operator is None else self._operator.log

    def _ended(self, code: "asyncio.Future[int]") -> None:
        if not self._is_to_end:
            if code.result() != -9:
                self.ends.append(code.result())
            self._restarting = asyncio.get_running_loop().create_task(self.start())


@dataclass(frozen=True, slots=True)
class Chart:
    """What the chart makes of its namespaced mode, for each run's namespace."""

    roles: tuple[Json, ...]
    account: Json
    is_namespaced: bool

    PLACEHOLDER = "run-0"

    @classmethod
    def installed(cls, cluster: Cluster, build: Build, folder: Path) -> "Chart":
        """Install the account, and learn what rights it is to have in each namespace."""
        path = build.folder / "charts" / "tftrt-operator"
        values = {"watchNamespaces": [cls.PLACEHOLDER]}
        is_namespaced = "watchNamespaces" in (path / "values.yaml").read_text()
        if cls.PLACEHOLDER not in cluster.kubectl("get", "namespaces"):
            cluster.kubectl("create", "namespace", cls.PLACEHOLDER)
        made = rendered(cluster, RELEASE, ("rbac",), values, path) if is_namespaced else []
        roles = tuple(body for body in made if body["metadata"].get("namespace") == cls.PLACEHOLDER)
        kubeconfig = account_kubeconfig(cluster, RELEASE, folder, values if is_namespaced else {}, path)
        return cls(roles, yaml.safe_load(kubeconfig.read_text()), is_namespaced)

    def rights(self, namespace: str) -> list[Json]:
        """Return the Role and RoleBinding for a namespace."""
        return [{**body, "metadata": {**body["metadata"], "namespace": namespace}} for body in self.roles]

    def kubeconfig(self, server: str) -> str:
        """Return the account's kubeconfig for a server."""
        config = {
            **self.account,
            "clusters": [{"name": one["name"], "cluster": {"server": server}} for one in self.account["clusters"]],
        }
        return yaml.safe_dump(config)

    def configuration(self, namespace: str) -> str:
        """Return the operator's configuration for a namespace."""
        return CONFIG + (f"watchNamespaces: [{namespace}]\n" if self.is_namespaced else "")


def _cpu_seconds(operator: Operator) -> float:
    try:
        return cpu_seconds(operator.pid)
    except OSError:
        return 0.0


def _mirrored(_request: Json) -> Json:
    image = "/spec/template/spec/containers/0/image"
    return patching({"op": "replace", "path": image, "value": "mirror.example/converter:1"})


async def _have_mirrored(admin: Connection, configuration: Any) -> None:
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}
    body = configuration("MutatingWebhookConfiguration", "mirror", "reliability", rule)
    body["webhooks"][0]["namespaceSelector"] = {"matchLabels": {MIRRORED: "true"}}
    path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{body['metadata']['name']}"
    await admin.request("PATCH", f"{path}?fieldManager=reliability&force=true", body, APPLY)


def _tells_of_failed_writes(scene: Scene) -> bool:
    return any(
        one["reason"] == "WriteFailed"
        for model in scene.of("TRTModel")
        for one in model.get("status", {}).get("conditions", ())
    )


__all__ = ["FAULTS", "SCENARIOS", "Harness", "Outcome", "Reference"]
