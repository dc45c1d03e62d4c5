"""What the pods of a TRTModel have: resources, a user of their own, no token, no sidecar where they end, a proxy."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tftrt_operator.api.quantity import quantity_value
from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.manifests.cleanup_job import Store, cleanup_job
from tftrt_operator.domain.manifests.conversion_job import conversion_job, conversion_job_name
from tftrt_operator.domain.manifests.deployment import deployment
from tftrt_operator.domain.runtime import Proxy, Runtime

from .builders import TRITON, engine_record, target, trtmodel
from .test_reach import EVERYWHERE

PROXY = Proxy("http://proxy.example:3128", "http://proxy.example:3128", "10.0.0.0/8,.svc")


def templates(model: TRTModel, runtime: Runtime | None = None) -> dict[str, dict[str, Any]]:
    """The pod templates of its conversion, its server and the deletion of its artifacts."""
    wanted = target(model)
    used = runtime or wanted.runtime
    bodies = {
        "conversion": conversion_job(model, used, wanted.key).body,
        "server": deployment(model, used, engine_record(model), None, 1).body,
        "cleanup": cleanup_job(model, used, Store(wanted.key.store), [wanted.key.fingerprint]).body,
    }
    return {name: body["spec"]["template"] for name, body in bodies.items()}


def containers(model: TRTModel, runtime: Runtime | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    for template in templates(model, runtime).values():
        for container in [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]:
            yield container["name"], container


MODELS = {
    "plain": trtmodel(),
    "everywhere": trtmodel(**EVERYWHERE),
    "with requests above the default limits": trtmodel(
        conversion={"resources": {"requests": {"cpu": "32", "memory": "64Gi"}}},
        serving={"resources": {"requests": {"memory": "64Gi"}, "limits": {"cpu": "100m"}}},
    ),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_request_is_above_its_limit(model: TRTModel) -> None:
    for name, container in containers(model):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        for resource in requests.keys() & limits.keys():
            assert quantity_value(requests[resource]) <= quantity_value(limits[resource]), (name, resource)


@pytest.mark.parametrize("model", [MODELS["plain"], MODELS["everywhere"]], ids=["plain", "everywhere"])
def test_every_container_fits_a_namespace_with_a_compute_quota(model: TRTModel) -> None:
    seen = set()
    for name, container in containers(model):
        seen.add(name)
        for part in ("requests", "limits"):
            assert {"cpu", "memory"} <= container["resources"][part].keys(), name
    assert {"lookup", "fetch", "convert", "publish", "server", "delete"} <= seen


def test_of_a_resource_that_the_spec_names_the_defaults_say_nothing() -> None:
    model = trtmodel(conversion={"resources": {"requests": {"cpu": "4"}}})
    found = dict(containers(model))["convert"]["resources"]
    assert found["requests"] == {"cpu": "4", "memory": "2Gi"}
    assert found["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "1"}


def test_the_resources_of_a_conversion_are_those_of_each_of_its_containers_and_one_has_the_gpu() -> None:
    model = trtmodel(conversion={"resources": {"limits": {"cpu": "2", "memory": "8Gi"}}})
    limits = {name: found["resources"]["limits"] for name, found in containers(model)}
    for name in ("lookup", "fetch", "publish"):
        assert limits[name] == {"cpu": "2", "memory": "8Gi"}
    assert limits["convert"] == {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"}


def test_a_server_has_memory_for_its_artifact_and_for_what_lies_in_shared_memory() -> None:
    def least(artifact_bytes: int) -> Decimal:
        model = trtmodel()
        body = deployment(model, TRITON, engine_record(model, artifactBytes=artifact_bytes), None, 1).body
        return quantity_value(body["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"])

    assert least(0) == 2**30 + 64 * 2**20
    assert least(10**9) - least(0) == 2 * 10**9


def test_an_upgrade_of_the_operator_runs_no_conversion_again() -> None:
    """Golden, as of v0.1.0: a failed run whose Job had another name now would be run again, all over a cluster."""
    steered = trtmodel(
        conversion={"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "4Gi"}}, "queue": "q"},
        gpu={"product": "NVIDIA-A10"},
        serving={"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], "serviceAccountName": "models"},
    )
    models = (trtmodel(), trtmodel(serving={"runtime": "cpu"}), trtmodel(**EVERYWHERE), steered)
    assert [conversion_job_name(model, target(model).runtime, target(model).key) for model in models] == [
        "resnet50-3cb5b484-180d",
        "resnet50-ed9afbfe-431c",
        "resnet50-3559872a-3b75",
        "resnet50-9f20b91c-fb8a",
    ]


def test_a_proxy_is_no_part_of_a_jobs_name_and_is_told_to_those_that_call_out() -> None:
    model = trtmodel(**EVERYWHERE)
    behind = replace(target(model).runtime, proxy=PROXY)
    told = {
        name: {variable["name"]: variable.get("value") for variable in found["env"]}.keys()
        >= {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
        for name, found in containers(model, behind)
    }
    out = {"lookup", "fetch", "publish", "pull", "delete"}
    assert told == dict.fromkeys(out, True) | dict.fromkeys(("convert", "server"), False)
    wanted = target(model)
    assert conversion_job_name(model, behind, wanted.key) == conversion_job_name(model, wanted.runtime, wanted.key)


def test_pods_that_end_have_no_sidecar_unless_the_spec_wants_one() -> None:
    found = templates(trtmodel())
    for name in ("conversion", "cleanup"):
        assert found[name]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
        assert found[name]["metadata"]["annotations"]["linkerd.io/inject"] == "disabled"
    assert "sidecar.istio.io/inject" not in found["server"]["metadata"]["labels"]
    meshed = trtmodel(conversion={"pods": {"labels": {"sidecar.istio.io/inject": "true"}}})
    assert templates(meshed)["conversion"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"


def test_jobs_have_the_account_labels_and_annotations_that_the_spec_names_for_the_conversion() -> None:
    model = trtmodel(
        conversion={
            "pods": {
                "serviceAccountName": "reads-models",
                "labels": {"azure.workload.identity/use": "true", "app.kubernetes.io/instance": "other"},
                "annotations": {"example.com/cost": "team-a", "tftrt.dev/spec": "{}"},
            }
        }
    )
    for name in ("conversion", "cleanup"):  # who may publish may delete
        found = templates(model)[name]
        assert found["spec"]["serviceAccountName"] == "reads-models"
        assert found["metadata"]["labels"]["azure.workload.identity/use"] == "true"
        assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "resnet50"
        assert found["metadata"]["annotations"]["example.com/cost"] == "team-a"
        assert found["metadata"]["annotations"]["tftrt.dev/spec"] != "{}"
    assert "serviceAccountName" not in templates(model)["server"]["spec"]
    assert "serviceAccountName" not in templates(trtmodel())["conversion"]["spec"]


@pytest.mark.parametrize("model", [MODELS["plain"], MODELS["everywhere"]], ids=["plain", "everywhere"])
def test_every_pod_is_restricted_and_has_no_token(model: TRTModel) -> None:
    for name, template in templates(model).items():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 65532}.items(), name
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"], name
            assert not security["allowPrivilegeEscalation"], name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
