"""A wrong manifest is refused at `kubectl apply`, in words that a person can act on."""

from typing import Any

import pytest

from tests.support.api import Api, Refused
from tests.support.trtmodels import trtmodel

REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"source": {}}, "spec.source.uri: Required value"),
    ({"source": {"uri": "file:///models/resnet50"}}, "must be pvc://claim/path"),
    ({"source": {"uri": "s3://models/resnet50"}}, "must be pvc://claim/path"),
    ({"source": {"uri": "pvc://models/../secrets"}}, "must not contain '..'"),
    ({"source": {"uri": "pvc://models/a", "signature": ""}}, "should be at least 1 chars long"),
    ({"artifacts": {"uri": "pvc://"}}, "must be pvc://claim/path"),
    ({"artifacts": {"deletionPolicy": "Forget"}}, 'supported values: "Retain", "Delete"'),
    ({"conversion": {"precision": "FP8"}}, 'supported values: "FP32", "FP16"'),
    ({"conversion": {"maxWorkspaceSize": "4 GB"}}, "spec.conversion.maxWorkspaceSize"),
    ({"conversion": {"maxWorkspaceSize": "0"}}, "must be more than 0, for example 1Gi"),
    ({"conversion": {"maxBatchSize": 0}}, "should be greater than or equal to 1"),
    ({"conversion": {"maxBatchSize": 32, "batchSizes": [1, 8]}}, "batchSizes must contain maxBatchSize"),
    (
        {"conversion": {"maxBatchSize": 8, "batchSizes": [8, 32]}},
        "no entry of batchSizes may be larger than maxBatchSize",
    ),
    ({"conversion": {"maxBatchSize": 8, "batchSizes": [8, 8]}}, "Duplicate value: 8"),
    ({"conversion": {"retries": -1}}, "should be greater than or equal to 0"),
    ({"conversion": {"deadlineSeconds": 1}}, "should be greater than or equal to 60"),
    ({"conversion": {"queue": "A b"}}, "spec.conversion.queue"),
    ({"conversion": {"resources": {"limits": {"memory": "lots"}}}}, "spec.conversion.resources.limits.memory"),
    ({"gpu": {"resourceName": "gpu"}}, "spec.gpu.resourceName"),
    ({"gpu": {"memory": "0"}}, "must be more than 0, for example 12G"),
    ({"gpu": {"memoryFraction": "1.5"}}, "must be a decimal above 0 and at most 1, in quotes"),
    ({"gpu": {"memoryFraction": "0"}}, "must be a decimal above 0 and at most 1, in quotes"),
    ({"gpu": {"memoryFraction": "half"}}, "must be a decimal above 0 and at most 1, in quotes"),
    ({"gpu": {"memoryFraction": 0.5}}, "must be of type string"),
    (
        {"gpu": {"memory": "4G"}, "conversion": {"maxWorkspaceSize": "4G"}},
        "gpu.memory must be larger than conversion.maxWorkspaceSize",
    ),
    ({"gpu": {"memory": "1G"}}, "gpu.memory must be larger than conversion.maxWorkspaceSize"),
    ({"gpu": {"memoryPolicy": "Guess"}}, 'supported values: "ReserveWorkspace", "Measured"'),
    ({"conversion": {"minimumSegmentSize": 0}}, "should be greater than or equal to 1"),
    ({"verification": {"minTop1Agreement": "99"}}, "must be a decimal from 0 to 1, in quotes"),
    ({"verification": {"minTop1Agreement": 0.99}}, "must be of type string"),
    ({"verification": {"maxRelativeError": "-1"}}, "must be a decimal of at least 0, in quotes"),
    ({"serving": {"replicas": -1}}, "should be greater than or equal to 0"),
    ({"serving": {"runtime": "Triton!"}}, "spec.serving.runtime"),
    ({"serving": {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}}, "minReplicas must not be larger"),
    ({"serving": {"autoscaling": {}}}, "spec.serving.autoscaling.maxReplicas: Required value"),
    ({"serving": {"podLabels": {"app.kubernetes.io/instance": "x"}}}, "the Deployment selects its pods by them"),
    ({"serving": {"podAnnotations": {"tftrt.dev/spec": "{}"}}}, "the server reads its task from there"),
    ({"serving": {"tolerations": [{"effect": "Never"}]}}, "supported values"),
    ({"rollout": {"strategy": "Recreate"}}, 'supported values: "Surge", "InPlace"'),
]


@pytest.mark.parametrize(("spec", "words"), REFUSALS)
def test_a_wrong_spec_is_refused_in_words(bare_api: Api, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        bare_api.create(trtmodel(**spec), "?dryRun=All")
    assert refused.value.status == 422
    assert words in refused.value.message


@pytest.mark.parametrize("name", ["m" * 41, "5net", "res.net"])
def test_a_name_that_children_could_not_be_named_after_is_refused(bare_api: Api, name: str) -> None:
    with pytest.raises(Refused, match=r"metadata\.name must be at most 40 characters"):
        bare_api.create(trtmodel(name), "?dryRun=All")


@pytest.mark.parametrize(
    "spec",
    [
        {"conversion": {"maxWorkspaceSize": 4_000_000_000}, "gpu": {"memory": 12_000_000_000}},
        {"gpu": {"memory": "1G", "memoryFraction": "0.05"}},
        {"conversion": {"maxBatchSize": 8, "batchSizes": [1, 8], "precision": "FP16"}},
        {"source": {"uri": "pvc://models"}},
        {"gpu": {"memory": "1G", "memoryPolicy": "Measured"}},
        {"verification": {"minTop1Agreement": "0.99", "maxRelativeError": "1e-3"}},
        {
            "serving": {
                "affinity": {"nodeAffinity": {}},
                "autoscaling": {"maxReplicas": 2, "metrics": [{"type": "Pods"}]},
            }
        },
    ],
)
def test_a_right_spec_is_accepted(bare_api: Api, spec: dict[str, Any]) -> None:
    bare_api.create(trtmodel(**spec), "?dryRun=All")


def test_a_new_model_is_ready_unknown_until_the_operator_has_spoken(bare_api: Api) -> None:
    created = bare_api.create(trtmodel(), "?dryRun=All")
    (condition,) = created["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Ready", "Unknown", "Pending")


def test_a_model_can_be_scaled_like_a_deployment(bare_api: Api) -> None:
    bare_api.create(trtmodel(serving={"runtime": "none"}))
    scale = bare_api.request("GET", bare_api.path("TRTModel", "resnet50") + "/scale")
    assert scale["spec"]["replicas"] == 1
    bare_api.patch("TRTModel", "resnet50", {"spec": {"replicas": 3}}, "/scale")
    assert bare_api.get("TRTModel", "resnet50")["spec"]["serving"]["replicas"] == 3
