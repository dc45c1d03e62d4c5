"""What the driver knows of the cluster, by watches of its own, and the namespaces in which runs take place."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.api import PATHS, Refused

from .api import Api, Connection, Json

KINDS = (
    "TRTModel",
    "Job",
    "Pod",
    "ConfigMap",
    "Deployment",
    "Service",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
)
Key = tuple[str, str]
"""Kind and name."""
READY = "Ready"


class InVain(AssertionError):  # noqa: N818 - reads as a sentence
    """Something was waited for in vain."""


@dataclass(slots=True)
class Scene:
    """A namespace, as it is and as it was."""

    api: Api
    objects: dict[Key, Json] = field(default_factory=dict)
    made: dict[str, dict[str, Key]] = field(default_factory=lambda: defaultdict(dict))
    """By kind, all objects that there ever were, by their UID."""
    uids: dict[str, Key] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """UIDs of what was deleted."""
    told: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    """By TRTModel, each status that it had, with the generation at that time."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[Callable[[str, Json], None]] = field(default_factory=list)
    """Called with the type of each event and its object."""
    failed: BaseException | None = None
    """What the driver itself did not survive."""

    @property
    def namespace(self) -> str:
        """Its name."""
        return self.api.namespace

    def take(self, kind: str, type_: str, body: Json) -> None:
        """Take in an event, or the answer to a write of the driver's own, that is ahead of them."""
        metadata = body["metadata"]
        key = (kind, metadata["name"])
        have = self.objects.get(key, body)["metadata"]
        if have["uid"] == metadata["uid"] and int(have["resourceVersion"]) > int(metadata["resourceVersion"]):
            return
        if type_ == "DELETED":
            self.gone.add(metadata["uid"])
            if self.objects.get(key, body)["metadata"]["uid"] == metadata["uid"]:
                self.objects.pop(key, None)
        else:
            self.objects[key] = body
            self.made[kind][metadata["uid"]] = key
            self.uids[metadata["uid"]] = key
            if kind == "TRTModel":
                self.told[metadata["name"]].append(
                    {**body.get("status", {}), "generation": metadata["generation"], "uid": metadata["uid"]}
                )
        for see in self.seen:
            see(type_, {**body, "kind": kind})
        self.changed.set()

    def driver_ended(self, task: "asyncio.Task[None]") -> None:
        """Wait for nothing more where what plays the controllers has failed."""
        self.failed = None if task.cancelled() else task.exception()
        self.changed.set()

    def of(self, kind: str) -> list[Json]:
        """Return the objects of a kind."""
        return [body for (one, _), body in self.objects.items() if one == kind]

    @property
    def has_leftovers(self) -> bool:
        """Whether something is there that an owner has left, and that the garbage collector will see to."""
        return any(
            owner["uid"] in self.gone
            for body in self.objects.values()
            for owner in body["metadata"].get("ownerReferences", ())
        )

    def newest(self, kind: str) -> int:
        """Return the newest resource version of what there is of a kind; 0 where there is nothing."""
        return max((int(body["metadata"]["resourceVersion"]) for body in self.of(kind)), default=0)

    def find(self, kind: str, name: str) -> Json | None:
        """Return an object, or None."""
        return self.objects.get((kind, name))

    def condition(self, name: str, kind: str = READY) -> tuple[str, str]:
        """Return status and reason of a model's condition, for the generation of now."""
        body = self.find("TRTModel", name)
        if body is None:
            return "", ""
        for one in body.get("status", {}).get("conditions", ()):
            if one["type"] == kind and one.get("observedGeneration") == body["metadata"]["generation"]:
                return one["status"], one["reason"]
        return "", ""

    def are_ready(self, *names: str) -> bool:
        """Return whether models are Ready."""
        return all(self.condition(name)[0] == "True" for name in names)

    async def until(self, what: str, condition: Callable[[], Any], seconds: float) -> None:
        """Wait for something.

        Raises:
            InVain: not in time.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self.failed is not None:
                        raise InVain(f"{what}: the driver failed: {self.failed!r}")
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            said = {name: self.condition(name) for kind, name in self.objects if kind == "TRTModel"}
            raise InVain(f"{what}: not within {seconds:g} s; models: {said}") from None


class World:
    """All namespaces of runs."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._scenes: dict[str, Scene] = {}

    @classmethod
    @asynccontextmanager
    async def watched(cls, connection: Connection) -> AsyncIterator["World"]:
        """Have everything watched for a while."""
        world = cls(connection)
        tasks = [asyncio.create_task(world._watch(kind), name=f"the driver's watch of {kind}") for kind in KINDS]
        try:
            yield world
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def scene(self, namespace: str, also: Iterable[Json] = (), labels: Json | None = None) -> Scene:
        """Make a namespace, with the account that every pod has, and with these objects."""
        metadata = {"name": namespace, "labels": labels or {}}
        await self.connection.request("POST", PATHS["Namespace"], {"metadata": metadata})
        scene = self._scenes[namespace] = Scene(Api(self.connection, namespace))
        account = {"metadata": {"name": "default"}}
        await self.connection.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
        for body in also:
            await scene.api.create(body)
        return scene

    def forget(self, scene: Scene) -> None:
        """Look at a namespace no more."""
        self._scenes.pop(scene.namespace, None)

    async def _watch(self, kind: str) -> None:
        path = PATHS[kind].replace("/namespaces/{namespace}", "")
        version = ""
        while True:
            try:
                if not version:
                    listed = await self.connection.request("GET", f"{path}?limit=1")
                    version = listed["metadata"]["resourceVersion"]
                query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "3000"}
                query["allowWatchBookmarks"] = "true"
                timeout = aiohttp.ClientTimeout(total=None)
                url = self.connection.url(path, query)
                async with self.connection.session.get(url, timeout=timeout) as response:
                    async for line in response.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"the driver's watch of {kind}: {event['object']}")
                        metadata = event["object"]["metadata"]
                        version = metadata["resourceVersion"]
                        if (scene := self._scenes.get(metadata.get("namespace", ""))) is not None:
                            scene.take(kind, event["type"], event["object"])
            except (aiohttp.ClientError, TimeoutError, Refused):
                await asyncio.sleep(0.1)
