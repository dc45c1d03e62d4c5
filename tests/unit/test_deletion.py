"""A deleted model's artifacts, where its deletionPolicy is Delete."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tftrt_operator.api.trtmodel import TRTModel
from tftrt_operator.domain.manifests import names
from tftrt_operator.domain.manifests.cleanup_job import Store, cleanup_job_name
from tftrt_operator.domain.observation import JobState, Observation, ObservedJob, Reference, Rejection
from tftrt_operator.domain.plan import Plan, plan
from tftrt_operator.domain.record import EngineKey
from tftrt_operator.domain.stages.deletion import FINALIZER
from tftrt_operator.domain.step import Writes

from .builders import CATALOGUE, job, observed_record, pod, target, trtmodel

DELETED_AT = datetime(2026, 1, 1, tzinfo=UTC)
DELETE: dict[str, Any] = {"artifacts": {"deletionPolicy": "Delete"}}


def deleted(**spec: Any) -> TRTModel:
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER, "other/finalizer"]}
    return trtmodel(metadata=metadata, **(spec or DELETE))


def planned(model: TRTModel, observation: Observation, after: timedelta = timedelta(seconds=1)) -> Plan:
    return plan(model, CATALOGUE, observation, DELETED_AT + after)


def finalizers_after(made: Plan) -> list[str] | None:
    for patch in made.writes.patches:
        if "finalizers" in patch.body.get("metadata", {}):
            return list(patch.body["metadata"]["finalizers"])
    return None


def test_the_finalizer_is_there_before_the_first_job() -> None:
    made = planned(trtmodel(**DELETE), Observation())
    assert finalizers_after(made) == [FINALIZER]
    assert [manifest.kind for manifest in made.writes.creates] == ["Job"], "patches are written before creates"


def test_a_model_that_retains_its_artifacts_has_no_finalizer() -> None:
    assert finalizers_after(planned(trtmodel(), Observation())) is None
    turned = trtmodel(metadata={"finalizers": [FINALIZER]})
    assert finalizers_after(planned(turned, Observation())) == []


def test_deletion_starts_a_job_without_owner_that_goes_by_itself() -> None:
    model = deleted()
    made = planned(model, Observation(records=(observed_record(model),)))
    (cleanup,) = made.writes.creates
    assert "ownerReferences" not in cleanup.body["metadata"]
    assert cleanup.body["spec"]["ttlSecondsAfterFinished"] > 0
    assert (
        target(model).key.fingerprint
        in cleanup.body["spec"]["template"]["metadata"]["annotations"][names.SPEC_ANNOTATION]
    )
    assert finalizers_after(made) is None


def test_once_the_artifacts_are_gone_the_model_goes_and_other_finalizers_stay() -> None:
    model = deleted()
    name = cleanup_job_name(model, Store(target(model).key.store), [target(model).key.fingerprint])
    done = job(model, name, JobState.SUCCEEDED, component=names.CLEANUP, owners=())
    record = observed_record(model)
    made = planned(model, Observation(records=(record,), jobs=(done,)))
    assert finalizers_after(made) == ["other/finalizer"]
    assert [(reference.kind, reference.name) for reference in made.writes.deletes] == [("ConfigMap", record.name)]


def test_what_another_model_is_having_made_is_not_deleted() -> None:
    model, twin = deleted(), trtmodel("twin", uid="uid-twin", verification={"dataUri": "s3://data/held-out"})
    making = job(twin, "twin-1234-5678")
    shared = Observation(records=(observed_record(model),), jobs=(making,), live_models=frozenset({"uid-twin"}))
    assert planned(model, shared).writes.creates == ()
    assert finalizers_after(planned(model, shared)) == ["other/finalizer"]


def cleanup(state: JobState) -> ObservedJob:
    """The Job that deletes the engine of `trtmodel()` with another TRTModel that had it."""
    model = trtmodel("gone", uid="uid-gone")
    engine = target(model).key.engine
    return job(
        model,
        "gone-cleanup-12345678",
        state,
        engine="",
        evidence="",
        component=names.CLEANUP,
        owners=(),
        deletes=(engine,),
        created_at="2026-01-01T00:00:10Z",
    )


def test_an_engine_that_is_being_deleted_is_neither_used_nor_made() -> None:
    model = trtmodel()
    old = replace(observed_record(model), created_at="2025-12-31T00:00:00Z")
    for records in ((), (old,)):
        made = planned(model, Observation(records=records, jobs=(cleanup(JobState.LIVE),)))
        assert made.writes == Writes()
        assert made.status is not None
        assert made.status.conditions[0].reason == "ConversionPending"


def test_a_record_of_an_engine_that_was_deleted_goes_and_a_newer_one_is_used() -> None:
    model = trtmodel()
    for end in (JobState.SUCCEEDED, JobState.FAILED):
        old = replace(observed_record(model), created_at="2025-12-31T00:00:00Z")
        made = planned(model, Observation(records=(old,), jobs=(cleanup(end),)))
        assert [(reference.kind, reference.name) for reference in made.writes.deletes] == [("ConfigMap", old.name)]
        assert made.writes.applies == ()
        new = replace(old, created_at="2026-01-01T00:05:00Z")
        made = planned(model, Observation(records=(new,), jobs=(cleanup(end),)))
        assert "Deployment" in {manifest.kind for manifest in made.writes.applies}


def test_a_run_that_made_what_was_deleted_is_no_evidence_of_it_any_more() -> None:
    model, gone = trtmodel(), trtmodel("gone", uid="uid-gone")
    old = job(gone, "gone-1234-5678", JobState.SUCCEEDED, created_at="2025-12-31T00:00:00Z")
    made = planned(model, Observation(jobs=(old, cleanup(JobState.SUCCEEDED))))
    assert [reference.name for reference in made.writes.deletes] == [old.name]
    assert made.writes.creates == ()
    made = planned(model, Observation(jobs=(cleanup(JobState.SUCCEEDED),)))
    assert [manifest.kind for manifest in made.writes.creates] == ["Job"]


def test_what_another_living_model_uses_is_not_deleted() -> None:
    model, twin = deleted(), trtmodel("twin", uid="uid-twin")
    record = observed_record(model, model.owner_reference(controller=False), twin.owner_reference(controller=False))
    shared = Observation(records=(record,), live_models=frozenset({"uid-twin"}))
    assert planned(model, shared).writes.creates == ()
    assert finalizers_after(planned(model, shared)) == ["other/finalizer"]
    both_deleted = replace(shared, live_models=frozenset())
    assert [manifest.kind for manifest in planned(model, both_deleted).writes.creates] == ["Job"]


def conversion(model: TRTModel, state: JobState, **changes: Any) -> ObservedJob:
    """A run that published to a store which the spec does not name any more."""
    wanted: dict[str, Any] = {
        "store": "s3://old-bucket/tftrt",
        "secret_name": "old-keys",
        "started_at": "2025-12-31T23:00:00Z",
    }
    wanted |= changes
    wanted["engine"] = EngineKey(target(model).key.fingerprint, wanted["store"]).engine
    return job(model, "resnet50-1234-5678", state, **wanted)


def test_a_running_conversion_ends_before_its_artifact_is_deleted_and_its_job_stays_to_say_where_it_is() -> None:
    model = deleted()
    made = planned(model, Observation(jobs=(conversion(model, JobState.LIVE),)))
    assert [patch.body for patch in made.writes.patches] == [{"spec": {"activeDeadlineSeconds": 1}}]
    assert (made.writes.creates, made.writes.deletes) == ((), ())
    told = Observation(jobs=(conversion(model, JobState.LIVE, has_deadline=True),))
    assert planned(model, told).writes == Writes()
    still_ends = Observation(
        jobs=(conversion(model, JobState.FAILED),), pods=(pod("resnet50-1234-5678", phase="Running"),)
    )
    assert planned(model, still_ends).writes == Writes()


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.SUCCEEDED])
def test_what_was_published_and_not_recorded_is_deleted_from_its_own_store_with_its_own_secret(state: JobState) -> None:
    model = deleted()
    published = pod("resnet50-1234-5678", phase="Failed", publishing=True)
    for pods in ((published,), ()):  # where its pods are gone, nobody can say how far it came
        made = planned(model, Observation(jobs=(conversion(model, state),), pods=pods))
        (cleanup,) = made.writes.creates
        text = str(cleanup.body["spec"]["template"])
        assert "s3://old-bucket/tftrt" in text
        assert "old-keys" in text
        assert finalizers_after(made) is None


def test_a_conversion_that_wrote_nothing_needs_no_job_to_delete_it() -> None:
    model = deleted()
    failed = pod("resnet50-1234-5678", phase="Failed")
    observation = Observation(jobs=(conversion(model, JobState.FAILED),), pods=(failed,))
    for nothing in (
        observation,
        Observation(jobs=(conversion(model, JobState.LIVE, suspended=True, started_at=None),)),
    ):
        made = planned(model, nothing)
        assert made.writes.creates == ()
        assert finalizers_after(made) == ["other/finalizer"]
        assert [event.message for event in made.events] == ["there were none"]


def test_what_another_model_has_a_record_of_is_not_deleted_with_an_unrecorded_run() -> None:
    model, twin = deleted(), trtmodel("twin", uid="uid-twin")
    store = target(model).key.store
    run = conversion(model, JobState.FAILED, store=store)
    shared = Observation(jobs=(run,), records=(observed_record(twin),), live_models=frozenset({"uid-twin"}))
    assert planned(model, shared).writes.creates == ()
    assert finalizers_after(planned(model, shared)) == ["other/finalizer"]


def test_an_old_store_is_cleaned_with_the_secret_that_it_was_written_with() -> None:
    model = deleted(artifacts={"uri": "s3://new-bucket/tftrt", "secretName": "new-keys", "deletionPolicy": "Delete"})
    before = trtmodel(artifacts={"uri": "s3://old-bucket/tftrt", "secretName": "old-keys"})
    kept = observed_record(before)
    for secret, expected in (("old-keys", "old-keys"), (None, "new-keys")):  # a record of before has none
        record = replace(kept, record=replace(kept.record, secret_name=secret))
        (cleanup,) = planned(model, Observation(records=(record,))).writes.creates
        assert f"'{expected}'" in str(cleanup.body["spec"]["template"]["spec"]["volumes"])


def test_the_store_of_now_is_cleaned_with_the_secret_of_now_which_may_have_been_rotated() -> None:
    model = deleted(artifacts={"uri": "s3://bucket/tftrt", "secretName": "new-keys", "deletionPolicy": "Delete"})
    kept = observed_record(model)
    record = replace(kept, record=replace(kept.record, secret_name="old-keys"))
    (cleanup,) = planned(model, Observation(records=(record,))).writes.creates
    assert "'new-keys'" in str(cleanup.body["spec"]["template"]["spec"]["volumes"])


def test_where_the_pod_of_an_attempt_is_gone_nobody_can_say_that_it_wrote_nothing() -> None:
    model = deleted()
    first = pod("resnet50-1234-5678", phase="Failed")
    run = conversion(model, JobState.FAILED, failed_attempts=2)
    (cleanup,) = planned(model, Observation(jobs=(run,), pods=(first,))).writes.creates
    assert "s3://old-bucket/tftrt" in str(cleanup.body["spec"]["template"])


def test_a_job_that_deleted_less_than_is_to_go_is_not_taken_for_one_that_deleted_all() -> None:
    """Another model that used the second engine was deleted meanwhile."""
    model = deleted()
    other = trtmodel(conversion={"maxBatchSize": 4})
    store, fingerprint = target(model).key.store, target(model).key.fingerprint
    done = job(
        model,
        cleanup_job_name(model, Store(store), [fingerprint]),
        JobState.SUCCEEDED,
        component=names.CLEANUP,
        owners=(),
    )
    made = planned(model, Observation(records=(observed_record(model), observed_record(other)), jobs=(done,)))
    (cleanup,) = made.writes.creates
    assert cleanup.name != done.name
    assert finalizers_after(made) is None


def test_nothing_hangs_for_ever() -> None:
    model = deleted()
    record = Observation(records=(observed_record(model),))
    name = cleanup_job_name(model, Store(target(model).key.store), [target(model).key.fingerprint])
    failed = job(model, name, JobState.FAILED, component=names.CLEANUP, owners=(), message="claim not found")
    for made in (
        planned(model, record, after=timedelta(minutes=11)),
        planned(model, replace(record, namespace_terminating=True)),
        planned(model, replace(record, jobs=(failed,))),
    ):
        assert finalizers_after(made) == ["other/finalizer"]
        assert [(event.warning, event.reason) for event in made.events] == [(True, "ArtifactsLeft")]


def test_an_artifact_that_another_model_verifies_on_other_data_is_not_deleted() -> None:
    model = deleted()
    twin = trtmodel("twin", uid="uid-twin", verification={"dataUri": "s3://data/held-out"})
    records = (observed_record(model), observed_record(twin))
    made = planned(model, Observation(records=records, live_models=frozenset({"uid-twin"})))
    assert made.writes.creates == ()
    assert finalizers_after(made) == ["other/finalizer"]


def test_a_model_that_goes_is_not_ready_and_says_what_it_waits_for() -> None:
    model = deleted()
    made = planned(model, Observation(records=(observed_record(model),)))
    assert made.status is not None
    told = {condition.type: (condition.status, condition.reason) for condition in made.status.conditions}
    assert told == {"Ready": ("False", "Deleting"), "Reconciling": ("True", "Deleting")}
    assert "deleting artifacts from" in made.status.conditions[0].message


def test_a_model_for_which_nothing_can_be_done_is_guarded_too() -> None:
    made = planned(trtmodel(**DELETE, runtime="unknown"), Observation())
    assert finalizers_after(made) == [FINALIZER]


def test_a_release_that_cannot_be_written_is_told_and_not_taken_for_done() -> None:
    model = deleted(artifacts={"deletionPolicy": "Retain"})
    failed = Rejection(Reference("TRTModel", "default", "resnet50"), "webhook is down", final=False, failed=True)
    made = planned(model, Observation(rejections=(failed,)))
    assert made.events == ()
    assert made.status is not None
    assert made.status.conditions[0].reason == "WriteFailed"
