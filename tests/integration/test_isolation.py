"""Nothing that one tenant writes, and nothing that an administrator takes away, stops the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.support.api import Api, Refused
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

from .conftest import ROOT, OperatorProcess
from .kubelet import serving

CRD = "trtmodels.tftrt.dev"
MANAGED = {"app.kubernetes.io/managed-by": "tftrt-operator"}


@pytest.fixture
def loose_schema(cluster: Cluster, admin: Api) -> Iterator[None]:
    """The CRD of a version that bounds nothing; what was written under it is there when the bounds come back."""
    crd = admin.get("CustomResourceDefinition", CRD)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["x-kubernetes-validations"] = []
    size = schema["properties"]["conversion"]["properties"]["maxWorkspaceSize"]
    for bound in ("pattern", "maxLength", "x-kubernetes-validations"):
        size.pop(bound, None)
    admin.patch("CustomResourceDefinition", CRD, {"spec": {"versions": crd["spec"]["versions"]}})
    yield
    cluster.install_crds(ROOT / "crds")


@pytest.mark.usefixtures("loose_schema")
def test_a_quantity_that_another_version_admitted_stalls_its_own_model_alone(
    cluster: Cluster, api: Api, operator: OperatorProcess
) -> None:
    def create() -> bool:
        try:
            api.create(trtmodel("hostile", conversion={"maxWorkspaceSize": "1e999999"}))
        except Refused:
            return False
        return True

    eventually(create)  # the API server takes a moment to serve the loose schema
    cluster.install_crds(ROOT / "crds")
    eventually(lambda: conditions(api, "hostile").get("Stalled") == ("True", "SpecUnreadable"))
    assert "maxWorkspaceSize" in message(api, "Ready", "hostile")
    serving(api)
    api.patch("TRTModel", "hostile", {"spec": {"conversion": {"maxWorkspaceSize": "1G"}}})
    eventually(lambda: any(name.startswith("hostile-") for name in job_names(api)))


def test_an_object_that_is_many_times_as_long_in_a_watch_ends_no_watch(api: Api, operator: OperatorProcess) -> None:
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "long", "labels": MANAGED},
        "data": {"record.json": "<" * 800_000},
    }
    api.create(body)
    for number in range(3):
        api.patch("ConfigMap", "long", {"metadata": {"labels": {"touched": f"{number}"}}})
    serving(api)
    operator.wait_until_healthy()


def test_the_crd_may_come_after_the_operator(cluster: Cluster, bare_api: Api, operator: OperatorProcess) -> None:
    operator.stop()
    cluster.kubectl("delete", "crd", CRD)
    already = operator.log.stat().st_size
    operator.launch()
    eventually(lambda: "install the CRD" in operator.log.read_text()[already:])
    assert operator.answer("healthz")[0] == 200, "it is alive, and no restart would help"
    assert operator.answer("readyz")[0] == 503
    assert "install the CRD" in operator.answer("readyz")[1]
    cluster.install_crds(ROOT / "crds")
    operator.wait_until_healthy()
    bare_api.create(trtmodel("late"))
    eventually(lambda: job_names(bare_api))


def test_a_webhook_that_is_down_is_told_in_its_own_words_and_waited_for(admin: Api, api: Api) -> None:
    name = f"down-{api.namespace}"
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    webhook = {
        "name": "policy.tftrt.example",
        "clientConfig": {"url": "https://127.0.0.1:9/validate"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": api.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = "ValidatingWebhookConfiguration"
    admission = "admissionregistration.k8s.io/v1"
    admin.create({"apiVersion": admission, "kind": kind, "metadata": {"name": name}, "webhooks": [webhook]})
    try:
        api.create(trtmodel("blocked"))
        eventually(lambda: conditions(api, "blocked").get("Reconciling") == ("True", "WriteFailed"))
        assert "policy.tftrt.example" in message(api, "Ready", "blocked")
    finally:
        admin.delete(kind, name)
    eventually(lambda: job_names(api), seconds=60)


def test_a_job_of_our_name_that_only_has_our_label_is_never_taken_for_ours(api: Api) -> None:
    api.create(trtmodel("copied"))
    (name,) = eventually(lambda: job_names(api))
    ours = api.get("Job", name)
    api.delete("TRTModel", "copied")
    # The collector looks for kinds that it has not met every 30 seconds, and this cluster's CRD is new.
    eventually(lambda: not api.exists("Job", name), seconds=90)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    copy = {"metadata": {"name": name, "labels": MANAGED}, "spec": {"template": template}}
    api.create({"apiVersion": "batch/v1", "kind": "Job"} | copy)
    api.create(trtmodel("copied"))
    eventually(lambda: conditions(api, "copied").get("Stalled") == ("True", "NameConflict"))
    assert api.get("Job", name)["metadata"]["uid"] != ours["metadata"]["uid"]
    api.delete("Job", name)


def test_the_crd_may_go_and_come_again_under_a_running_operator(
    cluster: Cluster, bare_api: Api, operator: OperatorProcess
) -> None:
    bare_api.create(trtmodel("before"))
    eventually(lambda: job_names(bare_api))
    cluster.kubectl("delete", "crd", CRD)
    eventually(lambda: operator.answer("readyz")[0] == 503, seconds=40)
    cluster.install_crds(ROOT / "crds")
    operator.wait_until_healthy()
    bare_api.create(trtmodel("after"))
    eventually(lambda: any(name.startswith("after-") for name in job_names(bare_api)))


@pytest.mark.parametrize("levels", [900, 3000])
def test_what_is_nested_too_deep_stalls_its_own_model_alone(api: Api, operator: OperatorProcess, levels: int) -> None:
    deep = '{"a":' * levels + "1" + "}" * levels
    spec = f'{{"source": {{"uri": "pvc://models/x"}}, "serving": {{"affinity": {deep}}}}}'
    model = (
        f'{{"apiVersion": "tftrt.dev/v1alpha1", "kind": "TRTModel", "metadata": {{"name": "deep"}}, "spec": {spec}}}'
    )
    fields = '{"f:a":' * levels + "{}" + "}" * levels
    managed = '{"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": %s}'
    labels = '"labels": {"app.kubernetes.io/managed-by": "tftrt-operator"}'
    metadata = f'{{"name": "deep", {labels}, "managedFields": [{managed % fields}]}}'
    api.create_text("ConfigMap", f'{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {metadata}}}')
    api.create_text("TRTModel", model)
    eventually(lambda: conditions(api, "deep").get("Stalled") == ("True", "SpecUnreadable"), seconds=40)
    assert "levels deep" in message(api, "Ready", "deep")
    serving(api)
    operator.stop()
    operator.start()  # what is watched can be listed, too
    api.patch("TRTModel", "resnet50", {"spec": {"conversion": {"maxBatchSize": 4}}})
    eventually(lambda: len(job_names(api)) == 2)
    api.delete("TRTModel", "deep")
