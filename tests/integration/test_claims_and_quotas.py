"""What else a namespace says of its claims and its resources counts for what the operator makes there."""

from tests.support.api import Api, Json
from tests.support.trtmodels import conditions, job_names, message, trtmodel
from tests.support.waiting import eventually

from .kubelet import finish_cleanup, serving

COMPUTE = {"requests.cpu": "4", "requests.memory": "16Gi", "limits.cpu": "40", "limits.memory": "80Gi"}


def claim(name: str, **labels: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": {f"tftrt.dev/{key}": value for key, value in labels.items()}},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def test_a_claim_whose_owner_forbids_it_is_not_mounted_until_the_owner_allows_it(api: Api) -> None:
    api.create(claim("payroll-db", access="None"))
    api.create(trtmodel(source={"uri": "pvc://payroll-db/models/resnet50"}))
    eventually(lambda: conditions(api).get("Stalled") == ("True", "ClaimForbidden"))
    assert "payroll-db would be read, but its label tftrt.dev/access says None" in message(api, "Ready")
    assert job_names(api) == []

    api.patch("PersistentVolumeClaim", "payroll-db", {"metadata": {"labels": {"tftrt.dev/access": "ReadOnly"}}})
    eventually(lambda: job_names(api))


def test_in_a_namespace_with_a_compute_quota_a_model_is_converted_and_served_and_its_artifacts_go(api: Api) -> None:
    quota = {"metadata": {"name": "compute"}, "spec": {"hard": COMPUTE}}
    api.create({"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    eventually(lambda: api.get("ResourceQuota", "compute")["status"]["hard"] == COMPUTE)
    serving(api, artifacts={"uri": "pvc://models/tftrt", "deletionPolicy": "Delete"})
    api.delete("TRTModel", "resnet50")
    finish_cleanup(api, eventually(lambda: [name for name in job_names(api) if "cleanup" in name])[0])
    eventually(lambda: not api.exists("TRTModel", "resnet50"))
