from dataclasses import replace
from typing import Any

import pytest

from tftrt_operator.domain.fingerprint import EngineInputs, canonical_form, engine_inputs, fingerprint
from tftrt_operator.domain.record import parse_record, record_text
from tftrt_operator.domain.why_convert import changes

from .builders import CPU, TRITON, engine_record, trtmodel

BASE = EngineInputs(source_uri="pvc://models/resnet50", tensorflow="2.14.1", tensorrt="8.5.3.1")


def graph(tensor: str, answer: str) -> dict[str, Any]:
    return {"uri": "pvc://models/graph.pb", "format": "FrozenGraph", "inputs": [tensor], "outputs": [answer]}


def test_a_fingerprint_never_changes_for_the_same_inputs() -> None:
    """Golden: these strings are in stores, records and Job names of users. They may only ever be added to."""
    assert canonical_form(BASE) == (
        '{"source_uri":"pvc://models/resnet50","tensorflow":"2.14.1","tensorrt":"8.5.3.1","version":1}'
    )
    assert fingerprint(BASE) == "3cb5b484dbd49111d70919dfc65c5a53"
    full = replace(
        BASE,
        source_revision="3",
        signature="predict",
        precision="FP16",
        max_workspace_size=4_000_000_000,
        batch_sizes=(1, 8, 32),
        gpu_product="NVIDIA-A10",
        gpu_resource_name="nvidia.com/mig-1g.10gb",
    )
    assert fingerprint(full) == "262dc275455f2f5f12708f37da3dbb35"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"conversion": {"maxWorkspaceSize": "4G"}}, {"conversion": {"maxWorkspaceSize": 4000000000}}),
        ({"conversion": {"maxBatchSize": 8}}, {"conversion": {"maxBatchSize": 8, "batchSizes": [8, 1]}}),
        ({"source": {"uri": "pvc://models/resnet50/"}}, {"source": {"uri": "pvc://models//resnet50"}}),
        ({}, {"conversion": {"precision": "FP32", "maxWorkspaceSize": "1Gi"}}),
        ({}, {"serving": {"replicas": 4}, "gpu": {"memory": "12G"}, "rollout": {"strategy": "InPlace"}}),
        (
            {},
            {"source": {"uri": "pvc://models/resnet50", "secretName": ""}, "verification": {"dataUri": "s3://data/x"}},
        ),
        ({}, {"conversion": {"retries": 9, "deadlineSeconds": 60, "resources": {"limits": {"cpu": "1"}}}}),
        ({"source": graph("net/x:0", "y:0")}, {"source": graph("net/x", "y")}),
    ],
)
def test_what_means_the_same_engine_has_the_same_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = engine_inputs(trtmodel(**one).spec, TRITON), engine_inputs(trtmodel(**other).spec, TRITON)
    assert fingerprint(first) == fingerprint(second)


def test_int8_by_the_graphs_own_ranges_is_another_engine_than_by_data() -> None:
    without = {"conversion": {"precision": "INT8"}}
    by_data = {"conversion": {"precision": "INT8", "calibration": {"uri": "s3://data/calibration"}}}
    assert changes(engine_inputs(trtmodel(**by_data).spec, TRITON), engine_inputs(trtmodel(**without).spec, TRITON))


def test_the_runtime_is_part_of_an_engine() -> None:
    spec = trtmodel().spec
    assert fingerprint(engine_inputs(spec, CPU)) != fingerprint(engine_inputs(spec, TRITON))


def test_a_record_gives_back_the_inputs_that_it_was_written_with() -> None:
    model = trtmodel(
        source={"uri": "s3://models/graph.pb", "format": "FrozenGraph", "inputs": ["a:0"], "outputs": ["b:0"]},
        conversion={
            "precision": "INT8",
            "inputShapes": {"a": {"min": [2, 3], "opt": [2, 3], "max": [2, 3]}},
            "calibration": {"uri": "s3://data/calibration"},
        },
        verification={"dataUri": "s3://data/held-out"},
    )
    record = engine_record(model)
    assert parse_record(record_text(record)) == record
