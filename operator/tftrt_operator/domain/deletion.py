"""The last stage: a deleted model's artifacts, where its deletionPolicy is Delete."""

from datetime import datetime, timedelta

from ..api.artifacts import DeletionPolicy
from ..api.trtmodel import TRTModel
from .conversion import sole_owner
from .manifests import names
from .manifests.cleanup_job import cleanup_job, cleanup_job_name
from .observation import JobState, Observation, ObservedRecord, Reference
from .runtime import Catalogue
from .step import Patch, Step, Writes
from .target import Target
from .verdict import Verdict, reconciling

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
    runtime = catalogue.runtime(model.spec.serving.runtime) or catalogue.runtime("")
    if runtime is None:
        return _release(model, _left("the operator's catalogue has no runtime to delete them with"))

    conversions = [
        job for job in observation.jobs if job.component == names.CONVERSION and sole_owner(model, job.owners)
    ]
    if conversions:
        references = (
            Reference("Job", model.metadata.namespace, job.name, job.uid) for job in conversions if not job.deleting
        )
        return Step(
            reconciling("Deleting", "ending the conversion before its artifact is deleted"),
            Writes(deletes=tuple(references)),
        )
    artifacts = _own_artifacts(model, observation)
    jobs = {job.name: job for job in observation.jobs if job.component == names.CLEANUP}
    wanted = {cleanup_job_name(model, store): (store, prints) for store, prints in artifacts.items()}
    # Whoever has come to use such a record in the meantime must not take it for an engine that is there.
    void = Writes(
        deletes=tuple(
            _reference(model, observed)
            for observed in observation.records
            if observed.record.key.fingerprint in artifacts.get(observed.record.key.store, ())
        )
    )
    for name in wanted:
        if name in jobs and jobs[name].state is JobState.FAILED:
            why = f"Job {name} failed: {jobs[name].message or jobs[name].reason}"
            return _release(model, _left(why), void)
    if all(name in jobs and jobs[name].state is JobState.SUCCEEDED for name in wanted):
        deleted = reconciling("ArtifactsDeleted", f"deleted from {', '.join(artifacts) or 'no store'}")
        return _release(model, deleted, void)
    creates = tuple(
        cleanup_job(model, runtime, store, prints) for name, (store, prints) in wanted.items() if name not in jobs
    )
    return Step(reconciling("Deleting", f"deleting artifacts from {', '.join(artifacts)}"), Writes(creates=creates))


def wait_for_deletion(model: TRTModel, target: Target, observation: Observation) -> Step | None:
    """Return what to do while the engine's artifact goes with a deleted TRTModel that had it, or None if none does."""
    cleanups = [job for job in observation.jobs if job.component == names.CLEANUP and target.key.engine in job.deletes]
    live = next((job for job in cleanups if job.state is JobState.LIVE), None)
    if live is not None:
        waits = f"Job {live.name} deletes this engine, which a deleted TRTModel had; it is made anew after that"
        return Step(reconciling("ConversionPending", waits))
    records = [record for record in observation.records if record.record.key.engine == target.key.engine]
    void = [record for record in records if any(record.created_at <= job.created_at for job in cleanups)]
    if not void:
        return None
    why = f"{', '.join(record.name for record in void)} tells of an engine that was deleted with another TRTModel"
    deletes = tuple(_reference(model, record) for record in void)
    return Step(reconciling("ConversionPending", why), Writes(deletes=deletes))


def _reference(model: TRTModel, record: ObservedRecord) -> Reference:
    return Reference("ConfigMap", model.metadata.namespace, record.name, record.uid)


def _own_artifacts(model: TRTModel, observation: Observation) -> dict[str, list[str]]:
    """Return the fingerprints by store that no other living TRTModel uses, or is having made."""
    users: dict[tuple[str, str], set[str]] = {}
    for observed in observation.records:
        key = observed.record.key
        jobs = [job for job in observation.jobs if job.engine == key.engine and job.state is JobState.LIVE]
        owners = [*observed.owners, *(owner for job in jobs for owner in job.owners)]
        users.setdefault((key.store, key.fingerprint), set()).update(owner.uid for owner in owners)
    found: dict[str, list[str]] = {}
    for (store, fingerprint), uids in users.items():
        if model.metadata.uid in uids and not (uids - {model.metadata.uid}) & observation.live_models:
            found.setdefault(store, []).append(fingerprint)
    return found


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
