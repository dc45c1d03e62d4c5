"""The kubelet's part, played by the test: on a control plane without nodes nobody else runs the Pods.

Only Pods' own status is written here. Jobs, Deployments and everything else is what the real controllers make of it.
"""

import json
from typing import Any

from tests.support.api import Api, Json
from tests.support.trtmodels import conditions, job_names, trtmodel
from tests.support.waiting import eventually

STARTED = "2026-01-01T00:00:00Z"


def summary(task: Json, device: str = "") -> Json:
    """What `tftrt publish` says for a task, on a device of that name or on the `cpu` runtime."""
    product = device.replace(" ", "-") or "cpu"
    store, namespace, fingerprint = task["artifacts"]["uri"], task["model"]["namespace"], task["fingerprint"]
    return {
        "version": 1,
        "result": "Published",
        "fingerprint": fingerprint,
        "build": "11111111-1111-1111-1111-111111111111",
        "product": product,
        "artifact": f"{store}/{namespace}/{fingerprint}/{product}",
        "sourceDigest": "sha256:" + "0" * 64,
        "device": {
            "name": device or "cpu",
            "computeCapability": "",
            "memoryBytes": 24_000_000_000 if device else None,
            "driver": "",
        },
        "versions": {
            "tensorflow": "2.14.1",
            "tensorrt": task["runtime"]["tensorrt"],
            "runtime": task["runtime"]["name"],
        },
        "engines": 0,
        "convertedOps": 0,
        "totalOps": 457,
        "batchSizes": task["conversion"]["batchSizes"],
        "inputs": [{"name": "input_1", "dtype": "FP32", "shape": [-1, 224, 224, 3]}],
        "outputs": [{"name": "predictions", "dtype": "FP32", "shape": [-1, 1000]}],
        "artifactBytes": 102_400_000,
        "verification": {"samples": 9, "top1Agreement": "1.0000", "maxRelativeError": "0.0001"},
        "benchmark": {
            "batchSize": 8,
            "convertedP50Microseconds": 2000,
            "nativeP50Microseconds": 5000,
            "speedup": "2.4",
            "input": "Host",
            "inFlight": 2,
            "convertedItemsPerSecond": "4800",
            "nativeItemsPerSecond": "2000",
        }
        | ({"speedupOnDevice": "9.5"} if device else {}),
        "batching": {
            "mode": "Dynamic",
            "reason": "ItemsIndependent",
            "message": "8 samples of made-up input are answered alike in a batch, alone and in another order",
        },
        "reportUri": f"{store}/{namespace}/{fingerprint}/{product}/builds/1/report.html",
        "startedAt": STARTED,
        "finishedAt": "2026-01-01T00:03:00Z",
    }


def pod_of_job(api: Api, job: str) -> Json:
    """Wait for the pod that the Job controller makes, and return it."""
    return eventually(
        lambda: [
            pod
            for pod in api.list("Pod", f"batch.kubernetes.io/job-name={job}")
            if pod["status"].get("phase") in (None, "Pending")
        ]
    )[0]


def finish_job(api: Api, job: str, device: str = "") -> None:
    """Have the Job's pod succeed with the summary of its task, on a device of that name if it had one."""
    pod = pod_of_job(api, job)
    task = json.loads(pod["metadata"]["annotations"]["tftrt.dev/spec"])
    _end(api, pod, "publish", 0, json.dumps(summary(task, device)))


def finish_cleanup(api: Api, job: str) -> None:
    """Have the pod of a Job that deletes artifacts succeed."""
    done = {"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:03:00Z"}}
    container = {"name": "delete", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": done}
    body = {"status": {"phase": "Succeeded", "containerStatuses": [container]}}
    api.patch("Pod", pod_of_job(api, job)["metadata"]["name"], body, "/status", manager="kubelet")


def fail_job(api: Api, job: str, code: int, reason: str, words: str, container: str = "fetch") -> None:
    """Have the Job's pod fail in one of its containers."""
    report = {"version": 1, "code": code, "reason": reason, "message": words}
    _end(api, pod_of_job(api, job), container, code, json.dumps(report))


def _end(api: Api, pod: Json, last: str, code: int, message: str) -> None:
    body = {"status": end_status(pod, last, code, message)}
    api.patch("Pod", pod["metadata"]["name"], body, "/status", manager="kubelet")


def end_status(pod: Json, last: str, code: int, message: str) -> Json:
    """The status of a pod, or of one of this template, whose container `last` has ended so, and all others with 0."""

    def status(container: Json) -> Json:
        ended = {"exitCode": 0, "startedAt": STARTED, "finishedAt": "2026-01-01T00:03:00Z"}
        if container["name"] == last:
            ended |= {"exitCode": code, "message": message}
        state: dict[str, Any] = {"terminated": ended}
        return {
            "name": container["name"],
            "image": "i",
            "imageID": "i",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }

    init = [status(container) for container in pod["spec"]["initContainers"]]
    main = [status(container) for container in pod["spec"]["containers"]]
    return {
        "phase": "Failed" if code else "Succeeded",
        "startTime": STARTED,
        "initContainerStatuses": init,
        "containerStatuses": main,
    }


def start_servers(api: Api, model: str) -> bool:
    """Have every server pod of a model that still waits become ready. True, so that a condition can begin with it."""
    for pod in api.list("Pod", f"app.kubernetes.io/component=server,app.kubernetes.io/instance={model}"):
        if pod["status"].get("phase") == "Pending":
            ready = {"status": "True", "lastTransitionTime": STARTED}
            body = {
                "status": {
                    "phase": "Running",
                    "startTime": STARTED,
                    "conditions": [
                        {"type": kind, **ready} for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
                    ],
                }
            }
            api.patch("Pod", pod["metadata"]["name"], body, "/status", manager="kubelet")
    return True


def serving(api: Api, **spec: Any) -> None:
    """Create the TRTModel resnet50 and bring it to Ready."""
    uid = api.create(trtmodel(**spec))["metadata"]["uid"]
    finish_job(api, eventually(lambda: job_names(api, owner=uid))[0])
    eventually(lambda: start_servers(api, "resnet50") and conditions(api)["Ready"] == ("True", "Serving"))
