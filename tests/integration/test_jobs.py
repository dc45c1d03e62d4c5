"""Job identity: one Job for each engine, and a failed run never blocks a corrected one."""

from tests.support.api import Api
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

from .kubelet import fail_job, finish_job, pod_of_job, start_servers


def the_job(api: Api) -> str:
    return eventually(lambda: job_names(api))[0]


def test_a_model_becomes_ready_through_one_job(api: Api) -> None:
    api.create(trtmodel())
    job = the_job(api)
    eventually(lambda: conditions(api)["Reconciling"][1].startswith("Conversion"))
    finish_job(api, job)
    eventually(lambda: api.exists("Deployment", "resnet50"))
    eventually(lambda: conditions(api)["Converted"] == ("True", "Converted"))
    eventually(lambda: start_servers(api, "resnet50") and conditions(api)["Ready"] == ("True", "Serving"))
    status = api.get("TRTModel", "resnet50")["status"]
    assert status["observedGeneration"] == 1
    serves = status["serving"]
    assert serves["url"] == f"http://resnet50.{api.namespace}.svc:8000/v2/models/resnet50"
    assert serves["inputs"] == [{"name": "input_1", "datatype": "FP32", "shape": [-1, 224, 224, 3]}]
    assert serves["outputs"] == [{"name": "predictions", "datatype": "FP32", "shape": [-1, 1000]}]
    assert serves["batching"]["reason"] == "LargestBatchIsOne"
    assert set(conditions(api)) == {"Ready", "Converted", "Verified", "Available"}
    shown = status["conversion"]
    assert (shown["speedup"], shown["top1Agreement"], shown["maxRelativeError"]) == ("2.4", "1.0000", "0.0001")
    assert (shown["engines"], shown["convertedShare"]) == (0, "0.0000")
    assert shown["latency"] == {"nativeMicroseconds": 5000, "convertedMicroseconds": 2000}
    assert shown["reportUri"].endswith("/report.html")
    assert "speedupOnDevice" not in shown, "it has none"
    for words in (
        "2.4 times as fast at batch size 8, 2 calls at a time, input and answers on the host",
        "largest relative error 0.0001",
    ):
        assert words in message(api, "Verified")
    told = {event["reason"] for event in api.list("Event") if event["involvedObject"]["kind"] == "TRTModel"}
    usual = {"ConversionPending", "ConversionRunning", "Converted", "Serving"}  # its server waited for a node at first
    assert not told & usual, "the usual course is told by the status"
    (record,) = api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator")
    assert record["immutable"] is True
    assert api.exists("Job", job), "it stays for an hour"


def test_the_operator_writes_nothing_of_its_own_into_what_users_wrote(api: Api) -> None:
    created = api.create(trtmodel())
    finish_job(api, the_job(api))
    eventually(lambda: api.exists("Deployment", "resnet50"))
    live = api.get("TRTModel", "resnet50")
    assert live["spec"] == created["spec"]
    assert "annotations" not in live["metadata"]
    assert "finalizers" not in live["metadata"]
    assert live["metadata"]["generation"] == 1


def test_a_mistake_stalls_and_a_corrected_spec_recovers_without_deleting_anything(api: Api) -> None:
    api.create(trtmodel(source={"uri": "pvc://models/resnet"}))
    wrong = the_job(api)
    fail_job(api, wrong, 11, "SourceNotFound", "pvc://models/resnet does not exist")
    eventually(lambda: conditions(api)["Stalled"] == ("True", "SourceNotFound"))
    assert "pvc://models/resnet does not exist" in message(api, "Ready")
    assert len(api.list("Pod")) == 1, "the user's mistake is not tried again"

    api.patch("TRTModel", "resnet50", {"spec": {"source": {"uri": "pvc://models/resnet50"}}})
    right = eventually(lambda: [name for name in job_names(api) if name != wrong])[0]
    finish_job(api, right)
    eventually(lambda: api.exists("Deployment", "resnet50"))
    assert "Stalled" not in conditions(api)


def test_a_fix_outside_the_spec_is_tried_again_when_the_annotation_says_so(api: Api) -> None:
    api.create(trtmodel())
    first = the_job(api)
    fail_job(api, first, 11, "SourceNotFound", "nothing there")
    eventually(lambda: "Stalled" in conditions(api))
    api.patch("TRTModel", "resnet50", {"metadata": {"annotations": {"tftrt.dev/retry": "1"}}})
    second = eventually(lambda: [name for name in job_names(api) if name != first])[0]
    assert second.rsplit("-", 1)[0] == first.rsplit("-", 1)[0], "the same engine, another run"
    finish_job(api, second)
    eventually(lambda: api.exists("Deployment", "resnet50"))
    eventually(lambda: job_names(api) == [second])


def test_a_passing_fault_is_tried_again_by_the_job(api: Api) -> None:
    api.create(trtmodel(conversion={"retries": 2}))
    job = the_job(api)
    fail_job(api, job, 31, "StoreUnavailable", "no space left on device", container="publish")
    eventually(lambda: "attempt 2 of 3" in message(api, "Reconciling"), seconds=40)
    assert "no space left on device" in message(api, "Reconciling")
    finish_job(api, job)
    eventually(lambda: api.exists("Deployment", "resnet50"))


def test_two_models_with_one_engine_share_one_job(api: Api) -> None:
    api.create(trtmodel("first"))
    api.create(trtmodel("second"))
    api.create(trtmodel("third", serving={"replicas": 3}))
    job = the_job(api)
    eventually(lambda: len(api.get("Job", job)["metadata"]["ownerReferences"]) == 3)
    assert job_names(api) == [job]
    finish_job(api, job)
    for name in ("first", "second", "third"):
        eventually(lambda name=name: api.exists("Deployment", name))  # type: ignore[misc]
    assert job_names(api) == [job]
    (record,) = api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator")
    assert sorted(owner["name"] for owner in record["metadata"]["ownerReferences"]) == ["first", "second", "third"]


def test_the_one_job_goes_on_when_the_model_that_started_it_is_deleted(api: Api) -> None:
    api.create(trtmodel("first"))
    job = the_job(api)
    api.create(trtmodel("second"))
    eventually(lambda: len(api.get("Job", job)["metadata"]["ownerReferences"]) == 2)
    api.delete("TRTModel", "first")

    def owners() -> list[str]:
        return [owner["name"] for owner in api.get("Job", job)["metadata"]["ownerReferences"]]

    # The collector looks for kinds that it has not met every 30 seconds, and this cluster's CRD is new.
    eventually(lambda: owners() == ["second"], seconds=90)
    finish_job(api, job)
    eventually(lambda: api.exists("Deployment", "second"))


def test_a_lost_record_costs_one_run_of_the_job(api: Api) -> None:
    api.create(trtmodel())
    job = the_job(api)
    finish_job(api, job)
    (record,) = eventually(lambda: api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator"))
    eventually(lambda: api.exists("Deployment", "resnet50"))
    before = api.get("Deployment", "resnet50")
    api.delete("Job", job)
    eventually(lambda: not api.exists("Job", job))
    eventually(lambda: not api.list("Pod", f"batch.kubernetes.io/job-name={job}"))
    api.delete("ConfigMap", record["metadata"]["name"])
    assert the_job(api) == job, "the same run again, by the same name"
    finish_job(api, job)
    (again,) = eventually(lambda: api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator"))
    assert again["metadata"]["name"] == record["metadata"]["name"]
    eventually(lambda: conditions(api)["Converted"] == ("True", "Converted"))
    after = api.get("Deployment", "resnet50")
    assert after["metadata"]["generation"] == before["metadata"]["generation"], "the server never noticed"


def test_a_record_whose_job_is_still_there_is_written_again_without_a_run(api: Api) -> None:
    api.create(trtmodel())
    job = the_job(api)
    finish_job(api, job)
    (record,) = eventually(lambda: api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator"))
    uid = api.get("Job", job)["metadata"]["uid"]
    api.delete("ConfigMap", record["metadata"]["name"])
    (again,) = eventually(lambda: api.list("ConfigMap", "app.kubernetes.io/managed-by=tftrt-operator"))
    assert again["data"] == record["data"]
    assert api.get("Job", job)["metadata"]["uid"] == uid


def test_a_changed_engine_ends_the_run_that_nobody_needs_any_more(api: Api) -> None:
    api.create(trtmodel())
    old = the_job(api)
    pod_of_job(api, old)
    api.patch("TRTModel", "resnet50", {"spec": {"conversion": {"maxBatchSize": 16}}})
    eventually(lambda: len(job_names(api)) == 1 and job_names(api) != [old])


def test_a_name_of_40_characters_works_to_the_end(api: Api) -> None:
    name = "m" * 40
    api.create(trtmodel(name))
    finish_job(api, the_job(api))
    eventually(lambda: start_servers(api, name) and conditions(api, name)["Ready"] == ("True", "Serving"))


def test_an_attempt_that_took_too_long_is_the_last(api: Api) -> None:
    api.create(trtmodel(conversion={"retries": 3}))
    (name,) = eventually(lambda: job_names(api))
    pod = pod_of_job(api, name)["metadata"]["name"]
    words = "Pod was active on the node longer than the specified deadline"
    api.patch(
        "Pod",
        pod,
        {"status": {"phase": "Failed", "reason": "DeadlineExceeded", "message": words}},
        "/status",
        manager="kubelet",
    )
    eventually(lambda: conditions(api)["Stalled"] == ("True", "DeadlineExceeded"), seconds=40)
    assert "spec.conversion.deadlineSeconds" in message(api, "Stalled")
    assert [one["metadata"]["name"] for one in api.list("Pod", f"batch.kubernetes.io/job-name={name}")] == [pod]
