"""What the controllers of Jobs and Deployments and the kubelet write, as the driver plays them.

A pod is made of the template that the operator wrote. Nobody looks at ReplicaSets: pods name one that is not there.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from tests.integration.kubelet import end_status, summary

from .client import Json, Request, create, merge

IMAGE = {"image": "converter:test", "imageID": "converter@sha256:" + "0" * 64}


def pod_of_job(job: Json) -> Request:
    """Create the Job's pod, which waits for a node."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    labels = {"batch.kubernetes.io/job-name": name, "batch.kubernetes.io/controller-uid": uid}
    return _pod(job, f"{name}-00000", _owner("batch/v1", "Job", name, uid), labels)


def job_is_active(job: Json) -> Request:
    """Say of a Job that a pod of it is there."""
    return _status(job, "batch/v1", "jobs", {"active": 1, "ready": 0, "startTime": _now()})


def pod_of_job_runs(job: Json) -> Request:
    """Say of the Job's pod that its first container runs."""
    template = job["spec"]["template"]["spec"]
    first, *others = template["initContainers"]
    running = {**_container(first), "state": {"running": {"startedAt": _now()}}}
    waiting = [{**_container(one), "state": {"waiting": {"reason": "PodInitializing"}}} for one in others]
    main = [{**_container(one), "state": {"waiting": {"reason": "PodInitializing"}}} for one in template["containers"]]
    status = {"phase": "Pending", "startTime": _now(), "initContainerStatuses": [running, *waiting]}
    return _pod_status(job, f"{job['metadata']['name']}-00000", {**status, "containerStatuses": main})


def pod_of_job_succeeds(job: Json) -> Request:
    """Say of the Job's pod that it is done, with the summary that its task asks for."""
    template = job["spec"]["template"]
    task = json.loads(template["metadata"]["annotations"]["tftrt.dev/spec"])
    status = end_status(template, "publish", 0, json.dumps(summary(task)))
    return _pod_status(job, f"{job['metadata']['name']}-00000", status)


def job_is_done(job: Json) -> Request:
    """Say of a Job that it is complete."""
    now = _now()
    told = {"status": "True", "reason": "CompletionsReached", "lastProbeTime": now, "lastTransitionTime": now}
    conditions = [{"type": kind, **told} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"active": None, "ready": 0, "succeeded": 1, "completionTime": now, "conditions": conditions}
    return _status(job, "batch/v1", "jobs", status)


def server_pod(deployment: Json) -> Request:
    """Create a Deployment's one pod, which waits for a node."""
    name = deployment["metadata"]["name"]
    owner = _owner("apps/v1", "ReplicaSet", f"{name}-000000000", deployment["metadata"]["uid"])
    return _pod(deployment, f"{name}-000000000-00000", owner, {"pod-template-hash": "000000000"})


def deployment_has_begun(deployment: Json) -> Request:
    """Say of a Deployment that its pod is there and does not answer."""
    counts = {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}
    return _deployment_status(deployment, counts, "ReplicaSetUpdated", available=False)


def server_pod_is_ready(deployment: Json) -> Request:
    """Say of a Deployment's pod that it answers."""
    ready = {"status": "True", "lastTransitionTime": _now()}
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    template = deployment["spec"]["template"]["spec"]
    done = {"terminated": {"exitCode": 0, "startedAt": _now(), "finishedAt": _now()}}
    status = {
        "phase": "Running",
        "startTime": _now(),
        "conditions": [{"type": kind, **ready} for kind in kinds],
        "initContainerStatuses": [
            {**_container(one), "ready": True, "state": done} for one in template.get("initContainers", ())
        ],
        "containerStatuses": [
            {**_container(one), "ready": True, "state": {"running": {"startedAt": _now()}}}
            for one in template["containers"]
        ],
    }
    return _pod_status(deployment, f"{deployment['metadata']['name']}-000000000-00000", status)


def deployment_is_available(deployment: Json) -> Request:
    """Say of a Deployment that its pod answers."""
    counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    return _deployment_status(
        deployment, {**counts, "unavailableReplicas": None}, "NewReplicaSetAvailable", available=True
    )


Step = Sequence[Callable[[Json], Request]]
"""The writes about one object that come one after the other."""

WAITS: Step = (pod_of_job, job_is_active)
RUNS: Step = (pod_of_job_runs,)
HAS_SUCCEEDED: Step = (pod_of_job_succeeds,)
IS_DONE: Step = (job_is_done,)
BEGINS: Step = (server_pod, deployment_has_begun)
ANSWERS: Step = (server_pod_is_ready, deployment_is_available)


def _pod(owner: Json, name: str, reference: Json, labels: Mapping[str, str]) -> Request:
    template = owner["spec"]["template"]
    metadata = {
        "name": name,
        "labels": {**template["metadata"]["labels"], **labels},
        "annotations": template["metadata"].get("annotations", {}),
        "ownerReferences": [reference],
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    return create(f"/api/v1/namespaces/{owner['metadata']['namespace']}/pods", body)


def _owner(api_version: str, kind: str, name: str, uid: str) -> Json:
    owner = {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid}
    return {**owner, "controller": True, "blockOwnerDeletion": True}


def _container(container: Json) -> Json:
    return {"name": container["name"], **IMAGE, "ready": False, "restartCount": 0}


def _pod_status(owner: Json, name: str, status: Json) -> Request:
    path = f"/api/v1/namespaces/{owner['metadata']['namespace']}/pods/{name}/status?fieldManager=kubelet"
    return merge(path, {"status": status})


def _deployment_status(deployment: Json, counts: Json, reason: str, *, available: bool) -> Request:
    now = _now()
    told = {"lastUpdateTime": now, "lastTransitionTime": now, "message": ""}
    conditions = [
        {"type": "Progressing", "status": "True", "reason": reason, **told},
        {"type": "Available", "status": str(available), "reason": "MinimumReplicas", **told},
    ]
    generation = deployment["metadata"]["generation"]
    status = {"observedGeneration": generation, **counts, "conditions": conditions}
    return _status(deployment, "apps/v1", "deployments", status)


def _status(owner: Json, api_version: str, plural: str, status: Json) -> Request:
    metadata = owner["metadata"]
    path = f"/apis/{api_version}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}/status"
    return merge(f"{path}?fieldManager=kube-controller-manager", {"status": status})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
