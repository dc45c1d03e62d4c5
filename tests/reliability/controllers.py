"""The controllers of Jobs and Deployments, the kubelet and the garbage collector, as the driver plays them.

They go by what is there, as the real ones do: whatever changes, they look at the object again.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.engine_room import controllers as written
from benchmarks.engine_room.client import Request
from tests.integration.kubelet import end_status, summary
from tests.support.api import Refused

from .api import Json
from .world import KINDS, Scene

COMPONENT = "app.kubernetes.io/component"
TOLD_TO_END = 1
"""The deadline in seconds that the operator gives a Job which is to end."""


@dataclass(frozen=True, slots=True)
class Done:
    """A Job's pod succeeds; `changes` are to the summary that it prints."""

    changes: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fails:
    """A Job's pod fails in its container `fetch`, for good."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Hangs:
    """A Job's pod runs until it is told to end."""


End = Done | Fails | Hangs


def done(_job: Json) -> End:
    """Let every Job succeed."""
    return Done()


class Controllers:
    """Plays them from its start until it is stopped.

    Args:
        scene: where.
        end_of: how a Job ends.
    """

    def __init__(self, scene: Scene, end_of: Callable[[Json], End] = done) -> None:
        self._scene = scene
        self.end_of = end_of
        self._dirty: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()
        self._playing: set[str] = set()
        """UIDs of Jobs whose pod has begun."""
        self._ended: set[str] = set()
        scene.seen.append(self._see)
        self._task = asyncio.create_task(self._play(), name=f"controllers of {scene.namespace}")
        self._task.add_done_callback(scene.driver_ended)

    def look_again(self) -> None:
        """Look at everything again: how Jobs end may have changed."""
        for key in self._scene.objects:
            self._dirty[key] = None
        self._wake.set()

    async def stop(self) -> None:
        """Play no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _see(self, type_: str, body: Json) -> None:
        kind, name = body["kind"], body["metadata"]["name"]
        if type_ == "DELETED":
            self.look_again()  # what it owned has one owner less
            return
        if kind in ("Job", "Deployment") or body["metadata"].get("ownerReferences"):
            self._dirty[kind, name] = None
            self._wake.set()

    async def _play(self) -> None:
        while True:
            while self._dirty:
                key = next(iter(self._dirty))
                del self._dirty[key]
                body = self._scene.find(*key)
                if body is None:
                    continue
                try:
                    if await self._is_collected(key[0], body):
                        continue
                    if key[0] == "Job":
                        await self._play_job(body)
                    elif key[0] == "Deployment":
                        await self._play_deployment(body)
                except Refused as refused:
                    if refused.status not in (404, 409):  # it has gone or changed: the next event tells
                        raise
            self._wake.clear()
            await self._wake.wait()

    async def _is_collected(self, kind: str, body: Json) -> bool:
        """Delete what has no owner left, as the garbage collector does; of several, drop those that are gone."""
        owners = body["metadata"].get("ownerReferences") or []
        left = [owner for owner in owners if owner["uid"] not in self._scene.gone]
        if len(left) == len(owners) or kind not in KINDS:
            return False
        name, api = body["metadata"]["name"], self._scene.api
        if left:
            metadata = {"uid": body["metadata"]["uid"], "ownerReferences": left}
            metadata["resourceVersion"] = body["metadata"]["resourceVersion"]
            await api.patch(kind, name, {"metadata": metadata}, manager="kube-controller-manager")
            return False
        precondition = {"propagationPolicy": "Background", "preconditions": {"uid": body["metadata"]["uid"]}}
        await api.connection.request("DELETE", api.path(kind, name), precondition)
        return True

    async def _send(self, requests: Iterable[Request]) -> None:
        for one in requests:
            await self._scene.api.connection.request(one.method, one.path, one.body, one.content_type)

    async def _play_job(self, job: Json) -> None:
        if job["metadata"]["uid"] in self._ended or "deletionTimestamp" in job["metadata"]:
            return
        uid, name, api = job["metadata"]["uid"], job["metadata"]["name"], self._scene.api
        pod = f"{name}-00000"
        if job["spec"].get("activeDeadlineSeconds") == TOLD_TO_END:
            if uid in self._playing:
                body = {"status": {"phase": "Failed", "reason": "DeadlineExceeded", "message": "told to end"}}
                await api.patch("Pod", pod, body, "/status", manager="kubelet")
            await self._fail(job, "DeadlineExceeded", "Job was active longer than specified deadline")
            return
        is_cleanup = job["metadata"]["labels"].get(COMPONENT) == "cleanup"
        if uid not in self._playing:
            await self._send((written.pod_of_job(job), written.job_is_active(job)))
            self._playing.add(uid)
            if not is_cleanup:
                await self._send((written.pod_of_job_runs(job),))
        end = self.end_of(job)
        template = job["spec"]["template"]
        match end:
            case Hangs():
                return
            case Fails(code, reason):
                report = {"version": 1, "code": code, "reason": reason, "message": "as the scenario has it"}
                status = end_status(template, "fetch", code, json.dumps(report))
                await api.patch("Pod", pod, {"status": status}, "/status", manager="kubelet")
                await self._fail(job, "PodFailurePolicy", "Container fetch failed")
            case Done(changes):
                if is_cleanup:
                    ended = {"exitCode": 0, "startedAt": _now(), "finishedAt": _now()}
                    (container,) = template["spec"]["containers"]
                    told = {"name": container["name"], "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
                    told["state"] = {"terminated": ended}
                    status = {"phase": "Succeeded", "containerStatuses": [told]}
                else:
                    task = json.loads(template["metadata"]["annotations"]["tftrt.dev/spec"])
                    status = end_status(template, "publish", 0, json.dumps({**summary(task), **changes}))
                await api.patch("Pod", pod, {"status": status}, "/status", manager="kubelet")
                self._ended.add(uid)
                await self._send((written.job_is_done(job),))

    async def _fail(self, job: Json, reason: str, message: str) -> None:
        told = {"status": "True", "reason": reason, "message": message}
        told |= {"lastProbeTime": _now(), "lastTransitionTime": _now()}
        conditions = [{"type": kind, **told} for kind in ("FailureTarget", "Failed")]
        status: Json = {"active": None, "ready": 0, "failed": 1, "conditions": conditions}
        if job["metadata"]["uid"] not in self._playing:
            status["startTime"] = _now()
        self._ended.add(job["metadata"]["uid"])
        name, manager = job["metadata"]["name"], "kube-controller-manager"
        await self._scene.api.patch("Job", name, {"status": status}, "/status", manager=manager)

    async def _play_deployment(self, server: Json) -> None:
        """Have as many ready pods of its template as it asks for, and no others."""
        metadata, spec, api = server["metadata"], server["spec"], self._scene.api
        if "deletionTimestamp" in metadata:
            return
        wanted = spec.get("replicas", 1)
        digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]
        prefix = f"{metadata['name']}-{digest}-"
        here = {
            pod["metadata"]["name"]
            for pod in self._scene.of("Pod")
            if pod["metadata"]["labels"].get("tftrt.test/deployment") == metadata["name"]
        }
        new = [f"{prefix}{number}" for number in range(wanted)]
        missing, old = [name for name in new if name not in here], sorted(here.difference(new))
        status = server.get("status", {})
        is_seen = status.get("observedGeneration") == metadata["generation"]
        if not missing and not old and is_seen and status.get("availableReplicas", 0) == wanted:
            return
        if missing and not any(name.startswith(prefix) for name in here):
            await self._tell(server, updated=0, available=len(old), is_over=False)
        for name in missing:
            await self._start(server, name, digest)
        for name in old:
            await api.delete("Pod", name)
        await self._tell(server, updated=wanted, available=wanted, is_over=True)

    async def _start(self, server: Json, name: str, digest: str) -> None:
        template, api = server["spec"]["template"], self._scene.api
        labels = {"pod-template-hash": digest, "tftrt.test/deployment": server["metadata"]["name"]}
        owner: Json = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name.rpartition("-")[0]}
        owner |= {"uid": server["metadata"]["uid"], "controller": True}
        metadata = {
            "name": name,
            "labels": {**template["metadata"]["labels"], **labels},
            "annotations": template["metadata"].get("annotations", {}),
            "ownerReferences": [owner],
        }
        try:
            await api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        except Refused as refused:
            if refused.status != 409:  # it is there, and was not seen yet
                raise
        ready = {"status": "True", "lastTransitionTime": _now()}
        kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        status = {"phase": "Running", "startTime": _now(), "conditions": [{"type": kind, **ready} for kind in kinds]}
        await api.patch("Pod", name, {"status": status}, "/status", manager="kubelet")

    async def _tell(self, server: Json, *, updated: int, available: int, is_over: bool) -> None:
        told = {"lastUpdateTime": _now(), "lastTransitionTime": _now(), "message": ""}
        reason = "NewReplicaSetAvailable" if is_over else "ReplicaSetUpdated"
        conditions = [
            {"type": "Progressing", "status": "True", "reason": reason, **told},
            {"type": "Available", "status": str(bool(available)), "reason": "MinimumReplicas", **told},
        ]
        counts = {"replicas": max(updated, available), "updatedReplicas": updated}
        counts |= {"readyReplicas": available, "availableReplicas": available}
        status = {"observedGeneration": server["metadata"]["generation"], **counts, "conditions": conditions}
        body = {"metadata": {"uid": server["metadata"]["uid"]}, "status": status}
        name, manager = server["metadata"]["name"], "kube-controller-manager"
        await self._scene.api.patch("Deployment", name, body, "/status", manager=manager)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
