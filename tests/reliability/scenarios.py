"""What happens to models: each scenario is what users do, and waits at each step for what is to come of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.support.trtmodels import trtmodel

from .controllers import Controllers, Done, Fails, Hangs, done
from .world import Scene

MODEL = "model"
TWINS = ("twin-a", "twin-b", "twin-c", "twin-d")
BETWEEN_TWINS_SECONDS = 0.15
MIRRORED = "tftrt.test/mirrored"
"""The label of namespaces whose Deployments a webhook changes."""
RETRY = "tftrt.dev/retry"


class Replica(Protocol):
    """The operator, as far as a scenario ends and starts it."""

    async def stop(self) -> None:
        """Tell it to end, and wait until it has."""

    async def start(self) -> None:
        """Start it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a scenario is played."""

    scene: Scene
    controllers: Controllers
    operator: Replica
    patience: float
    """Seconds for which each step is waited for."""

    async def apply(self, name: str = MODEL, **spec: Any) -> None:
        """Create a TRTModel."""
        body = trtmodel(name, **{"source": {"uri": "pvc://models/resnet50"}, **spec})
        del body["spec"]["runtime"]  # the default is meant, which a spec had another field for in older builds
        self.scene.take("TRTModel", "ADDED", await self.scene.api.create(body))

    async def change(self, name: str = MODEL, **spec: Any) -> None:
        """Change a TRTModel's spec."""
        self.scene.take("TRTModel", "MODIFIED", await self.scene.api.patch("TRTModel", name, {"spec": spec}))

    async def until(self, what: str, condition: Callable[[], Any]) -> None:
        """Wait for something."""
        await self.scene.until(what, condition, self.patience)

    async def until_ready(self, *names: str) -> None:
        """Wait until models are Ready."""
        await self.until("Ready", lambda: self.scene.are_ready(*(names or (MODEL,))))

    async def until_told(self, reason: str) -> None:
        """Wait until the model is not Ready for a reason."""
        await self.until(reason, lambda: self.scene.condition(MODEL)[1] == reason)

    async def until_gone(self) -> None:
        """Wait until the model is gone with what was its."""
        await self.until("the model is gone", lambda: self.scene.find("TRTModel", MODEL) is None)


async def _apply(stage: Stage) -> None:
    await stage.apply()
    await stage.until_ready()


async def _change(stage: Stage) -> None:
    await _apply(stage)
    await stage.change(conversion={"maxBatchSize": 4})
    await stage.until_ready()


async def _gate(stage: Stage) -> None:
    measured = {"samples": 9, "top1Agreement": "0.9000", "maxRelativeError": "0.0001"}
    stage.controllers.end_of = lambda _job: Done({"verification": measured})
    await stage.apply(verification={"minTop1Agreement": "0.95"})
    await stage.until_told("AccuracyBelowThreshold")
    await stage.change(verification={"minTop1Agreement": "0.85"})
    await stage.until_ready()


async def _retry(stage: Stage) -> None:
    stage.controllers.end_of = lambda _job: Fails(11, "SourceNotFound")
    await stage.apply()
    await stage.until_told("SourceNotFound")
    stage.controllers.end_of = done
    await stage.scene.api.patch("TRTModel", MODEL, {"metadata": {"annotations": {RETRY: "1"}}})
    await stage.until_ready()


async def _twins(stage: Stage) -> None:
    """Four that ask for one engine; each of the others comes while one may be at work."""
    scene = stage.scene

    def all_wait() -> bool:
        owners = [len(job["metadata"].get("ownerReferences", ())) for job in scene.of("Job")]
        return sum(owners) >= len(TWINS)

    stage.controllers.end_of = lambda _job: Hangs()
    for name in TWINS:
        await stage.apply(name)
        await asyncio.sleep(BETWEEN_TWINS_SECONDS)
    await stage.until("all wait for a Job", all_wait)
    stage.controllers.end_of = done
    stage.controllers.look_again()
    await stage.until_ready(*TWINS)


async def _deletion(stage: Stage) -> None:
    await stage.apply(artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"})
    await stage.until_ready()
    await stage.scene.api.delete("TRTModel", MODEL)
    await stage.until_gone()


async def _deletion_while_converting(stage: Stage) -> None:
    stage.controllers.end_of = lambda job: Done() if "cleanup" in job["metadata"]["name"] else Hangs()
    await stage.apply(artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"})
    await stage.until("ConversionRunning", lambda: stage.scene.condition(MODEL)[1] == "ConversionRunning")
    await stage.scene.api.delete("TRTModel", MODEL)
    await stage.until_gone()


async def _scale(stage: Stage) -> None:
    await _apply(stage)
    await stage.change(serving={"replicas": 3})
    await stage.until_ready()
    await stage.change(serving={"replicas": 1})
    await stage.until_ready()


async def _autoscaler(stage: Stage) -> None:
    await _apply(stage)
    await stage.change(serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 3}})
    await stage.until("an autoscaler", lambda: stage.scene.of("HorizontalPodAutoscaler"))
    await stage.until_ready()
    await stage.change(serving={"autoscaling": None})
    await stage.until("no autoscaler", lambda: not stage.scene.of("HorizontalPodAutoscaler"))
    await stage.until_ready()


async def _going_back(stage: Stage) -> None:
    await _change(stage)
    await stage.change(conversion={"maxBatchSize": None})
    await stage.until_ready()


async def _quota(stage: Stage) -> None:
    """No room for a Job, and later some; nobody tells the operator when."""
    scene = stage.scene

    async def allow(jobs: str) -> None:
        hard = {"count/jobs.batch": jobs}
        await scene.api.patch("ResourceQuota", "jobs", {"spec": {"hard": hard}})
        status = {"hard": hard, "used": {"count/jobs.batch": "0"}}
        await scene.api.patch("ResourceQuota", "jobs", {"status": status}, "/status")

    spec = {"hard": {"count/jobs.batch": "0"}}
    await scene.api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "jobs"}, "spec": spec})
    await allow("0")
    await stage.apply()
    await stage.until_told("WriteForbidden")
    await allow("10")
    await stage.until_ready()


async def _namesake(stage: Stage) -> None:
    await _apply(stage)
    await stage.scene.api.delete("TRTModel", MODEL)
    await stage.apply(conversion={"maxBatchSize": 2})
    await stage.until("another of this name", lambda: len(stage.scene.made["TRTModel"]) == 2)
    await stage.until_ready()


async def _foreign_object(stage: Stage) -> None:
    port = {"name": "http", "port": 80}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": MODEL}, "spec": {"ports": [port]}}
    await stage.scene.api.create(service)
    await stage.apply()
    await stage.until_told("NameConflict")
    await stage.scene.api.delete("Service", MODEL)
    await stage.until_ready()


async def _webhook(stage: Stage) -> None:
    await _apply(stage)
    await stage.change(serving={"replicas": 2})
    await stage.until_ready()


async def _restart(stage: Stage) -> None:
    """The operator is away while a spec changes and an object goes."""
    await _apply(stage)
    await stage.operator.stop()
    await stage.change(conversion={"maxBatchSize": 4})
    await stage.scene.api.delete("Service", MODEL)
    await stage.operator.start()
    await stage.until_ready()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, and what its end may differ in without being another one."""

    name: str
    play: Callable[[Stage], Awaitable[None]]
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the namespace."""
    alike: tuple[str, ...] = ()
    """Names of models of which any may have done what one does for all."""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("apply", _apply),
        Scenario("change", _change),
        Scenario("gate", _gate),
        Scenario("retry", _retry),
        Scenario("twins", _twins, alike=TWINS),
        Scenario("delete with artifacts", _deletion),
        Scenario("delete while converting", _deletion_while_converting),
        Scenario("scale", _scale),
        Scenario("autoscaler", _autoscaler),
        Scenario("going back", _going_back),
        Scenario("webhook", _webhook, labels={MIRRORED: "true"}),
        Scenario("quota", _quota),
        Scenario("namesake", _namesake),
        Scenario("foreign object", _foreign_object),
        Scenario("restart", _restart),
    )
}
