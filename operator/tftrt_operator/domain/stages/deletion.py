"""The last stage: a deleted model's artifacts, where its deletionPolicy is Delete."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from ...api.artifacts import DeletionPolicy
from ...api.trtmodel import TRTModel
from ..claims import claims_of_cleanup, refusal
from ..fingerprint import normalized_uri
from ..manifests import names
from ..manifests.cleanup_job import Store, cleanup_job, cleanup_job_name
from ..observation import ClaimAccess, JobState, Observation, ObservedJob, Reference
from ..record import EngineKey
from ..runtime import Catalogue
from ..step import Patch, Step, Writes
from ..target import Target
from ..verdict import Verdict, reconciling
from ..words import quote
from .conversion import end_job, job_reference, pods_of, record_reference, sole_owner
from .jobs_network import held_for_network, jobs_network

FINALIZER = "tftrt.dev/artifacts"
PATIENCE = timedelta(minutes=10)
"""How long a deletion waits for the store. Then the artifacts stay, with a Warning: nothing hangs for ever."""


def guard(model: TRTModel) -> Writes:
    """Return the write that sets or removes the finalizer, as the policy asks. It comes before the first Job."""
    wanted = model.spec.artifacts.deletion_policy is DeletionPolicy.DELETE
    if wanted == (FINALIZER in model.metadata.finalizers):
        return Writes()
    kept = [name for name in model.metadata.finalizers if name != FINALIZER]
    return Writes(patches=(_set_finalizers(model, [*kept, FINALIZER] if wanted else kept),))


def deletes_artifacts(model: TRTModel) -> bool:
    """Return whether a model is being deleted whose artifacts go with it: who else uses them must be known then."""
    return (
        model.metadata.deletion_timestamp is not None
        and FINALIZER in model.metadata.finalizers
        and model.spec.artifacts.deletion_policy is DeletionPolicy.DELETE
    )


def delete(model: TRTModel, catalogue: Catalogue, observation: Observation, now: datetime) -> Step:
    """Return what a model being deleted still needs. Its children go with it by their owner references."""
    if FINALIZER not in model.metadata.finalizers:
        return Step(reconciling("Deleting", "the children go by garbage collection"))
    if model.spec.artifacts.deletion_policy is DeletionPolicy.RETAIN:
        return _release(model, reconciling("ArtifactsRetained", "deletionPolicy is Retain"))
    if observation.namespace_terminating:
        return _release(model, _left("the namespace is terminating, where no Job can be started"))
    if now - datetime.fromisoformat(str(model.metadata.deletion_timestamp)) > PATIENCE:
        return _release(model, _left(f"they were not deleted within {PATIENCE}"))
    runtime = catalogue.runtime(model.spec.runtime) or catalogue.runtime("")
    if runtime is None:
        return _release(model, _left("the operator's catalogue has no runtime to delete them with"))

    running = [job for job in _own_conversions(model, observation) if _is_running(job, observation)]
    if running:
        # They end and stay: a Job that is deleted takes along what it would say, where its artifact is.
        ends = tuple(end_job(model, job) for job in running if _must_be_told(job))
        return Step(
            reconciling("Deleting", "ending the conversion before its artifact is deleted"), Writes(patches=ends)
        )
    artifacts = _own_artifacts(model, catalogue, observation)
    for store in artifacts:
        # A record is a ConfigMap: that it names a claim which the spec does not is no leave to write there.
        named = store.uri == _store_of_now(model, catalogue)
        unlabelled = ClaimAccess.READ_WRITE if named else ClaimAccess.NONE
        if (refused := refusal(claims_of_cleanup(store.uri), observation, unlabelled)) is not None:
            return _release(model, _left(refused.message))
    deleted = {(store.uri, fingerprint) for store, prints in artifacts.items() for fingerprint in prints}
    jobs = {job.name: job for job in observation.jobs if job.component == names.CLEANUP}
    wanted = {cleanup_job_name(model, store, prints): (store, prints) for store, prints in artifacts.items()}
    # Whoever has come to use what tells of it must not take it for an engine that is there.
    told = [
        record_reference(model, observed)
        for observed in observation.records
        if (observed.record.key.store, observed.record.key.fingerprint) in deleted
    ]
    told += [job_reference(model, job) for job in _own_conversions(model, observation) if not job.deleting]
    void = Writes(deletes=tuple(told))
    for name in wanted:
        if name in jobs and jobs[name].state is JobState.FAILED:
            why = f"Job {name} failed: {quote(jobs[name].message or jobs[name].reason)}"
            return _release(model, _left(why), void)
    if all(name in jobs and jobs[name].state is JobState.SUCCEEDED for name in wanted):
        where = f"deleted from {_uris(artifacts)}" if artifacts else "there were none"
        return _release(model, reconciling("ArtifactsDeleted", where), void)
    creates = tuple(
        cleanup_job(model, runtime, store, prints) for name, (store, prints) in wanted.items() if name not in jobs
    )
    stores = sorted({store.uri for store in artifacts})
    network = jobs_network(model, stores, catalogue.network, observation, runs=True)
    verdict = reconciling("Deleting", f"deleting artifacts from {_uris(artifacts)}")
    step = held_for_network(model, Step(verdict, Writes(creates=creates)), observation)
    return replace(step, writes=network + step.writes)


def wait_for_deletion(model: TRTModel, target: Target, observation: Observation) -> Step | None:
    """Return what to do while the engine's artifact goes with a deleted TRTModel that had it, or None if none does."""
    cleanups = [job for job in observation.jobs if job.component == names.CLEANUP and target.key.engine in job.deletes]
    live = next((job for job in cleanups if job.state is JobState.LIVE), None)
    if live is not None:
        waits = f"Job {live.name} deletes this engine, which a deleted TRTModel had; it is made anew after that"
        return Step(reconciling("ConversionPending", waits))
    if not cleanups:
        return None
    records = [record for record in observation.records if record.record.key.engine == target.key.engine]
    runs = [job for job in observation.jobs if job.engine == target.key.engine and job.component == names.CONVERSION]
    # What was said of the engine before it was deleted, is not so any more.
    deleted_at = max(cleanup.created_at for cleanup in cleanups)
    void = [record_reference(model, record) for record in records if record.created_at <= deleted_at]
    void += [
        job_reference(model, job)
        for job in runs
        if job.state is not JobState.LIVE and not job.deleting and job.created_at <= deleted_at
    ]
    if not void:
        return None
    why = f"{', '.join(one.name for one in void)} tells of an engine that was deleted with another TRTModel"
    return Step(reconciling("ConversionPending", why), Writes(deletes=tuple(void)))


def _uris(stores: Iterable[Store]) -> str:
    return ", ".join(sorted({store.uri for store in stores}))


def _own_conversions(model: TRTModel, observation: Observation) -> list[ObservedJob]:
    return [job for job in observation.jobs if job.component == names.CONVERSION and sole_owner(model, job.owners)]


def _is_running(job: ObservedJob, observation: Observation) -> bool:
    """Return whether a Job may still write: not while it is suspended, and until its last pod has ended."""
    if any(pod.phase not in ("Succeeded", "Failed") for pod in pods_of(job, observation)):
        return True
    return job.state is JobState.LIVE and not job.suspended


def _must_be_told(job: ObservedJob) -> bool:
    return job.state is JobState.LIVE and not job.has_deadline and not job.deleting


def _may_have_published(job: ObservedJob, observation: Observation) -> bool:
    """Return whether there may be something of a Job in the store; where a pod of it is gone, nobody can say."""
    pods = pods_of(job, observation)
    attempts = job.failed_attempts + (job.state is JobState.SUCCEEDED)
    if any(pod.publishing for pod in pods):
        return True
    return job.started_at is not None and (not pods or len(pods) < attempts)


def _own_artifacts(model: TRTModel, catalogue: Catalogue, observation: Observation) -> dict[Store, list[str]]:
    """Return the fingerprints by store that no other living TRTModel uses, or is having made.

    Into the store that the spec names goes the Secret that it names, which may have changed since; into another the one
    that was used there. Records of before that was kept say nothing of it.
    """
    current = _store_of_now(model, catalogue)
    now = model.spec.artifacts.secret_name

    def at(store: str, secret: str | None) -> Store:
        return Store(store, now if secret is None or store == current else secret)

    stores: dict[EngineKey, Store] = {}
    for observed in observation.records:
        key = observed.record.key
        stores.setdefault(EngineKey(key.fingerprint, key.store), at(key.store, observed.record.secret_name))
    for job in _own_conversions(model, observation):
        # Published, and never recorded: the model was deleted before.
        if job.store and _may_have_published(job, observation):
            stores.setdefault(EngineKey(job.fingerprint, job.store), at(job.store, job.secret_name))
    found: dict[Store, list[str]] = {}
    for key, store in stores.items():
        uids = _users(key, observation)
        if model.metadata.uid in uids and not (uids - {model.metadata.uid}) & observation.live_models:
            found.setdefault(store, []).append(key.fingerprint)
    return found


def _store_of_now(model: TRTModel, catalogue: Catalogue) -> str:
    return normalized_uri(model.spec.artifacts.uri or catalogue.store or "")


def _users(key: EngineKey, observation: Observation) -> set[str]:
    """Return the UIDs of the TRTModels that have a record of an engine, or a Job that makes it."""
    owners = [observed.owners for observed in observation.records if observed.record.key.engine == key.engine]
    owners += [job.owners for job in observation.jobs if job.engine == key.engine and job.component == names.CONVERSION]
    return {owner.uid for each in owners for owner in each}


def _release(model: TRTModel, verdict: Verdict, then: Writes | None = None) -> Step:
    kept = [name for name in model.metadata.finalizers if name != FINALIZER]
    return Step(verdict, Writes(patches=(_set_finalizers(model, kept),)) + (then or Writes()))


def _left(why: str) -> Verdict:
    return reconciling("ArtifactsLeft", f"the artifacts stay in the store: {why}")


def _set_finalizers(model: TRTModel, finalizers: list[str]) -> Patch:
    reference = Reference("TRTModel", model.metadata.namespace, model.metadata.name, model.metadata.uid)
    return set_finalizers(reference, model.metadata.resource_version, finalizers)


def set_finalizers(reference: Reference, resource_version: str, finalizers: list[str]) -> Patch:
    """Return the write that leaves an object these finalizers, if nobody has written it since."""
    return Patch(reference, {"metadata": {"finalizers": finalizers, "resourceVersion": resource_version}})
