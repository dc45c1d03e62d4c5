"""A tenant who does everything at once that could hurt an operator; beside it one whose model is served as if alone."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.build import Build
from benchmarks.machine import machine
from tests.cluster import Cluster
from tests.cluster.deploy import NAMESPACE, RELEASE
from tests.e2e.conftest import ROOT, Workspace, claim_with_models
from tests.e2e.inference import infer, relative_error
from tests.e2e.test_served_model import KINDS, TOLERANCE, is_serving
from tests.support.api import Api
from tests.support.hostile import DEPTHS, UNREADABLE, Hostile, besieged
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

RESULT = ROOT / "benchmarks" / "results" / "hostile-tenant.json"
MOST_SECONDS = 180
"""Of one honest step: far more than any takes."""


def test_beside_a_tenant_who_does_everything_at_once_an_honest_model_lives_as_if_alone(
    workspace: Workspace, cluster: Cluster, models: Path
) -> None:
    system = Api.from_kubeconfig(cluster.kubeconfig).within(NAMESPACE)
    before, since = operators_pod(system), datetime.now(UTC).isoformat()
    alone = honest_life(workspace, "alone")
    began = perf_counter()

    def furnish(namespace: str) -> None:
        volume = claim_with_models(cluster, namespace, models)
        # The honest model's engine: no conversion of the hostile tenant's is to have the processors. Its manifest
        # says where it was at first.
        for place in (f"tftrt/{namespace}", f"alone/{workspace.api.namespace}"):
            shutil.copytree(workspace.volume / "alone" / workspace.api.namespace, volume / place)

    with besieged(cluster, furnish) as hostile:
        what_the_hostile_tenant_reads_without_waiting(hostile)
        hostile.create_the_slow()
        siege = perf_counter() - began
        beside = honest_life(workspace, "beside")
        what_the_hostile_tenant_reads_in_the_end(hostile)
        show(alone, beside, siege, hostile, peak_memory(cluster))
    assert operators_pod(system) == before, "the same pod, not restarted, Ready all along"
    log = cluster.kubectl("--namespace", NAMESPACE, "logs", f"deploy/{RELEASE}", f"--since-time={since}")
    # Whatever befalls it, it has a sentence for.
    assert [line for line in log.splitlines() if "Traceback" in line] == []


def honest_life(workspace: Workspace, store: str) -> dict[str, float]:
    """Have a model converted, served, scaled and deleted; returns the seconds of each step."""
    api = workspace.api
    known = np.load(workspace.volume / "tiny.npz")
    seconds: dict[str, float] = {}
    began = perf_counter()

    def done(step: str) -> None:
        nonlocal began
        now = perf_counter()
        seconds[step], began = now - began, now

    def answers(address: str) -> bool:
        return relative_error(infer(address, "tiny", images=known["images"][:1]), known["scores"][:1]) < TOLERANCE

    # A store of its own: an artifact that is there is not made again.
    source, artifacts = {"uri": "pvc://models/tiny"}, {"uri": f"pvc://models/{store}"}
    api.create(trtmodel("tiny", source=source, artifacts=artifacts))
    eventually(lambda: job_names(api), MOST_SECONDS)
    done("its Job, by the operator alone")
    eventually(lambda: conditions(api, "tiny")["Converted"][0] == "True", MOST_SECONDS)
    done("converted")
    eventually(lambda: is_serving(api, "tiny"), MOST_SECONDS)
    address = workspace.address("tiny")
    eventually(lambda: [answers(address)])
    assert answers(address)
    done("serving, with an answer")
    workspace.kubectl("scale", "trtmodel/tiny", "--replicas=2")
    eventually(lambda: is_serving(api, "tiny"), MOST_SECONDS)
    assert [answers(server) for server in ready_servers(api)] == [True, True], "Ready only once both answer"
    done("two replicas, each with an answer")
    workspace.kubectl("scale", "trtmodel/tiny", "--replicas=1")
    eventually(lambda: is_serving(api, "tiny"), MOST_SECONDS)
    assert len(ready_servers(api)) == 1
    assert answers(address)
    done("one replica again")
    workspace.kubectl("delete", "trtmodel", "tiny")
    for kind in KINDS:
        eventually(lambda kind=kind: not api.list(kind), MOST_SECONDS)  # type: ignore[misc]
    eventually(lambda: not api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator"))
    done("deleted, and nothing left")
    return seconds


def ready_servers(api: Api) -> list[str]:
    """The addresses of the server pods that are Ready and stay."""
    return [
        pod["status"]["podIP"]
        for pod in api.list("Pod", "app.kubernetes.io/component=server")
        if "deletionTimestamp" not in pod["metadata"] and is_true(pod, "Ready")
    ]


def is_true(pod: dict[str, object], kind: str) -> bool:
    status = pod["status"]
    assert isinstance(status, dict)
    return any(item["type"] == kind and item["status"] == "True" for item in status["conditions"])


def what_the_hostile_tenant_reads_without_waiting(hostile: Hostile) -> None:
    """Each of its models has its own trouble, and a sentence about it."""
    is_told = hostile.is_told
    told: list[Callable[[], object]] = [
        *(partial(is_told, name, "Stalled", "SpecUnreadable", "cannot read the spec") for name in UNREADABLE),
        *(partial(is_told, f"deep-{levels}", "Stalled", "SpecUnreadable", "levels deep") for levels in DEPTHS),
        partial(is_told, "absent", "Stalled", "SourceNotFound", "pvc://models/absent"),
        partial(is_told, "absent-too", "Stalled", "SourceNotFound", "pvc://models/absent"),
        partial(is_told, "wordy", "Reconciling", "ConversionPending", '"nowhere" not found'),
        partial(is_told, "twin-0", "Reconciling", "ConversionPending", "Insufficient cpu"),
        partial(is_told, "twin-1", "Reconciling", "ConversionPending", "twin-0-"),
        partial(is_told, "gone-19", "Reconciling", "Deleting", "pvc://nowhere/store"),
        lambda: "has not begun" in message(hostile.without_pods, "Reconciling", "roomless-2"),
        lambda: is_serving(hostile.api, "imitator"),
        lambda: "terminationGracePeriodSeconds" in message(hostile.api, "Available", "imitator"),
    ]
    for one in told:
        eventually(one, seconds=60)


def what_the_hostile_tenant_reads_in_the_end(hostile: Hostile) -> None:
    """Its webhook was slow to the end, and its answer is told; what was there before is there still."""
    assert sum(hostile.asked.values()) > 8
    eventually(
        lambda: [name for name in hostile.asked if hostile.is_told(name, "Reconciling", "WriteFailed", "not today")],
        seconds=120,
    )
    assert is_serving(hostile.api, "imitator")


def operators_pod(system: Api) -> tuple[str, int, str]:
    """Which pod the operator is, how often it has restarted, and since when it has been Ready: "" where it is not."""
    pods = system.list("Pod", f"app.kubernetes.io/instance={RELEASE}")
    (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    (container,) = pod["status"]["containerStatuses"]
    since = [one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    return pod["metadata"]["uid"], container["restartCount"], since[0] if is_true(pod, "Ready") else ""


def peak_memory(cluster: Cluster) -> str:
    """The most memory that the operator's process has had."""
    program = "print(next(line for line in open('/proc/1/status') if line.startswith('VmHWM')).split()[1])"
    inside = ("--namespace", NAMESPACE, "exec", f"deploy/{RELEASE}", "--", "python", "-c", program)
    return f"{int(cluster.kubectl(*inside)) // 1024} MiB"


def show(alone: dict[str, float], beside: dict[str, float], siege: float, hostile: Hostile, memory: str) -> None:
    both = {"alone": alone, "beside": beside}
    print(f"\n{'an honest model, in seconds':36} {'alone':>8} {'beside':>8}")
    for step, seconds in alone.items():
        print(f"{step:36} {seconds:8.1f} {beside[step]:8.1f}")
    print(f"{'in all':36} {sum(alone.values()):8.1f} {sum(beside.values()):8.1f}")
    print(
        f"The siege took {siege:.1f} s to lay. The slow webhook was asked {sum(hostile.asked.values())} times", end=""
    )
    print(f" by {len(hostile.asked)} models. {dict(hostile.acts)}. The operator's memory at its peak: {memory}.")
    rounded = {name: {step: round(value, 1) for step, value in of.items()} for name, of in both.items()}
    result = {
        "step": "hostile-tenant",
        "finishedAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": Build(ROOT).commit,
        "machine": asdict(machine()),
        "seconds": rounded,
        "siegeSeconds": round(siege, 1),
        "slowWebhook": {"asked": sum(hostile.asked.values()), "models": len(hostile.asked)},
        "acts": dict(hostile.acts),
        "operatorsPeakMemory": memory,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
