"""`python -m tests.reliability.leader`: of two replicas the one that acts is killed, again and again.

While the driver plays 200 conversions, the leader is ended by `kill -9` twenty times, each time while some of them are
under way, and another replica is started in its place. Timers are those of production. The same conversions without a
kill are what the end is compared with.
"""

import asyncio
import contextlib
import itertools
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import yaml

from benchmarks.machine import machine
from benchmarks.reliability import PAGE, page
from tests.cluster import Cluster
from tests.cluster.deploy import NAMESPACE, RELEASE
from tests.cluster.progress import say
from tests.support.trtmodels import trtmodel

from .__main__ import INSTANCE
from .api import Api, Connection
from .controllers import Controllers
from .operators import THIS_BUILD, Operator, Operators
from .oracle import End, differences, end_of, untrue
from .results import RESULTS, Json, write
from .runs import CONFIG, Chart
from .world import Scene, World

MODELS, KILLS = 200, 20
TAKES_OVER_SECONDS = 15.0
"""docs/how-it-works.md"""
READY_SECONDS = 600.0
FIRST_HEALTH_PORT = 21300


class Replicas:
    """Two of them for one namespace."""

    def __init__(self, operators: Operators, chart: Chart, admin: Connection, folder: Path, namespace: str) -> None:
        self._operators = operators
        self._chart = chart
        self._lease = Api(admin, NAMESPACE)
        self._folder = folder
        self._namespace = namespace
        self._ports = itertools.count(FIRST_HEALTH_PORT)
        self._running: dict[int, Operator] = {}

    async def start(self) -> None:
        """Start one more."""
        port = next(self._ports)
        folder = self._folder / f"{self._namespace}-{port}"
        folder.mkdir()
        (folder / "config.yaml").write_text(CONFIG + f"watchNamespaces: [{self._namespace}]\n")
        (folder / "kubeconfig").write_text(yaml.safe_dump(self._chart.account))
        arguments = ("--config", "config.yaml", "--health-port", str(port), "--lease", f"{NAMESPACE}/{RELEASE}")
        self._running[port] = await self._operators.start(folder, arguments)

    async def leader(self, http: aiohttp.ClientSession) -> int:
        """Wait until one acts, and return its port."""
        async with asyncio.timeout(READY_SECONDS):
            while True:
                for port in tuple(self._running):  # another one is being started beside this
                    if await _leads(http, port):
                        return port
                await asyncio.sleep(0.1)

    async def kill_leader(self, http: aiohttp.ClientSession) -> float:
        """Kill the one that acts and start another; returns the seconds until a replica acts again."""
        port = await self.leader(http)
        killed = self._running.pop(port)
        killed.kill()
        began = time.monotonic()
        await killed.code
        starting = asyncio.create_task(self.start())
        await self.leader(http)
        seconds = time.monotonic() - began
        await starting
        return seconds

    async def stop(self) -> None:
        """End both."""
        for operator in self._running.values():
            await operator.stop()
        self._running.clear()


async def _leads(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://127.0.0.1:{port}/metrics") as response:
            return "tftrt_operator_leader 1.0" in await response.text()
    except aiohttp.ClientConnectionError:
        return False


async def played(scene: Scene, replicas: Replicas, models: int, kills: int) -> tuple[list[float], list[str]]:
    """Apply the models in parts, with a kill in each; returns how long each take-over took, and what is not so."""
    names = [f"model-{number:03}" for number in range(models)]
    size = models // max(kills, KILLS)
    took: list[float] = []
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            await replicas.start()
        await replicas.leader(http)
        for first in range(0, models, size):
            part = names[first : first + size]
            for name in part:
                body = trtmodel(name, source={"uri": f"pvc://models/{name}"})
                del body["spec"]["runtime"]
                await scene.api.create(body)
            if len(took) < kills:
                here = len(scene.made["Job"])
                await scene.until("a Job", lambda here=here: len(scene.made["Job"]) > here, READY_SECONDS)  # type: ignore[misc]
                took.append(round(await replicas.kill_leader(http), 2))
                say(f"kill {len(took)}: another acts after {took[-1]:.1f} s")
        await scene.until("all are Ready", lambda: scene.are_ready(*names), READY_SECONDS)
        said = untrue(scene)
        await replicas.stop()
    return took, said


async def measured(cluster: Cluster, models: int = MODELS, kills: int = KILLS) -> Json:
    """Play it without kills and with them, and compare."""
    async with contextlib.AsyncExitStack() as stack:
        admin = await stack.enter_async_context(Connection.opened(cluster.kubeconfig))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chart = await asyncio.to_thread(Chart.installed, cluster, THIS_BUILD, folder)
        world = await stack.enter_async_context(World.watched(admin))
        operators = await stack.enter_async_context(Operators.of(THIS_BUILD, {}))
        ends: list[End] = []
        took: list[float] = []
        failures: list[str] = []
        began = time.monotonic()
        for namespace, count in (("calm", 0), ("killed", kills)):
            scene = await world.scene(namespace, chart.rights(namespace))
            controllers = Controllers(scene)
            replicas = Replicas(operators, chart, admin, folder, namespace)
            found, said = await played(scene, replicas, models, count)
            took += found
            failures += said
            ends.append(end_of(scene, ()))
            await controllers.stop()
        failures += differences(*ends)
        failures += [f"another acted after {one} s" for one in took if one > TAKES_OVER_SECONDS]
        return {
            "commit": THIS_BUILD.commit,
            "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "machine": asdict(machine()),
            "seconds": round(time.monotonic() - began),
            "models": models,
            "kills": len(took),
            "takeOverSeconds": took,
            "jobs": ends[-1].jobs,
            "failures": failures,
        }


def main() -> int:
    """Run, and write the results; returns the exit code."""
    with Cluster(INSTANCE).api_server(THIS_BUILD.folder / "crds") as cluster:
        found = asyncio.run(measured(cluster))
    for failure in found["failures"]:
        say(failure)
    say(f"{found['kills']} kills, another acts after {max(found['takeOverSeconds'])} s at most; {found['jobs']} Jobs")
    if not found["failures"]:
        write("leader", found)
        PAGE.write_text(page(RESULTS.parent))
    return int(bool(found["failures"]))


if __name__ == "__main__":
    sys.exit(main())
