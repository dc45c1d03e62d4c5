"""The owner of a claim says by a label what TRTModels may do with it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.controller.parse import parse_claim
from tftrt_operator.domain.observation import ClaimAccess, Observation, ObservedClaim
from tftrt_operator.domain.plan import Plan, plan
from tftrt_operator.domain.stages.deletion import FINALIZER

from .builders import CATALOGUE, job, observed_record, pod, trtmodel

NOW = datetime(2026, 1, 1, tzinfo=UTC)
APART = trtmodel(source={"uri": "pvc://models/resnet50"}, artifacts={"uri": "pvc://store/tftrt"})


def planned(model: TRTModel, observation: Observation | None = None, **claims: ClaimAccess) -> Plan:
    labelled = tuple(ObservedClaim(name, access) for name, access in claims.items())
    return plan(model, CATALOGUE, replace(observation or Observation(), claims=labelled), NOW)


def standing(made: Plan) -> tuple[str, str]:
    assert made.status is not None
    (found,) = [condition for condition in made.status.conditions if condition.type == "Ready"]
    return found.reason, found.message


def test_a_claim_without_the_label_may_be_read_and_written() -> None:
    assert [manifest.kind for manifest in planned(APART).writes.creates] == ["Job"]


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({"models": ClaimAccess.READ_ONLY}, True),
        ({"models": ClaimAccess.NONE}, False),
        ({"store": ClaimAccess.READ_WRITE}, True),
        ({"store": ClaimAccess.READ_ONLY}, False),
        ({"unasked": ClaimAccess.NONE}, True),
    ],
)
def test_no_job_mounts_a_claim_in_a_way_that_its_label_does_not_allow(
    claims: dict[str, ClaimAccess], allowed: bool
) -> None:
    made = planned(APART, None, **claims)
    assert bool(made.writes.creates) == allowed
    reason, message = standing(made)
    assert (reason != "ClaimForbidden") == allowed
    if not allowed:
        ((name, access),) = claims.items()
        assert f"PersistentVolumeClaim {name}" in message
        assert f"says {access}" in message
        assert f"tftrt.dev/access={'ReadWrite' if name == 'store' else 'ReadOnly'}" in message


def test_data_for_calibration_and_verification_is_read_too() -> None:
    for spec in (
        {"verification": {"dataUri": "pvc://data/held-out.npz"}},
        {"conversion": {"precision": "INT8", "calibration": {"uri": "pvc://data/calibration"}}},
    ):
        assert standing(planned(trtmodel(**spec), data=ClaimAccess.NONE))[0] == "ClaimForbidden"


def test_a_server_reads_its_artifact_and_does_not_need_the_source_any_more() -> None:
    converted = Observation(records=(observed_record(APART),))
    read_only = planned(APART, converted, store=ClaimAccess.READ_ONLY, models=ClaimAccess.NONE)
    assert "Deployment" in [manifest.kind for manifest in read_only.writes.applies]
    forbidden = planned(APART, converted, store=ClaimAccess.NONE)
    assert not forbidden.writes.applies
    assert standing(forbidden)[0] == "ClaimForbidden"


def test_artifacts_stay_in_a_claim_that_may_not_be_written_and_the_model_goes() -> None:
    model = trtmodel(
        metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]},
        artifacts={"uri": "pvc://store/tftrt", "deletionPolicy": "Delete"},
    )
    converted = Observation(records=(observed_record(model),))
    assert [manifest.kind for manifest in planned(model, converted).writes.creates] == ["Job"]
    made = planned(model, converted, store=ClaimAccess.READ_ONLY)
    assert not made.writes.creates
    assert [patch.body["metadata"]["finalizers"] for patch in made.writes.patches] == [[]]
    assert made.events[0].reason == "ArtifactsLeft"
    assert "PersistentVolumeClaim store" in made.events[0].message


@pytest.mark.parametrize(("label", "access"), [("ReadOnly", "ReadOnly"), ("readonly", "None"), ("", "None")])
def test_a_label_with_a_value_that_is_none_of_ours_allows_nothing(label: str, access: str) -> None:
    body = {"metadata": {"name": "models", "labels": {"tftrt.dev/access": label}}}
    assert parse_claim(body) == ObservedClaim("models", ClaimAccess(access))


def test_a_claim_that_only_a_record_names_is_not_written_to_unless_its_owner_says_so() -> None:
    then = trtmodel(artifacts={"uri": "pvc://payroll-db/tftrt", "deletionPolicy": "Delete"})
    now = trtmodel(
        metadata={"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]},
        artifacts={"uri": "pvc://store/tftrt", "deletionPolicy": "Delete"},
    )
    recorded = Observation(records=(observed_record(then),))
    made = planned(now, recorded)
    assert not made.writes.creates
    assert "PersistentVolumeClaim payroll-db would be written, but it has no label" in made.events[0].message
    allowed = plan(
        now, CATALOGUE, replace(recorded, claims=(ObservedClaim("payroll-db", ClaimAccess.READ_WRITE),)), NOW
    )
    assert [manifest.kind for manifest in allowed.writes.creates] == ["Job"]


@pytest.mark.parametrize("started", [False, True])
def test_a_run_that_has_not_begun_is_taken_back_and_one_that_has_goes_on(started: bool) -> None:
    (made,) = planned(APART).writes.creates
    run = job(APART, made.name)
    found = Observation(jobs=(run,), pods=(pod(run.name, started=started),))
    refused = planned(APART, found, models=ClaimAccess.NONE)
    assert standing(refused)[0] == "ClaimForbidden"
    assert [gone.name for gone in refused.writes.deletes] == ([] if started else [run.name])
