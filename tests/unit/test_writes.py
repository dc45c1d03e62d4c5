"""What one model writes from apply to Ready: each write costs the API server more than it costs us."""

from __future__ import annotations

import copy
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.integration.kubelet import end_status, summary
from tftrt_operator.controller.cluster import Cluster
from tftrt_operator.controller.metrics import Metrics
from tftrt_operator.controller.report import SETTLES_SECONDS
from tftrt_operator.controller.worker import Workers

from .builders import CATALOGUE

KEY = ("default", "resnet50")
NOW = "2026-01-01T00:00:00Z"
Json = dict[str, Any]


class Keeping:
    """An API server that takes everything, keeps it, and writes down what it was asked."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.writes: list[str] = []
        self.reads: list[str] = []
        self._version = 1
        metadata = {"name": "resnet50", "namespace": "default", "uid": "uid-1", "generation": 1}
        self.keep({"kind": "TRTModel", "metadata": metadata, "spec": {"source": {"uri": "pvc://models/resnet50"}}})

    def keep(self, body: Any) -> Json:
        self._version += 1
        kept: Json = copy.deepcopy(dict(body))
        metadata = {"uid": f"uid-{body['kind']}-{body['metadata']['name']}", "creationTimestamp": NOW, "generation": 1}
        kept["metadata"] = metadata | kept["metadata"] | {"resourceVersion": f"{self._version}"}
        self.objects[body["kind"], body["metadata"]["name"]] = kept
        return kept

    def change(self, kind: str, name: str, **parts: Any) -> Json:
        return self.keep(self.objects[kind, name] | parts)

    async def get(self, reference: Any) -> Json | None:
        self.reads.append(reference.kind)
        return self.objects.get((reference.kind, reference.name))

    async def metadata(self, reference: Any) -> Json | None:
        return await self.get(reference)

    async def create(self, manifest: Any) -> Json:
        self.writes.append(f"create {manifest.kind}")
        return self.keep(manifest.body)

    async def apply(self, manifest: Any, **_: bool) -> Json:
        self.writes.append(f"apply {manifest.kind}")
        return self.keep(manifest.body)

    async def apply_status(self, reference: Any, status: Json) -> Json:
        self.writes.append(f"status {status['conditions'][0]['reason']}")
        return self.change(reference.kind, reference.name, status=status)

    async def delete(self, reference: Any) -> None:
        self.writes.append(f"delete {reference.kind}")
        del self.objects[reference.kind, reference.name]

    async def record_event(self, body: Json) -> None:
        self.writes.append(f"event {body['reason']}")


class Life:
    """One model, its operator, and a clock that stands still."""

    def __init__(self) -> None:
        self.server = Keeping()
        self.workers = Workers(cast("Cluster", self.server), CATALOGUE, Metrics())
        self.time = 0.0
        self.workers._reconciler._reporter._clock = lambda: self.time
        self.sees(self.server.objects["TRTModel", "resnet50"])

    def sees(self, body: Json) -> None:
        """Have a watch bring an object."""
        if body["kind"] == "TRTModel":
            self.workers.caches.see_model(body)
            return
        (informer,) = (one for one in self.workers.caches.informers if one.kind == body["kind"])
        informer.write_through(body)

    async def work(self) -> list[str]:
        """Have everything worked on that waits; returns the writes."""
        before = len(self.server.writes)
        while len(self.workers.queue):
            key = await self.workers.queue.get()
            await self.workers.work_on(key)
            self.workers.queue.done(key)
        return self.server.writes[before:]

    def pod(self, owner: Json, kind: str, status: Json) -> Json:
        """The pod of a Job or a Deployment, as it is now."""
        template = owner["spec"]["template"]
        reference = {"kind": kind, "name": "owner", "uid": owner["metadata"]["uid"], "controller": True}
        metadata = template["metadata"] | {"namespace": "default", "name": f"{owner['metadata']['name']}-pod"}
        body = {"kind": "Pod", "metadata": metadata | {"ownerReferences": [reference | {"apiVersion": "v1"}]}}
        return self.server.keep(body | {"status": status})

    def job(self) -> Json:
        (job,) = (body for (kind, _), body in self.server.objects.items() if kind == "Job")
        return job

    async def come_to_a_server(self) -> None:
        """From apply to a Deployment that nothing answers for yet."""
        await self.work()
        job = self.job()
        task = json.loads(job["spec"]["template"]["metadata"]["annotations"]["tftrt.dev/spec"])
        done = end_status(job["spec"]["template"], "publish", 0, json.dumps(summary(task, "NVIDIA A10")))
        self.sees(self.pod(job, "Job", done))
        now = datetime.now(UTC).isoformat(timespec="seconds")  # one of long ago would go
        over = {"type": "Complete", "status": "True", "lastTransitionTime": now}
        self.sees(self.server.change("Job", job["metadata"]["name"], status={"startTime": NOW, "conditions": [over]}))

    def deployment_says(self, reason: str, available: int) -> None:
        counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": available, "availableReplicas": available}
        conditions = [{"type": "Progressing", "status": "True", "reason": reason}]
        told = {"observedGeneration": 1, **counts, "conditions": conditions}
        self.sees(self.server.change("Deployment", "resnet50", status=told))


@pytest.fixture
def life() -> Life:
    return Life()


async def test_a_model_becomes_ready_with_ten_writes_and_no_state_that_a_pass_ends_itself_is_told(life: Life) -> None:
    """Each step is worked on to its end before the next one comes, and lasts for as long as it takes to be told."""

    async def writes() -> list[str]:
        made = await life.work()
        life.time += SETTLES_SECONDS
        life.workers.queue.add(KEY)  # as its timer does
        return made + await life.work()

    assert await writes() == ["apply NetworkPolicy", "create Job", "status ConversionPending"]
    job = life.job()
    life.sees(life.pod(job, "Job", {"phase": "Pending"}))
    life.sees(life.server.change("Job", job["metadata"]["name"], status={"startTime": NOW, "active": 1}))
    assert await writes() == [], "that a pod is there is no news"
    running = {"name": "lookup", "state": {"running": {"startedAt": NOW}}}
    life.sees(life.pod(job, "Job", {"phase": "Pending", "initContainerStatuses": [running]}))
    assert await writes() == ["status ConversionRunning"]
    await life.come_to_a_server()
    applies = ["apply NetworkPolicy", "apply Deployment", "apply Service"]
    assert await writes() == ["create ConfigMap", *applies, "status RolloutProgressing"]
    server = life.server.objects["Deployment", "resnet50"]
    life.sees(life.pod(server, "ReplicaSet", {"phase": "Pending"}))
    life.deployment_says("ReplicaSetUpdated", 0)
    assert await writes() == [], "a rollout of which nothing answers yet is told already"
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    life.sees(life.pod(server, "ReplicaSet", ready))
    assert await life.work() == [], "the Deployment's word on it comes in a moment"
    life.deployment_says("NewReplicaSetAvailable", 1)
    assert await writes() == ["status Serving"]
    assert sum(Counter(life.server.writes).values()) == 10
    assert await writes() == []


async def test_a_model_of_which_there_was_news_is_not_asked_for(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    await life.work()
    assert life.server.reads == ["NetworkPolicy"], "whose name somebody else may have taken"
    life.server.reads.clear()
    monkeypatch.setattr("tftrt_operator.controller.obstacles.FRESH_SECONDS", -1.0)
    await life.come_to_a_server()
    await life.work()
    assert sorted(life.server.reads) == ["Deployment", "NetworkPolicy", "Service", "TRTModel", "TRTModel"]


async def test_a_state_on_the_way_that_lasts_is_told(life: Life) -> None:
    await life.come_to_a_server()
    await life.work()
    server = life.server.objects["Deployment", "resnet50"]
    life.sees(life.pod(server, "ReplicaSet", {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}))
    assert await life.work() == []
    assert KEY in life.workers.queue._timers, "it comes up by itself"
    life.time += SETTLES_SECONDS
    life.workers.queue.add(KEY)
    assert await life.work() == ["status RolloutProgressing"]
    conditions = life.server.objects["TRTModel", "resnet50"]["status"]["conditions"]
    assert ("Available", "True") in [(one["type"], one["status"]) for one in conditions]


async def test_what_comes_while_a_pass_writes_is_not_lost(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass looks again after its own writes; a change of the spec that comes then is another pass's."""
    create = life.server.create

    async def and_meanwhile(manifest: Any) -> Json:
        if manifest.kind == "Job" and life.server._version < 100:
            life.server._version = 100
            body = life.server.objects["TRTModel", "resnet50"]
            spec = body["spec"] | {"serving": {"replicas": 2}, "source": {"uri": "pvc://models/other"}}
            changed = life.server.change("TRTModel", "resnet50", spec=spec)
            changed["metadata"]["generation"] = 2
            life.sees(changed)
        return await create(manifest)

    monkeypatch.setattr(life.server, "create", and_meanwhile)
    writes = await life.work()
    assert writes.count("create Job") == 2, "one for each source"
    status = life.server.objects["TRTModel", "resnet50"]["status"]
    assert status["observedGeneration"] == 2
