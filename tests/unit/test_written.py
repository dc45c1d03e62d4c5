"""What is said once for all pods, what is said apart, and what is said in the form of v0.1.0."""

from typing import Any

import pytest

from tftrt_operator.api.pods import Pods
from tftrt_operator.api.serving import Serving
from tftrt_operator.api.trtmodel import TRTModelSpec
from tftrt_operator.api.written import ServingAsWritten, TRTModelSpecAsWritten
from tftrt_operator.domain.fingerprint import engine_inputs, fingerprint
from tftrt_operator.domain.manifests.conversion_job import conversion_job_name

from .builders import TRITON, target, trtmodel
from .test_pods import templates

TOLERATION = {"key": "team", "operator": "Exists"}
OLD: dict[str, Any] = {
    "runtime": "triton",
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [TOLERATION],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "serviceAccountName": "models",
    "podLabels": {"team": "vision"},
    "podAnnotations": {"example.com/note": "x"},
}
NEW: dict[str, Any] = {
    "runtime": "triton",
    "pods": {"tolerations": [TOLERATION]},
    "serving": {
        "pods": {
            "nodeSelector": {"pool": "gpu"},
            "affinity": {"podAntiAffinity": {}},
            "priorityClassName": "high",
            "serviceAccountName": "models",
            "labels": {"team": "vision"},
            "annotations": {"example.com/note": "x"},
        }
    },
}


def test_the_form_of_v0_1_0_means_what_it_meant() -> None:
    old, new = trtmodel(serving=OLD), trtmodel(**NEW)
    assert old.spec == new.spec
    assert templates(old) == templates(new)
    assert target(old) == target(new)
    names = {conversion_job_name(model, TRITON, target(model).key) for model in (old, new)}
    assert len(names) == 1
    prints = {fingerprint(engine_inputs(model.spec, TRITON)) for model in (old, new, trtmodel())}
    assert len(prints) == 1


@pytest.mark.parametrize("field", OLD)
def test_each_field_that_has_moved_is_read_by_itself(field: str) -> None:
    assert trtmodel(serving={field: OLD[field]}).spec != trtmodel().spec
    assert trtmodel(serving={field: OLD[field], "pods": {}}, pods={}).spec == trtmodel(serving={field: OLD[field]}).spec


def test_the_domain_knows_one_form() -> None:
    """What is read from the old form alone must not be there to be read past it."""
    assert set(TRTModelSpecAsWritten.model_fields) - set(TRTModelSpec.model_fields) == {"pods"}
    moved = {"node_selector", "pod_labels", "pod_annotations", "runtime", "tolerations", "affinity"}
    moved |= {"priority_class_name", "service_account_name"}
    assert set(ServingAsWritten.model_fields) - set(Serving.model_fields) == moved
    spec = trtmodel(**NEW).spec
    assert type(spec) is TRTModelSpec
    assert type(spec.serving) is Serving


def test_what_all_pods_have_is_said_once_and_what_only_some_have_apart() -> None:
    model = trtmodel(
        pods={
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [TOLERATION],
            "runtimeClassName": "nvidia",
            "serviceAccountName": "models",
            "labels": {"team": "vision", "tier": "any"},
            "annotations": {"note": "x"},
            "imagePullSecrets": [{"name": "registry"}],
        },
        conversion={"pods": {"serviceAccountName": "reads-models", "labels": {"tier": "batch"}}},
        serving={"pods": {"nodeSelector": {"zone": "a"}, "tolerations": [], "priorityClassName": "high"}},
    )
    found = templates(model)
    for name in ("conversion", "server", "cleanup"):
        pod, metadata = found[name]["spec"], found[name]["metadata"]
        assert pod["nodeSelector"]["pool"] == "gpu"
        assert pod["runtimeClassName"] == "nvidia"
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert metadata["labels"]["team"] == "vision"
        assert metadata["annotations"]["note"] == "x"
    conversion, server = found["conversion"]["spec"], found["server"]["spec"]
    assert (conversion["serviceAccountName"], server["serviceAccountName"]) == ("reads-models", "models")
    assert [found[name]["metadata"]["labels"]["tier"] for name in ("conversion", "server")] == ["batch", "any"]
    assert ("zone" in conversion["nodeSelector"], server["nodeSelector"]["zone"]) == (False, "a")
    assert TOLERATION in conversion["tolerations"]
    assert TOLERATION not in server["tolerations"], "a list replaces the common one, and may be empty"
    assert ("priorityClassName" in conversion, server["priorityClassName"]) == (False, "high")


def test_an_empty_name_takes_the_common_one_away() -> None:
    model = trtmodel(pods={"serviceAccountName": "models"}, serving={"pods": {"serviceAccountName": ""}})
    found = templates(model)
    assert found["conversion"]["spec"]["serviceAccountName"] == "models"
    assert "serviceAccountName" not in found["server"]["spec"]


def test_settings_over_none_are_themselves() -> None:
    mine = Pods(labels={"a": "b"}, tolerations=())
    assert mine.over(Pods()) == mine
    assert Pods().over(mine) == mine
