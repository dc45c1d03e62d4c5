"""What is wrong is said in words, once; and a corrected spec recovers without deleting anything."""

import subprocess

import pytest

from tests.support.trtmodels import conditions, message, trtmodel
from tests.support.waiting import eventually

from .conftest import Workspace
from .test_served_model import is_serving

MISTAKES = [
    ({"uri": "pvc://models/absent"}, "SourceNotFound", "pvc://models/absent"),
    ({"uri": "pvc://models/text"}, "NotAModel", "saved_model.pb"),
    ({"uri": "pvc://models/tiny", "signature": "predict"}, "SignatureNotFound", "serving_default"),
]


@pytest.mark.parametrize(("source", "reason", "words"), MISTAKES)
def test_a_wrong_source_stalls_once_and_a_corrected_spec_recovers(
    workspace: Workspace, source: dict[str, str], reason: str, words: str
) -> None:
    api = workspace.api
    api.create(trtmodel("tiny", source=source))
    eventually(lambda: conditions(api, "tiny")["Stalled"] == ("True", reason), seconds=120)
    assert words in message(api, "Stalled", "tiny")
    pods = api.list("Pod", "app.kubernetes.io/component=conversion")
    assert len(pods) == 1, "the user's mistake is not tried again"
    # An Event is written after the status that it goes with.
    eventually(lambda: [event["type"] for event in api.list("Event") if event["reason"] == reason] == ["Warning"])

    api.patch("TRTModel", "tiny", {"spec": {"source": {"uri": "pvc://models/tiny", "signature": "serving_default"}}})
    eventually(lambda: conditions(api, "tiny")["Ready"] == ("True", "Serving"), seconds=180)
    assert is_serving(api, "tiny")


def test_a_conversion_that_needs_more_memory_than_it_may_use_is_told_as_such_and_more_is_all_it_takes(
    workspace: Workspace,
) -> None:
    api = workspace.api
    little = {"retries": 0, "resources": {"limits": {"memory": "200Mi"}}}
    api.create(trtmodel("tiny", source={"uri": "pvc://models/tiny"}, conversion=little))
    eventually(lambda: conditions(api, "tiny")["Stalled"] == ("True", "OutOfMemory"), seconds=120)
    assert "spec.conversion.resources" in message(api, "Stalled", "tiny")

    api.patch("TRTModel", "tiny", {"spec": {"conversion": {"resources": {"limits": {"memory": "4Gi"}}}}})
    eventually(lambda: conditions(api, "tiny")["Ready"] == ("True", "Serving"), seconds=180)


def test_a_claim_that_does_not_exist_is_named(workspace: Workspace) -> None:
    api = workspace.api
    api.create(trtmodel("tiny", source={"uri": "pvc://nowhere/tiny"}))
    eventually(lambda: 'persistentvolumeclaim "nowhere" not found' in message(api, "Reconciling", "tiny"))
    assert conditions(api, "tiny")["Ready"] == ("False", "ConversionPending")


def test_a_wrong_manifest_is_refused_by_kubectl_apply_in_words(workspace: Workspace) -> None:
    manifest = """
apiVersion: tftrt.dev/v1alpha1
kind: TRTModel
metadata: {name: tiny}
spec:
  source: {uri: "file:///models/tiny"}
"""
    with pytest.raises(subprocess.CalledProcessError) as refused:
        workspace.kubectl("apply", "-f", "-", stdin=manifest)
    assert (
        "must be one of pvc://claim/path (a PersistentVolumeClaim in the TRTModel's namespace)" in refused.value.stderr
    )


def test_without_a_gpu_a_tensorrt_conversion_ends_with_a_sentence(workspace: Workspace) -> None:
    """The node claims a device that is not there: the container finds none."""
    api = workspace.api
    api.create(
        trtmodel(
            "tiny",
            source={"uri": "pvc://models/tiny"},
            runtime="triton",
            conversion={"precision": "FP16"},
        )
    )
    eventually(lambda: conditions(api, "tiny")["Stalled"] == ("True", "GPUUnfit"), seconds=120)
    assert "GPU" in message(api, "Stalled", "tiny")
