"""What the operator applies: replicas and field ownership, names that are taken, drift, deletion."""

from tests.cluster import Cluster
from tests.support.admission import patching, webhook
from tests.support.api import Api, Json
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

from .conftest import OperatorProcess
from .kubelet import finish_cleanup, finish_job, pod_of_job, serving, start_servers


def replicas(api: Api) -> int:
    return int(api.get("Deployment", "resnet50")["spec"]["replicas"])


def ready_since(api: Api) -> str:
    (ready,) = [c for c in api.get("TRTModel", "resnet50")["status"]["conditions"] if c["type"] == "Ready"]
    return str(ready["lastTransitionTime"])


def test_more_replicas_start_no_job_and_are_ready_once_all_of_them_answer(api: Api) -> None:
    serving(api)
    before = job_names(api)
    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"replicas": 3}}})
    eventually(lambda: conditions(api)["Ready"] == ("False", "Unschedulable"))  # this cluster has no node
    assert message(api, "Ready").startswith("1 of 3 replicas answer; ")
    assert conditions(api)["Available"] == ("True", "ReplicasAvailable")
    eventually(lambda: api.exists("PodDisruptionBudget", "resnet50"))
    eventually(lambda: start_servers(api, "resnet50") and "3 of 3 replicas" in message(api, "Ready"))
    assert job_names(api) == before

    since = ready_since(api)
    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"replicas": 1}}})
    eventually(lambda: not api.exists("PodDisruptionBudget", "resnet50"))
    eventually(lambda: message(api, "Ready") == "1 of 1 replicas answer" and len(server_pods(api)) == 1)
    assert ready_since(api) == since, "fewer replicas never lower Ready"

    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"replicas": 0}}})
    eventually(lambda: conditions(api)["Ready"] == ("True", "ScaledToZero"))
    assert server_pods(api) == []


def server_pods(api: Api) -> list[str]:
    return [pod["metadata"]["name"] for pod in api.list("Pod", "app.kubernetes.io/component=server")]


def test_what_the_autoscaler_cannot_do_is_a_condition(api: Api) -> None:
    serving(api, serving={"autoscaling": {"maxReplicas": 3}})
    eventually(lambda: conditions(api)["ScalingActive"] == ("False", "FailedGetContainerResourceMetric"), seconds=60)

    def written() -> list[Json]:
        fields = api.get("HorizontalPodAutoscaler", "resnet50")["metadata"]["managedFields"]
        return [entry for entry in fields if entry["manager"] == "tftrt-operator"]

    before = written()
    another = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "another"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "tftrt.dev/v1alpha1", "kind": "TRTModel", "name": "resnet50"},
            "maxReplicas": 4,
        },
    }
    api.create(another)
    eventually(lambda: conditions(api)["ScalingActive"] == ("False", "AmbiguousSelector"), seconds=60)
    assert "exclude each other: keep one or the other" in message(api, "ScalingActive")
    assert written() == before, "what the API server makes of it is no drift"


def test_what_a_mutating_webhook_makes_of_ours_stays_and_the_model_is_ready(
    api: Api, admin: Api, cluster: Cluster, operator: OperatorProcess
) -> None:
    image = "/spec/template/spec/containers/0/image"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["deployments"]}

    def mirror(_request: Json) -> Json:
        return patching({"op": "replace", "path": image, "value": "mirror.example/converter:1"})

    with webhook(cluster.layout.host_address, mirror) as running:
        kind = "MutatingWebhookConfiguration"
        configuration = running.configuration(kind, "mirror", api.namespace, rule)
        admin.create(configuration)
        try:
            serving(api)
            told = "changed by a mutating webhook: Deployment spec.template.spec.containers[server].image"
            eventually(lambda: told in message(api, "Available"))
            since, version = ready_since(api), api.get("Deployment", "resnet50")["metadata"]["resourceVersion"]
            operator.stop()
            operator.start()
            api.create(trtmodel("probe", source={"uri": "pvc://models/other"}))
            eventually(lambda: [name for name in job_names(api) if name.startswith("probe")])
            assert ready_since(api) == since, "a restart does not lower Ready"
            assert api.get("Deployment", "resnet50")["metadata"]["resourceVersion"] == version
            api.patch("Deployment", "resnet50", {"spec": {"revisionHistoryLimit": 9}})
            eventually(lambda: api.get("Deployment", "resnet50")["spec"]["revisionHistoryLimit"] == 3)
            eventually(lambda: conditions(api)["Ready"] == ("True", "Serving"))
            server = api.get("Deployment", "resnet50")
            assert server["spec"]["template"]["spec"]["containers"][0]["image"] == "mirror.example/converter:1"
        finally:
            admin.delete(kind, configuration["metadata"]["name"])


def test_an_owner_that_is_named_by_an_older_version_of_the_api_is_named_by_this_one_without_a_restart(api: Api) -> None:
    """The first step of docs/api-versions.md: before a version goes, nothing names an owner by it."""
    serving(api)
    record = next(o["metadata"]["name"] for o in api.list("ConfigMap", "app.kubernetes.io/component=record"))
    generation = api.get("Deployment", "resnet50")["metadata"]["generation"]
    children = [(kind, "resnet50") for kind in ("Deployment", "Service", "NetworkPolicy")]
    for kind, name in (*children, ("ConfigMap", record)):
        (owner,) = api.get(kind, name)["metadata"]["ownerReferences"]
        api.patch(kind, name, {"metadata": {"ownerReferences": [owner | {"apiVersion": "tftrt.dev/v1alpha0"}]}})

        def versions(kind: str = kind, name: str = name) -> list[str]:
            return [owner["apiVersion"] for owner in api.get(kind, name)["metadata"]["ownerReferences"]]

        eventually(lambda versions=versions: versions() == ["tftrt.dev/v1alpha1"])  # type: ignore[misc]
    assert api.get("Deployment", "resnet50")["metadata"]["generation"] == generation
    assert conditions(api)["Ready"] == ("True", "Serving")


def test_replicas_belong_to_the_spec_until_an_autoscaler_has_taken_them(api: Api) -> None:
    serving(api, serving={"replicas": 2})
    api.patch("Deployment", "resnet50", {"spec": {"replicas": 5}}, "/scale", manager="somebody")
    eventually(lambda: replicas(api) == 2)

    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"autoscaling": {"minReplicas": 2, "maxReplicas": 9}}}})
    eventually(lambda: api.exists("HorizontalPodAutoscaler", "resnet50"))
    api.patch("Deployment", "resnet50", {"spec": {"replicas": 4}}, "/scale", manager="kube-controller-manager")
    # Another change of the Deployment is applied meanwhile: the autoscaler's number stays.
    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"maxQueueDelayMicroseconds": 5}}})
    task = "tftrt.dev/spec"
    eventually(
        lambda: (
            '"maxQueueDelayMicroseconds": 5'
            in api.get("Deployment", "resnet50")["spec"]["template"]["metadata"]["annotations"][task]
        )
    )
    assert replicas(api) == 4

    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"autoscaling": None}}})
    eventually(lambda: not api.exists("HorizontalPodAutoscaler", "resnet50"))
    eventually(lambda: replicas(api) == 2)


def test_the_old_revision_serves_on_until_the_new_engine_is_there_and_only_its_replicas_change(api: Api) -> None:
    serving(api)
    old = api.get("Deployment", "resnet50")["spec"]["template"]
    (first,) = job_names(api)
    api.patch("TRTModel", "resnet50", {"spec": {"conversion": {"maxBatchSize": 4}, "serving": {"replicas": 2}}})
    second = eventually(lambda: [name for name in job_names(api) if name != first])[0]
    eventually(lambda: replicas(api) == 2)
    assert api.get("Deployment", "resnet50")["spec"]["template"] == old
    assert conditions(api)["Available"] == ("True", "ReplicasAvailable")
    eventually(lambda: "BatchSizesChanged" in api.get("TRTModel", "resnet50")["status"]["conversion"].get("reason", ""))
    finish_job(api, second)
    eventually(lambda: api.get("Deployment", "resnet50")["spec"]["template"] != old)

    api.patch("TRTModel", "resnet50", {"spec": {"conversion": {"maxBatchSize": 1}}})
    eventually(lambda: api.get("Deployment", "resnet50")["spec"]["template"] == old)
    assert second not in job_names(api) or len(job_names(api)) <= 2
    assert not [job for job in api.list("Job") if not job["status"].get("conditions")], "going back needs no new Job"


def test_a_service_of_that_name_that_is_not_ours_is_never_taken_over(api: Api) -> None:
    ports = [{"port": 8000}]
    mine = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "resnet50"}, "spec": {"ports": ports}}
    before = api.create(mine)
    api.create(trtmodel())
    finish_job(api, eventually(lambda: job_names(api))[0])
    eventually(lambda: conditions(api)["Stalled"] == ("True", "NameConflict"))
    assert "Service resnet50 exists and does not belong to this TRTModel" in message(api, "Stalled")
    assert not api.exists("Deployment", "resnet50")
    after = api.get("Service", "resnet50")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    api.delete("Service", "resnet50")
    api.patch("TRTModel", "resnet50", {"metadata": {"labels": {"look": "again"}}})
    eventually(lambda: api.exists("Deployment", "resnet50"))


def test_what_somebody_deletes_or_changes_comes_back(api: Api) -> None:
    serving(api)
    api.delete("Service", "resnet50")
    eventually(lambda: api.exists("Service", "resnet50"))
    api.patch("NetworkPolicy", "resnet50", {"spec": {"policyTypes": ["Ingress"]}})
    eventually(lambda: "Egress" in api.get("NetworkPolicy", "resnet50")["spec"]["policyTypes"])
    # A rule without a condition lets everybody in, also where we have none.
    api.patch("NetworkPolicy", "resnet50.jobs", {"spec": {"ingress": [{}]}})
    eventually(lambda: "ingress" not in api.get("NetworkPolicy", "resnet50.jobs")["spec"])


def test_who_reaches_a_server_and_what_its_jobs_reach_follows_the_spec(api: Api) -> None:
    serving(api)
    anyone_here: list[Json] = [{"podSelector": {}}]
    assert {str(rule["from"]) for rule in api.get("NetworkPolicy", "resnet50")["spec"]["ingress"]} == {str(anyone_here)}
    assert "egress" not in api.get("NetworkPolicy", "resnet50.jobs")["spec"]
    jobs = job_names(api)

    shop = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}]
    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"networkPolicy": {"from": shop}}}})
    eventually(lambda: api.get("NetworkPolicy", "resnet50")["spec"]["ingress"][0]["from"] == shop)
    assert api.get("NetworkPolicy", "resnet50")["spec"]["ingress"][1]["from"] == anyone_here, "metrics are apart"

    theirs = {"mode": "Unmanaged", "from": None}
    both = {"serving": {"networkPolicy": theirs}, "conversion": {"networkPolicy": {"mode": "Unmanaged"}}}
    api.patch("TRTModel", "resnet50", {"spec": both})
    eventually(lambda: api.list("NetworkPolicy") == [])
    api.patch("TRTModel", "resnet50", {"spec": {"serving": {"networkPolicy": None}}})
    eventually(lambda: api.exists("NetworkPolicy", "resnet50"))
    assert job_names(api) == jobs, "none of this makes another engine"


def test_no_job_runs_where_the_name_of_its_policy_is_taken(api: Api) -> None:
    theirs = {"podSelector": {}, "policyTypes": ["Ingress"]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": theirs}
    api.create(policy | {"metadata": {"name": "resnet50.jobs"}})
    api.create(trtmodel())
    eventually(lambda: conditions(api)["Stalled"] == ("True", "NameConflict"))
    assert "NetworkPolicy resnet50.jobs exists" in message(api, "Stalled")
    assert job_names(api) == []


def test_what_the_api_server_will_not_take_is_said_in_its_words(api: Api) -> None:
    api.create(trtmodel(serving={"pods": {"affinity": {"nodeAffinity": {"nonsense": 1}, "podAffinity": 5}}}))
    finish_job(api, eventually(lambda: job_names(api))[0])
    eventually(lambda: conditions(api)["Stalled"] == ("True", "ObjectInvalid"))
    assert "Deployment resnet50" in message(api, "Stalled")


def test_nothing_is_written_when_nothing_changes_not_even_after_a_restart(api: Api, operator: OperatorProcess) -> None:
    serving(api, serving={"replicas": 2, "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}})
    kinds = ("TRTModel", "Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "ConfigMap", "Job", "Event")

    def versions() -> dict[str, str]:
        # The field managers' times tell a write even where it changed nothing.
        return {
            item["metadata"]["uid"]: item["metadata"]["resourceVersion"] + str(item["metadata"].get("managedFields"))
            for kind in kinds
            for item in api.list(kind)
        }

    eventually(lambda: "2 of 2 replicas" in message(api, "Ready"))
    before = versions()
    operator.stop()
    operator.start()
    probe = trtmodel("probe", source={"uri": "pvc://models/other"})
    api.create(probe)
    eventually(lambda: [name for name in job_names(api) if name.startswith("probe")])  # it has been at work since
    after = versions()
    assert {uid: version for uid, version in after.items() if uid in before} == before


def test_a_model_that_is_deleted_and_created_again_at_once_serves_again(api: Api) -> None:
    serving(api)
    api.delete("TRTModel", "resnet50")
    eventually(lambda: not api.exists("TRTModel", "resnet50"))
    uid = api.create(trtmodel())["metadata"]["uid"]

    def serves() -> bool:
        # It may take over the record, if the garbage collector has not been there yet; else it needs a run of the Job.
        for job in api.list("Job"):
            if job["metadata"]["name"] in job_names(api, owner=uid) and not job["status"].get("conditions"):
                finish_job(api, job["metadata"]["name"])
        return start_servers(api, "resnet50") and conditions(api)["Ready"] == ("True", "Serving")

    # The collector looks for kinds that it has not met every 30 seconds, and this cluster's CRD is new.
    eventually(serves, seconds=90)


def test_deletion_leaves_no_object_behind(api: Api) -> None:
    serving(api, serving={"replicas": 2})
    api.delete("TRTModel", "resnet50")
    for kind in ("TRTModel", "Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "ConfigMap", "Job"):
        eventually(
            lambda kind=kind: not [o for o in api.list(kind) if o["metadata"]["name"] != "kube-root-ca.crt"]  # type: ignore[misc]
        )


def test_with_deletion_policy_delete_the_artifacts_go_first(api: Api) -> None:
    serving(api, artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"})
    assert api.get("TRTModel", "resnet50")["metadata"]["finalizers"] == ["tftrt.dev/artifacts"]
    api.delete("TRTModel", "resnet50")
    cleanup = eventually(lambda: [name for name in job_names(api) if "-cleanup-" in name])[0]
    assert "ownerReferences" not in api.get("Job", cleanup)["metadata"]
    assert api.exists("TRTModel", "resnet50")
    finish_cleanup(api, cleanup)
    eventually(lambda: not api.exists("TRTModel", "resnet50"))


def test_what_a_conversion_published_before_it_was_recorded_goes_with_its_model(api: Api) -> None:
    api.create(trtmodel(artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"}))
    (name,) = eventually(lambda: job_names(api))
    eventually(lambda: pod_of_job(api, name))
    api.delete("TRTModel", "resnet50")
    cleanup = eventually(lambda: [found for found in job_names(api) if "-cleanup-" in found])[0]
    task = api.get("Job", cleanup)["spec"]["template"]["metadata"]["annotations"]["tftrt.dev/spec"]
    assert api.get("Job", name)["metadata"]["labels"]["tftrt.dev/fingerprint"] in task
    assert not api.list("Pod", f"batch.kubernetes.io/job-name={name}"), "nobody writes any more"
    finish_cleanup(api, cleanup)
    eventually(lambda: not api.exists("TRTModel", "resnet50"))


def test_objects_deleted_while_the_watch_is_cut_by_410_are_not_missed(
    api: Api, admin: Api, cluster: Cluster, operator: OperatorProcess
) -> None:
    serving(api)
    api.create(trtmodel("doomed", source={"uri": "pvc://models/doomed"}))
    eventually(lambda: [name for name in job_names(api) if name.startswith("doomed")])
    operator.pause()
    try:
        cluster.expire_watches()  # cuts the connections: what happens now is in nobody's buffer
        api.delete("TRTModel", "doomed")
        api.delete("Service", "resnet50")
        eventually(lambda: not api.exists("TRTModel", "doomed"))
        eventually(lambda: not [name for name in job_names(api) if name.startswith("doomed")])
        cluster.expire_watches()
    finally:
        operator.resume()
    eventually(lambda: api.exists("Service", "resnet50"), seconds=60)
    api.create(trtmodel("probe", source={"uri": "pvc://models/probe"}))
    eventually(lambda: [name for name in job_names(api) if name.startswith("probe")])
    assert not [name for name in job_names(api) if name.startswith("doomed")], "a deleted model came back to life"
    eventually(lambda: "listing again" in operator.log.read_text())
    # Nobody said that it was deleted: it is known from what there is.
    there = len(admin.list_everywhere("TRTModel"))
    eventually(lambda: operator.answer("readyz")[1].startswith(f"{there} models"), seconds=40)


def test_fields_that_have_moved_are_moved_without_a_job_and_without_a_restart(api: Api) -> None:
    old = {"runtime": "cpu", "nodeSelector": {"pool": "cpu"}, "tolerations": [{"key": "team", "operator": "Exists"}]}
    serving(api, runtime=None, serving=old)
    jobs, before = job_names(api), api.get("Deployment", "resnet50")["metadata"]["generation"]
    new = {
        "runtime": "cpu",
        "pods": {"tolerations": old["tolerations"]},
        "serving": dict.fromkeys(old) | {"pods": {"nodeSelector": old["nodeSelector"]}},
    }
    generation = api.patch("TRTModel", "resnet50", {"spec": new})["metadata"]["generation"]
    eventually(lambda: api.get("TRTModel", "resnet50")["status"]["observedGeneration"] == generation)
    assert job_names(api) == jobs
    assert api.get("Deployment", "resnet50")["metadata"]["generation"] == before
    assert conditions(api)["Ready"] == ("True", "Serving")
