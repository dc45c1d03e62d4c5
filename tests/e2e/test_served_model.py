"""A TRTModel becomes a served model, and goes again without leaving anything."""

import subprocess
from pathlib import Path

import httpx
import numpy as np

from tests.cluster.deploy import NAMESPACE, RELEASE
from tests.support.api import Api
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually
from tests.zero_loss.clients import CLIENTS
from tests.zero_loss.load import Traffic, under_load

from .conftest import CONVERTER_PYTHON, ROOT, Workspace
from .inference import infer, infer_grpc, relative_error

# Relative to the largest value. ResNet-50 has some 55,000 terms on its way: twice their root, times 2 ** -24, is 3e-5.
TOLERANCE = 1e-4
KINDS = ("TRTModel", "Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "Job", "Pod")


def is_serving(api: Api, name: str) -> bool:
    model = api.get("TRTModel", name)
    assert "Stalled" not in conditions(api, name), model["status"]["conditions"]
    return bool(
        conditions(api, name)["Ready"][0] == "True"
        and model["status"]["observedGeneration"] == model["metadata"]["generation"]
    )


def test_the_example_is_served_scaled_and_deleted(workspace: Workspace, tmp_path: Path) -> None:
    api = workspace.api
    subprocess.run([CONVERTER_PYTHON, ROOT / "examples" / "resnet50.py", workspace.volume / "resnet50"], check=True)
    known = np.load(workspace.volume / "resnet50.npz")

    workspace.kubectl("apply", "-f", str(ROOT / "examples" / "resnet50-cpu.yaml"))
    workspace.kubectl("wait", "trtmodel/resnet50", "--for=condition=Ready", "--timeout=300s")

    address = workspace.address("resnet50")
    for ask in (infer, infer_grpc):
        answer = eventually(lambda ask=ask: [ask(address, "resnet50", input_1=known["input_1"])])[0]  # type: ignore[misc]
        assert relative_error(answer, known["predictions"]) < TOLERANCE
    metrics = httpx.get(f"http://{address}:8002/metrics").text
    assert 'nv_inference_request_success{model="resnet50",version="1"}' in metrics

    columns = workspace.kubectl("get", "trtmodels", "-o", "wide")
    heads = "NAME PRECISION ENGINES SPEEDUP FRACTION READY STATUS AGE GPU SHARE TOP1 RUNTIME URL REPORT"
    assert " ".join(columns.split("\n")[0].split()) == heads
    assert f"http://resnet50.{api.namespace}.svc:8000/v2/models/resnet50" in columns
    serving = api.get("TRTModel", "resnet50")["status"]["serving"]
    assert "resnet50" in asked_from_inside(workspace, serving["url"])
    assert (serving["batching"]["mode"], serving["batching"]["reason"]) == ("Dynamic", "ItemsIndependent")
    assert serving["inputs"] == [{"name": "input_1", "datatype": "FP32", "shape": [-1, 224, 224, 3]}]

    jobs = job_names(api)
    workspace.kubectl("scale", "trtmodel/resnet50", "--replicas=2")
    eventually(lambda: api.get("Deployment", "resnet50")["status"].get("readyReplicas") == 2, seconds=120)
    eventually(lambda: is_serving(api, "resnet50"))
    assert job_names(api) == jobs, "a change of replicas starts no Job"

    workspace.kubectl("delete", "trtmodel", "resnet50")
    for kind in KINDS:
        eventually(lambda kind=kind: not api.list(kind), seconds=120)  # type: ignore[misc]
    eventually(lambda: not api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator"))
    assert manifests(workspace), "deletionPolicy Retain keeps the artifact"


def asked_from_inside(workspace: Workspace, url: str) -> str:
    """Return what a URL answers to a pod of the cluster: the operator's, which has a Python."""
    program = f"import urllib.request; print(urllib.request.urlopen({url!r}).read().decode())"
    return workspace.cluster.kubectl(
        "--namespace", NAMESPACE, "exec", f"deploy/{RELEASE}", "--", "python", "-c", program
    )


def manifests(workspace: Workspace) -> list[Path]:
    """Return the manifest of every artifact in the store: <store>/<namespace>/<fingerprint>/<product>/."""
    return list((workspace.volume / "tftrt").glob("*/*/*/manifest.json"))


def tiny(**spec: object) -> dict[str, object]:
    return trtmodel("tiny", **({"source": {"uri": "pvc://models/tiny"}} | spec))


def test_a_new_engine_replaces_the_old_one_without_a_failed_request(workspace: Workspace) -> None:
    """`make zero-loss` does so for longer, with 19 MB too, and does all else that may befall a server."""
    api = workspace.api
    batches = {"maxBatchSize": 32, "batchSizes": [1, 32]}
    api.create(trtmodel("totals", source={"uri": "pvc://models/totals"}, conversion=batches))
    eventually(lambda: is_serving(api, "totals"), seconds=180)
    first = api.get("TRTModel", "totals")["status"]["fingerprint"]

    # 32 rows are 4.8 MB.
    traffic = [Traffic(client, rows, pause) for client in CLIENTS for rows, pause in ((1, 0.05), (32, 0.2))]
    with under_load(workspace.address("totals"), "totals", traffic) as load:
        change = {"spec": {"conversion": {"maxBatchSize": 32, "batchSizes": [1, 16, 32]}}}
        api.patch("TRTModel", "totals", change)
        eventually(lambda: is_serving(api, "totals"), seconds=180)
        eventually(lambda: len(api.list("Pod", "app.kubernetes.io/component=server")) == 1, seconds=120)
        outcomes = load.end()
    assert [(one.client, failure) for one in outcomes for failure in one.failures] == []
    assert all(one.requests > 50 for one in outcomes), outcomes
    assert api.get("TRTModel", "totals")["status"]["fingerprint"] != first

    jobs = job_names(api)
    api.patch("TRTModel", "totals", {"spec": {"conversion": batches}})
    eventually(lambda: api.get("TRTModel", "totals")["status"].get("fingerprint") == first, seconds=120)
    assert job_names(api) == jobs, "the artifact of an earlier spec is still there"


def test_a_gate_that_fails_rolls_nothing_out_and_a_loosened_one_starts_no_job(workspace: Workspace) -> None:
    api = workspace.api
    # Without TensorRT nothing becomes a thousand times faster.
    impossible = {"maxRelativeError": "0.01", "minTop1Agreement": "1", "minSpeedup": "1000"}
    api.create(tiny(verification=impossible))
    eventually(lambda: conditions(api, "tiny").get("Stalled") == ("True", "SpeedupBelowThreshold"), seconds=180)
    assert "asks for 1000" in message(api, "Stalled", "tiny")
    assert conditions(api, "tiny")["Verified"] == ("False", "SpeedupBelowThreshold")
    assert not api.exists("Deployment", "tiny")

    jobs = job_names(api)
    api.patch("TRTModel", "tiny", {"spec": {"verification": {"minSpeedup": None}}})
    eventually(lambda: is_serving(api, "tiny"), seconds=120)
    assert conditions(api, "tiny")["Verified"] == ("True", "GatesPassed")
    assert job_names(api) == jobs
    served = api.get("TRTModel", "tiny")["status"]["fingerprint"]

    change = {"conversion": {"maxBatchSize": 2}, "verification": {"minSpeedup": "1000"}}
    api.patch("TRTModel", "tiny", {"spec": change})
    eventually(lambda: conditions(api, "tiny").get("Stalled") == ("True", "SpeedupBelowThreshold"), seconds=180)
    assert api.get("TRTModel", "tiny")["status"]["fingerprint"] == served, "the old revision serves on"
    assert conditions(api, "tiny")["Available"] == ("True", "ReplicasAvailable")
    known = np.load(workspace.volume / "tiny.npz")
    answer = infer(workspace.address("tiny"), "tiny", images=known["images"][:1])
    assert relative_error(answer, known["scores"][:1]) < TOLERANCE


def test_an_artifact_that_is_in_the_store_is_not_made_again(workspace: Workspace) -> None:
    api = workspace.api
    api.create(tiny())
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    (manifest,) = manifests(workspace)
    before = manifest.stat().st_mtime_ns
    api.delete("TRTModel", "tiny")
    eventually(lambda: not api.list("Job"), seconds=60)
    api.create(tiny())
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    assert manifest.stat().st_mtime_ns == before
    assert manifests(workspace) == [manifest]


def test_deletion_policy_delete_takes_the_artifacts_along(workspace: Workspace) -> None:
    api = workspace.api
    api.create(tiny(artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"}))
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    assert manifests(workspace)
    api.delete("TRTModel", "tiny")
    eventually(lambda: not api.exists("TRTModel", "tiny"), seconds=120)
    assert not list((workspace.volume / "tftrt").rglob("*.pb"))
    assert (workspace.volume / "tiny" / "saved_model.pb").exists(), "the source is the user's"


def test_a_frozen_graph_is_served(workspace: Workspace) -> None:
    api = workspace.api
    known = np.load(workspace.volume / "tiny.npz")
    graph = {"uri": "pvc://models/frozen.pb", "format": "FrozenGraph", "inputs": ["images:0"], "outputs": ["scores:0"]}
    api.create(tiny(source=graph))
    eventually(lambda: is_serving(api, "tiny"), seconds=180)
    answer = infer(workspace.address("tiny"), "tiny", images=known["images"][:1])
    assert relative_error(answer, known["scores"][:1]) < TOLERANCE
