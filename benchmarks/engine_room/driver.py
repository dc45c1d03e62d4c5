"""The driver: it applies TRTModels and plays the controllers, for all of them a step at a time, or as they come."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from tests.support.trtmodels import trtmodel

from . import controllers
from .asked import Progress
from .client import METADATA, Client, Json, Request, create, merge
from .controllers import Step

AT_ONCE = 32
"""Writes, or models whose steps are played as they come."""
MODELS = "/apis/tftrt.dev/v1alpha1/namespaces/{namespace}/trtmodels"
JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
ALL_JOBS, ALL_DEPLOYMENTS = "/apis/batch/v1/jobs", "/apis/apps/v1/deployments"


class Place(NamedTuple):
    """Where a model is."""

    namespace: str
    name: str


def places(prefix: str, models: int, namespaces: int) -> list[Place]:
    """Return where so many models are, which take turns with the namespaces."""
    return [Place(f"{prefix}-{number % namespaces}", f"model-{number:05}") for number in range(models)]


Row = Sequence[Request]
"""Writes that come one after the other."""


def creations(where: Iterable[Place]) -> list[Row]:
    """Return what makes the TRTModels, each with a source of its own: models that ask for one engine share a Job."""
    return [(_creation(place),) for place in where]


def rows_of(step: Step, objects: Iterable[Json]) -> list[Row]:
    """Return a step's writes about each object."""
    return [[write(found) for write in step] for found in objects]


class Driver:
    """What users and the other parts of a cluster do."""

    def __init__(self, admin: Client) -> None:
        self._admin = admin

    async def make_namespaces(self, where: Iterable[Place]) -> None:
        """Make the namespaces, each with the account that every pod has by default."""
        for name in dict.fromkeys(place.namespace for place in where):
            await self._admin.send(create("/api/v1/namespaces", {"metadata": {"name": name}}))
            path = f"/api/v1/namespaces/{name}/serviceaccounts"
            await self._admin.send(create(path, {"metadata": {"name": "default"}}))

    async def send(self, rows: Sequence[Row]) -> None:
        """Send writes, of a row one after the other."""
        await self._admin.send_rows(rows, AT_ONCE)

    async def change(self, place: Place, replicas: int) -> None:
        """Change a TRTModel's spec."""
        path = f"{MODELS.format(namespace=place.namespace)}/{place.name}?fieldManager=kubectl-edit"
        await self._admin.send(merge(path, {"spec": {"serving": {"replicas": replicas}}}))

    async def all_of(self, collection: str, where: Iterable[Place], accept: str = "application/json") -> list[Json]:
        """Return all objects of a kind in the models' namespaces."""
        found = []
        for namespace in dict.fromkeys(place.namespace for place in where):
            found += await self._admin.list(collection.format(namespace=namespace), accept)
        return found

    async def uids(self, where: Iterable[Place]) -> dict[Place, str]:
        """Return the models' UIDs."""
        found = [item["metadata"] for item in await self.all_of(MODELS, where, METADATA)]
        return {Place(metadata["namespace"], metadata["name"]): metadata["uid"] for metadata in found}

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Play all steps of every Job and Deployment that is made meanwhile, as soon as it is there."""
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(steps: Sequence[Step], found: Json) -> None:
            async with at_once:
                for row in (row for step in steps for row in rows_of(step, [found])):
                    await self._admin.send_rows([row], 1)

        async def follow(collection: str, version: str, steps: Sequence[Step]) -> None:
            async for found in self._admin.watch(collection, version):
                tasks.create_task(one(steps, found))

        async with asyncio.TaskGroup() as tasks:
            watches = [
                tasks.create_task(follow(collection, await self._admin.version(collection), steps))
                for collection, steps in (
                    (ALL_JOBS, (controllers.WAITS, controllers.RUNS, controllers.HAS_SUCCEEDED, controllers.IS_DONE)),
                    (ALL_DEPLOYMENTS, (controllers.BEGINS, controllers.ANSWERS)),
                )
            ]
            try:
                yield
            finally:
                for watch in watches:
                    watch.cancel()

    async def wait_until_ready(self, where: Sequence[Place]) -> float:
        """Wait until all models of these namespaces are Ready, and return when the last of them became so.

        Raises:
            TimeoutError: no more of them become so.
        """
        progress = Progress("models that are Ready", len(where))
        while True:
            since = [_ready_since(model) for model in await self.all_of(MODELS, where)]
            ready = [one for one in since if one is not None]
            if len(ready) == len(since) == len(where):
                return max(ready)
            progress.see(len(ready))
            await asyncio.sleep(max(1.0, len(where) / 1000))  # to list them is work, too


def _creation(place: Place) -> Request:
    body = trtmodel(place.name, source={"uri": f"pvc://models/{place.name}"})
    # The default runtime is meant, which a spec had another field for in older builds.
    del body["spec"]["runtime"]
    return create(MODELS.format(namespace=place.namespace), body)


def _ready_since(model: Json) -> float | None:
    for condition in model.get("status", {}).get("conditions", ()):
        if (condition["type"], condition["status"]) == ("Ready", "True"):
            return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()
    return None
