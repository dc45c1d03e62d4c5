"""A model that commit 645c5b7 (v0.1.0) has made Ready, and what this operator does with it.

`ready_model_of_0_1_0.json` was written by that commit's own code: the TRTModel with every field that has moved since,
its record, its children, and the name of the Job that made its engine.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tftrt_operator.api.written import parse_trtmodel
from tftrt_operator.controller.parse import parse_child, parse_config_map, parse_deployment
from tftrt_operator.domain.manifests.conversion_job import conversion_job_name
from tftrt_operator.domain.observation import Observation
from tftrt_operator.domain.plan import plan

from .builders import CATALOGUE, target
from .test_written import NEW

BEFORE: dict[str, Any] = json.loads(Path(__file__).with_name("ready_model_of_0_1_0.json").read_text())
MODEL = parse_trtmodel(BEFORE["model"])
MOVED: dict[str, Any] = {**NEW, "serving": {"replicas": 2, **NEW["serving"]}}


def live(body: dict[str, Any]) -> dict[str, Any]:
    """The object as the API server has it."""
    given = {"uid": f"uid-{body['kind']}", "resourceVersion": "9", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return body | {"metadata": body["metadata"] | given}


def observation() -> Observation:
    children = [live(body) for body in BEFORE["children"]]
    (server,) = [body for body in children if body["kind"] == "Deployment"]
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 2)
    rolled_out = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    return Observation(
        records=(parse_config_map(live(BEFORE["record"])),),
        children=tuple(parse_child(body) for body in children),
        deployment=parse_deployment(server | {"status": counts | {"conditions": [rolled_out]}}),
    )


def test_a_ready_model_is_upgraded_without_a_job() -> None:
    made = plan(MODEL, CATALOGUE, observation(), datetime(2026, 1, 1, tzinfo=UTC))
    assert made.writes.creates == ()
    assert made.writes.deletes == ()
    assert "Deployment" in {manifest.kind for manifest in made.writes.applies}, "its servers are rolled once"
    assert made.status is not None
    assert made.status.fingerprint == target(MODEL).key.fingerprint, "and serve on meanwhile"


def test_a_gate_of_speed_over_a_record_of_0_1_0_neither_converts_again_nor_passes_in_silence() -> None:
    """Its figure was of input on the device already."""
    record = json.loads(BEFORE["record"]["data"]["record.json"])
    medians = {"convertedP50Microseconds": 3900, "nativeP50Microseconds": 32000, "fp32P50Microseconds": 64000}
    record["summary"]["benchmark"] = medians | {"batchSize": 32, "speedup": "8.21", "fp32Speedup": "16.41"}
    text = BEFORE["record"] | {"data": {"record.json": json.dumps(record)}}
    gated = parse_trtmodel(BEFORE["model"] | {"spec": BEFORE["model"]["spec"] | {"verification": {"minSpeedup": "5"}}})
    before = replace(observation(), records=(parse_config_map(live(text)),))
    made = plan(gated, CATALOGUE, before, datetime(2026, 1, 1, tzinfo=UTC))
    assert made.writes.creates == ()
    assert made.writes.deletes == ()
    assert "Deployment" in {manifest.kind for manifest in made.writes.applies}, "what serves is upgraded as any other"
    assert made.status is not None
    told = {condition.type: (condition.status, condition.reason) for condition in made.status.conditions}
    assert told["Verified"] == ("Unknown", "SpeedupUnknown")
    assert "Stalled" not in told
    assert made.status.conversion is not None
    assert (made.status.conversion.speedup, made.status.conversion.speedup_on_device) == (None, "8.21")
    gone = plan(gated, CATALOGUE, replace(before, deployment=None, children=()), datetime(2026, 1, 1, tzinfo=UTC))
    assert gone.writes.creates == ()
    assert gone.status is not None
    told = {condition.type: (condition.status, condition.reason) for condition in gone.status.conditions}
    assert told["Stalled"] == ("True", "SpeedupUnknown")


def test_the_job_of_a_model_in_the_form_of_0_1_0_has_the_name_that_it_had() -> None:
    wanted = target(MODEL)
    assert conversion_job_name(MODEL, wanted.runtime, wanted.key) == BEFORE["job"]


def test_to_move_its_fields_changes_nothing() -> None:
    moved = parse_trtmodel(BEFORE["model"] | {"spec": BEFORE["model"]["spec"] | MOVED})
    assert moved.spec == MODEL.spec
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert plan(moved, CATALOGUE, observation(), now) == plan(MODEL, CATALOGUE, observation(), now)
