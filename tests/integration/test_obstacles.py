"""What is in the way: quotas, policies, objects that anyone may write, and an operator that has just started."""

import json
from typing import Any

from tests.support.api import Api
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

from .conftest import OperatorProcess
from .kubelet import finish_cleanup, finish_job, pod_of_job, serving

MANAGED = {"app.kubernetes.io/managed-by": "tftrt-operator"}


def test_a_corrected_spec_gets_past_a_quota_that_its_own_first_job_fills(api: Api) -> None:
    hard = {"count/jobs.batch": "1"}
    api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "jobs"}, "spec": {"hard": hard}})
    eventually(lambda: api.get("ResourceQuota", "jobs").get("status", {}).get("hard") == hard)
    api.create(trtmodel())
    (first,) = eventually(lambda: job_names(api))
    pod_of_job(api, first)
    api.patch("TRTModel", "resnet50", {"spec": {"source": {"uri": "pvc://models/other"}}})
    eventually(lambda: job_names(api) and job_names(api) != [first], seconds=90)


def test_a_run_that_found_no_node_gives_way_to_the_corrected_one(api: Api) -> None:
    api.create(trtmodel())
    (first,) = eventually(lambda: job_names(api))
    pod_of_job(api, first)
    resources = {"requests": {"cpu": "1"}}
    api.patch("TRTModel", "resnet50", {"spec": {"conversion": {"resources": resources}}})
    (second,) = eventually(lambda: [name for name in job_names(api) if name != first])
    eventually(lambda: job_names(api) == [second])
    finish_job(api, second)
    eventually(lambda: api.exists("Deployment", "resnet50"))


def test_a_job_that_cannot_go_yet_is_waited_for_without_haste(api: Api) -> None:
    api.create(trtmodel())
    (name,) = eventually(lambda: job_names(api))
    api.patch("Job", name, {"metadata": {"finalizers": ["test/held", "batch.kubernetes.io/job-tracking"]}})
    api.delete("Job", name, "Foreground")
    eventually(lambda: "which is being deleted" in message(api, "Ready"))
    api.patch("Job", name, {"metadata": {"finalizers": None}})
    eventually(lambda: job_names(api) == [name] and "deletionTimestamp" not in api.get("Job", name)["metadata"])


def test_objects_that_anyone_may_label_as_ours_do_not_end_the_operator(api: Api) -> None:
    container = {"name": "c", "image": "i"}
    labels = {"app": "hostile"}
    template = {
        "metadata": {"labels": labels, "annotations": {"tftrt.dev/spec": "[]", "tftrt.dev/template": "[]"}},
        "spec": {"containers": [container]},
    }
    hostile: list[dict[str, Any]] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "hostile", "labels": MANAGED},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        },
        *(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"hostile-{number}", "labels": MANAGED},
                "data": {"record.json": json.dumps(record)},
            }
            for number, record in enumerate(([], 7, {"version": 1, "inputs": []}, {"version": 99}))
        ),
    ]
    for body in hostile:
        api.create(body)
    serving(api)


def test_an_operator_that_has_just_started_knows_who_uses_an_artifact(api: Api, operator: OperatorProcess) -> None:
    artifacts = {"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"}
    serving(api, artifacts=artifacts)
    api.create(trtmodel("zoo", artifacts=artifacts))
    eventually(lambda: api.exists("Deployment", "zoo"))
    operator.stop()
    try:
        api.delete("TRTModel", "resnet50")
    finally:
        operator.start()
    eventually(lambda: not api.exists("TRTModel", "resnet50"))
    assert not [name for name in job_names(api) if "-cleanup-" in name]


def test_a_new_model_waits_for_the_deletion_of_the_engine_that_it_asks_for(api: Api) -> None:
    artifacts = {"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"}
    serving(api, artifacts=artifacts)
    api.delete("TRTModel", "resnet50")
    (cleanup,) = eventually(lambda: [name for name in job_names(api) if "-cleanup-" in name])
    api.create(trtmodel("next", artifacts=artifacts))
    eventually(lambda: cleanup in message(api, "Ready", "next"))
    assert not api.exists("Deployment", "next")
    finish_cleanup(api, cleanup)
    conversions = eventually(lambda: [name for name in job_names(api) if name.startswith("next-")])
    finish_job(api, conversions[0])
    eventually(lambda: api.exists("Deployment", "next"))
    assert conditions(api, "next")["Reconciling"][0] == "True"


def test_a_record_that_somebody_forged_is_named_and_never_mounted(api: Api) -> None:
    """Who may write ConfigMaps must not choose what a colleague's server runs, or which claim it mounts."""
    serving(api)
    (record,) = api.list("ConfigMap", "app.kubernetes.io/component=record")
    api.delete("TRTModel", "resnet50")
    eventually(lambda: not api.exists("ConfigMap", record["metadata"]["name"]), seconds=90)
    text = json.loads(record["data"]["record.json"])
    text["summary"]["artifact"] = "pvc://payroll-db/backups"
    metadata = {"name": record["metadata"]["name"], "labels": record["metadata"]["labels"]}
    forged = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"record.json": json.dumps(text)}}
    api.create(forged)
    api.create(trtmodel())
    finish_job(api, eventually(lambda: job_names(api))[0])
    eventually(lambda: conditions(api).get("Stalled") == ("True", "NameConflict"))
    assert record["metadata"]["name"] in message(api, "Stalled")
    assert not api.exists("Deployment", "resnet50")
