"""An API server in memory: it keeps objects, makes versions, and remembers every event that it has told of."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration.kubelet import end_status, summary
from tftrt_operator.domain.manifest import Manifest
from tftrt_operator.domain.observation import Reference
from tftrt_operator.domain.step import Writes

Json = dict[str, Any]
Key = tuple[str, str]
CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Event:
    """What a watch tells."""

    kind: str
    type: str
    body: Json


@dataclass(slots=True)
class KeptApi:
    """One namespace."""

    objects: dict[Key, Json] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    version: int = 0

    def until(self, count: int) -> "KeptApi":
        """Return what there was after so many events."""
        found = KeptApi(version=count, events=self.events[:count])
        for event in found.events:
            key = (event.kind, event.body["metadata"]["name"])
            if event.type == "DELETED":
                found.objects.pop(key, None)
            else:
                found.objects[key] = event.body
        return found

    def of(self, kind: str) -> list[Json]:
        """Return all objects of a kind."""
        return [body for (one, _), body in self.objects.items() if one == kind]

    def put(self, body: Mapping[str, Any]) -> None:
        """Create or change an object."""
        key = (str(body["kind"]), str(body["metadata"]["name"]))
        live = self.objects.get(key)
        metadata = {"namespace": "default", "uid": f"uid-{len(self.events)}", "creationTimestamp": CREATED}
        metadata |= {} if live is None else {"uid": live["metadata"]["uid"]}
        new = {**(live or {}), **copy.deepcopy(dict(body))}
        new["metadata"] = {**(live or {}).get("metadata", {}), **metadata, **body["metadata"]}
        if live is not None and _without_version(new) == _without_version(live):
            return
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = new
        self.events.append(Event(key[0], "ADDED" if live is None else "MODIFIED", new))

    def delete(self, kind: str, name: str) -> None:
        """Delete an object, if it is there."""
        live = self.objects.pop((kind, name), None)
        if live is None:
            return
        self.version += 1
        gone = {**live, "metadata": {**live["metadata"], "resourceVersion": str(self.version)}}
        self.events.append(Event(kind, "DELETED", gone))

    def carry_out(self, writes: Writes) -> None:
        """Make a plan's writes; what cannot be done, as a create of what is there, is left out."""
        for patch in writes.patches:
            self._patch(patch.reference, patch.body)
        for reference in writes.deletes:
            live = self.objects.get((reference.kind, reference.name))
            if live is not None and reference.uid in (None, live["metadata"]["uid"]):
                self.delete(reference.kind, reference.name)
        for manifest in writes.prerequisites:
            self.put(manifest.body)
        for manifest in writes.creates:
            if (manifest.kind, manifest.name) not in self.objects:
                self.put(manifest.body)
        for manifest in writes.applies:
            self._apply(manifest)

    def _apply(self, manifest: Manifest) -> None:
        self.put(manifest.body)
        if manifest.kind == "Deployment":
            live = self.objects["Deployment", manifest.name]
            changed = json.dumps(live["spec"], sort_keys=True)
            generation = live["metadata"].get("generation", 0)
            if live["metadata"].get("of") != changed:
                self.put(
                    {
                        "kind": "Deployment",
                        "metadata": {**live["metadata"], "generation": generation + 1, "of": changed},
                    }
                )

    def _patch(self, reference: Reference, body: Mapping[str, Any]) -> None:
        live = self.objects.get((reference.kind, reference.name))
        if live is None or reference.uid not in (None, live["metadata"]["uid"]):
            return
        metadata = dict(body.get("metadata", {}))
        if metadata.pop("resourceVersion", live["metadata"]["resourceVersion"]) != live["metadata"]["resourceVersion"]:
            return  # 409
        self.put(_merged(live, {**body, "metadata": metadata}))

    # What the other controllers do.

    def start_jobs(self) -> None:
        """Have each new Job begin."""
        for job in self.of("Job"):
            name, labels = job["metadata"]["name"], job["spec"]["template"]["metadata"]["labels"]
            if job.get("status") is None:
                owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "controller": True}
                metadata: Json = {"name": f"{name}-0", "labels": labels}
                metadata["ownerReferences"] = [{**owner, "uid": job["metadata"]["uid"]}]
                spec = job["spec"]["template"]["spec"]
                self.put({"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}})
                self.put({**job, "status": {"active": 1, "startTime": CREATED}})

    def finish_jobs(self) -> None:
        """Have each Job that has begun succeed: first its pod, then it."""
        for job in self.of("Job"):
            if "conditions" in job.get("status", {}):
                continue
            template = job["spec"]["template"]
            task = json.loads(template["metadata"]["annotations"]["tftrt.dev/spec"])
            pod = self.objects["Pod", f"{job['metadata']['name']}-0"]
            self.put({**pod, "status": end_status(template, "publish", 0, json.dumps(summary(task)))})
            done = {"type": "Complete", "status": "True", "reason": "", "message": "", "lastTransitionTime": CREATED}
            self.put({**job, "status": {"succeeded": 1, "startTime": CREATED, "conditions": [done]}})

    def start_servers(self) -> None:
        """Have each Deployment be what it is to be, with ready pods."""
        for server in self.of("Deployment"):
            metadata, spec = server["metadata"], server["spec"]
            template, wanted = spec["template"], spec.get("replicas", 1)
            revision = template["metadata"]["annotations"]["tftrt.dev/template"]
            names = [f"{metadata['name']}-{revision}-{number}" for number in range(wanted)]
            ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}
            for name in names:
                of = {**template["metadata"], "name": name, "ownerReferences": [owner]}
                self.put({"kind": "Pod", "metadata": of, "spec": template["spec"], "status": ready})
            counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            over = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": ""}
            status = {"observedGeneration": metadata["generation"], "conditions": [over]}
            self.put({**server, "status": {**status, **dict.fromkeys(counts, wanted)}})
            for pod in self.of("Pod"):
                name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
                is_server = labels.get("app.kubernetes.io/component") == "server"
                if is_server and name.startswith(f"{metadata['name']}-") and name not in names:
                    self.delete("Pod", name)


def _without_version(body: Json) -> Json:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": ""}}


def _merged(live: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    base = dict(live) if isinstance(live, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = _merged(base.get(name), value)
    return base
