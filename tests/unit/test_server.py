"""An operator upgrade with an unchanged runtime must not restart anybody's servers."""

import json
from pathlib import Path
from typing import Any

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.manifests import names
from tftrt_operator.domain.manifests.deployment import (
    TERMINATION_GRACE_SECONDS,
    deployment,
    shared_memory_bytes,
)
from tftrt_operator.domain.memory import MemoryGrant, memory_grant

from .builders import engine_record, target, trtmodel

GOLDEN = Path(__file__).with_name("golden_pod_templates.json")


MODELS = {
    "plain": trtmodel(runtime="cpu"),
    "on a GPU": trtmodel(),
    "full": trtmodel(
        conversion={"precision": "FP16", "maxWorkspaceSize": "4G", "maxBatchSize": 32, "batchSizes": [1, 8, 32]},
        gpu={"memory": "12G", "product": "NVIDIA-A10"},
        serving={
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "4Gi"}},
            "pods": {
                "nodeSelector": {"pool": "gpu"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "affinity": {"podAntiAffinity": {}},
                "priorityClassName": "high",
                "serviceAccountName": "models",
                "labels": {"team": "vision"},
                "annotations": {"example.com/note": "x"},
            },
        },
    ),
}


def template(model: TRTModel) -> dict[str, object]:
    wanted, record = target(model), engine_record(model)
    device = record.summary.device.memory_bytes
    grant = None if device is None else memory_grant(model.spec.gpu, wanted.inputs.max_workspace_size, device, None)
    assert grant is None or isinstance(grant, MemoryGrant)
    found: dict[str, object] = deployment(model, wanted.runtime, record, grant, 1).body["spec"]["template"]
    return found


def test_the_servers_pod_template_stays_as_it_is() -> None:
    """Golden: a change of this file restarts every server of every user. It needs a good reason, and a decision."""
    assert {name: template(model) for name, model in MODELS.items()} == json.loads(GOLDEN.read_text())


def test_the_pod_template_tells_its_pods_from_those_of_another_one_of_the_same_engine() -> None:
    def marks(**spec: Any) -> tuple[str, str]:
        metadata = template(trtmodel(**spec))["metadata"]
        assert isinstance(metadata, dict)
        return metadata["labels"][names.FINGERPRINT], metadata["annotations"][names.TEMPLATE]

    (engine, plain), (same_engine, roomy) = marks(), marks(gpu={"memoryFraction": "0.8"})
    assert engine == same_engine
    assert plain != roomy
    assert marks() == (engine, plain), "the same template is the same"
    assert marks(serving={"replicas": 3}) == (engine, plain), "replicas are not of the template"


def test_shared_memory_holds_the_batches_in_flight_and_the_holes_between_them() -> None:
    record = engine_record(trtmodel(conversion={"maxBatchSize": 128}))
    sample = (224 * 224 * 3 + 1000) * 4
    assert 6 * 128 * sample <= shared_memory_bytes(record) < 6 * 128 * sample + 2**20
    assert shared_memory_bytes(engine_record(trtmodel())) == 64 * 2**20


def test_what_lies_in_shared_memory_is_counted_in_the_pods_memory() -> None:
    model = trtmodel(serving={"resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}}})
    pod = template(model)["spec"]
    assert isinstance(pod, dict)
    assert pod["containers"][0]["resources"]["limits"]["memory"] == str(2**30 + 64 * 2**20)


def test_the_longest_call_ends_before_the_pod_is_killed() -> None:
    """The server's own numbers: tftrt_runtime/serve/limits.py."""
    text = (Path(__file__).parents[2] / "converter_image" / "tftrt_runtime" / "serve" / "limits.py").read_text()
    limits: dict[str, int] = {}
    exec(text, limits)  # plain constants of the other distribution, which is not installed here
    drain = limits["LEAST_SECONDS"] + limits["CALL_SECONDS"] + limits["ENDED_SECONDS"]
    end = limits["ENDED_SECONDS"] + limits["EXIT_TIMEOUT_SECONDS"] + limits["KILL_SECONDS"]
    assert drain + end < TERMINATION_GRACE_SECONDS <= drain + end + 10


def test_user_labels_cannot_shadow_what_the_deployment_selects_by() -> None:
    model = trtmodel(serving={"pods": {"labels": {"app.kubernetes.io/instance": "other"}}})
    metadata = template(model)["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["labels"]["app.kubernetes.io/instance"] == "resnet50"
