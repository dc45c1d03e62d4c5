"""The conversion stage: from no record to a record, through one Job for each engine."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ...api.trtmodel import RETRY_ANNOTATION, OwnerReference, TRTModel
from ..failure import FailureReport, latest_failure
from ..manifests import names, placement
from ..manifests.conversion_job import conversion_job, conversion_job_name
from ..manifests.engine_record import engine_record
from ..observation import JobState, Observation, ObservedJob, ObservedPod, ObservedRecord, Reference, Termination
from ..record import EngineRecord, Summary, artifacts_folder, misfit, parse_summary
from ..sentences import engines, measured
from ..step import Patch, Step, Writes
from ..target import Target
from ..verdict import Verdict, reconciling, stalled
from ..why_convert import why_convert
from ..words import quote

WATCH_LAG = timedelta(seconds=60)
"""For how long after a Job's end its pods may not have been seen to end."""
_OF_A_POD = ("PodFailurePolicy", "BackoffLimitExceeded")
"""Reasons for which a Job fails that a pod of it has given."""
TWINS_PATIENCE = timedelta(minutes=5)
"""How long another model's Job for this engine may wait for its first pod to start before we make one of our own.

It may ask for what no node has. Two runs for one engine are safe: of two writers of a manifest one wins.
"""
FINISHED_JOB_STAYS = timedelta(hours=1)
"""After its end a Job stays so long for people to look at, once its record exists.

Kubernetes' own time to live would count before there is a record as well, and a Job that has failed must stay: nothing
else says that it is not to be run again. To set it afterwards is one write more.
"""


def convert(model: TRTModel, target: Target, observation: Observation, now: datetime) -> Step:
    """Return what brings the engine's record about, when there is none yet."""
    tidy = _delete_stale_jobs(model, target, observation, now)
    gone = {reference.uid for reference in tidy.deletes}
    here = [job for job in engine_jobs(target, observation) if job.uid not in gone]
    live = [job for job in here if not job.deleting]
    jobs = [job for job in live if job.evidence == target.key.evidence]
    for job in jobs:
        if job.state is JobState.SUCCEEDED:
            return _take_result(model, target, observation, job, tidy, now)
    for job in jobs:
        if job.state is JobState.LIVE and not _holds_up(model, target, job, observation, now):
            # Nothing else brings us back to a Job that does not start.
            wait = None if _is_ours(model, job) or has_started(job, observation) else TWINS_PATIENCE
            writes = tidy + _join_job(model, job) + _end_overdue(model, job, observation)
            return Step(_progress(model, target, job, observation), writes, wait)
    name = conversion_job_name(model, target.runtime, target.key)
    for job in jobs:
        if job.name == name:
            return _take_failure(model, job, observation, tidy, now)
    if any(job.name == name and job.deleting for job in here):
        return Step(reconciling("ConversionPending", f"waiting for Job {name}, which is being deleted, to go"), tidy)
    for job in live:
        if job.state is JobState.LIVE and not _holds_up(model, target, job, observation, now):
            waits = f"Job {job.name} makes this engine; it is verified on {target.key.verified_on} after that"
            return Step(reconciling("ConversionPending", waits), tidy)
    create = Writes(creates=(conversion_job(model, target.runtime, target.key),))
    return Step(
        reconciling("ConversionPending", f"starting Job {name}: {why_convert(target, observation)}"), tidy + create
    )


def _end_overdue(model: TRTModel, job: ObservedJob, observation: Observation) -> Writes:
    """Return the write that ends a Job of ours whose attempt took longer than it may: another would hang as long."""
    started = [pod for pod in pods_of(job, observation) if pod.started or pod.reason]
    if not started or started[-1].reason != "DeadlineExceeded" or job.has_deadline or not _is_ours(model, job):
        return Writes()  # another attempt that has begun may be about to end
    return Writes(patches=(end_job(model, job),))


def end_job(model: TRTModel, job: ObservedJob) -> Patch:
    """Return the write that ends a Job's pods and leaves the Job, failed, for everyone to read."""
    reference = job_reference(model, job)
    return Patch(reference, {"spec": {"activeDeadlineSeconds": 1}})


def _holds_up(model: TRTModel, target: Target, job: ObservedJob, observation: Observation, now: datetime) -> bool:
    """Return whether another model's Job has not started for so long that it is not waited for any more."""
    if _is_ours(model, job) or has_started(job, observation) or not job.created_at:
        return False
    if job.name == conversion_job_name(model, target.runtime, target.key):
        return False
    if job.suspended and job.queue == model.spec.conversion.queue:
        return False  # one of our own would stand behind it in the same queue
    return now - datetime.fromisoformat(job.created_at) > TWINS_PATIENCE


def _is_ours(model: TRTModel, job: ObservedJob) -> bool:
    return any(owner.uid == model.metadata.uid and owner.controller for owner in job.owners)


def has_started(job: ObservedJob, observation: Observation) -> bool:
    """Return whether a container of a Job's has ever run."""
    return any(pod.started for pod in pods_of(job, observation))


def settle(model: TRTModel, target: Target, observation: Observation, record: ObservedRecord, now: datetime) -> Writes:
    """Return the writes that leave things tidy once the record exists: owned by us, and no Job that is long over."""
    writes = _delete_stale_jobs(model, target, observation, now)
    gone = {reference.uid for reference in writes.deletes}
    if not _is_named_as_now(model, record.owners):
        writes += _join(model, record_reference(model, record), record)
    for job in engine_jobs(target, observation):
        reference = job_reference(model, job)
        if _is_idle(model, job, observation):
            if job.evidence == target.key.evidence and not job.deleting:
                writes += Writes(deletes=(reference,))  # another's was faster: there is nothing left to make
            continue
        left = stays_for(job, observation, now)
        if left == timedelta(0) and not job.deleting and _owns(model, job.owners) and job.uid not in gone:
            writes += Writes(deletes=(reference,))
    return writes


def stays_for(job: ObservedJob, observation: Observation, now: datetime) -> timedelta | None:
    """Return for how long a Job that is over, and whose record exists, stays; None of any other Job."""
    if job.state is JobState.LIVE or job.component != names.CONVERSION:
        return None
    if not any(observed.record.key.evidence == job.evidence for observed in observation.records):
        return None
    over_since = datetime.fromisoformat(job.finished_at or job.created_at)
    return max(over_since + FINISHED_JOB_STAYS - now, timedelta(0))


def next_job_to_go(model: TRTModel, observation: Observation, now: datetime) -> timedelta | None:
    """Return when the next of the model's Jobs that stay for people to look at is to go, or None where none stays."""
    stays = [stays_for(job, observation, now) for job in observation.jobs if _owns(model, job.owners)]
    return min((left for left in stays if left), default=None)


def withdraw(model: TRTModel, target: Target, observation: Observation, now: datetime) -> Writes:
    """Return the writes that leave no run of ours which has not begun, and none that is no longer asked for."""
    writes = _delete_stale_jobs(model, target, observation, now)
    gone = {reference.uid for reference in writes.deletes}
    for job in engine_jobs(target, observation):
        if _is_idle(model, job, observation) and not job.deleting and job.uid not in gone:
            writes += Writes(deletes=(job_reference(model, job),))
    return writes


def _is_idle(model: TRTModel, job: ObservedJob, observation: Observation) -> bool:
    """Return whether a run that nobody else waits for has not begun."""
    return job.state is JobState.LIVE and sole_owner(model, job.owners) and not has_started(job, observation)


def engine_jobs(target: Target, observation: Observation) -> list[ObservedJob]:
    """Return the conversion Jobs of the engine, of whichever model and data, newest last."""
    jobs = [job for job in observation.jobs if job.component == names.CONVERSION and job.engine == target.key.engine]
    return sorted(jobs, key=lambda job: (job.started_at or "", job.name))


def _take_result(
    model: TRTModel, target: Target, observation: Observation, job: ObservedJob, tidy: Writes, now: datetime
) -> Step:
    pods = pods_of(job, observation)
    summary = _summary(pods, artifacts_folder(target.key, model.metadata.namespace))
    if summary is not None and summary.fingerprint == target.key.fingerprint:
        record = EngineRecord(
            target.key,
            target.inputs,
            summary,
            reason=why_convert(target, observation),
            job_name=job.name,
            attempt=job.failed_attempts + 1,
            secret_name=job.secret_name,
        )
        if why := misfit(record, model.metadata.namespace, target.key.record_name):
            unfit = f"the summary of Job {job.name} does not fit the engine that it was to make: {why}"
            return Step(stalled("SummaryUnfit", unfit), tidy)
        owners = [owner for owner in job.owners if owner.uid != model.metadata.uid]
        manifest = engine_record(model, record, _users([*owners, model.owner_reference(controller=False)]))
        shown = f"{engines(summary)}; {measured(summary)}"
        report = f"; report: {summary.report_uri}" if summary.report_uri else ""
        verdict = reconciling("Converted", f"Job {job.name} is done: {shown}{report}")
        return Step(verdict, tidy + Writes(creates=(manifest,)))
    if not _published(pods) and _ended_just_now(job, now):
        verdict = reconciling("ConversionRunning", f"Job {job.name} is done; its result is awaited")
        return Step(verdict, tidy, WATCH_LAG)
    if _published(pods):
        return Step(
            stalled(
                "SummaryMissing",
                f"Job {job.name} succeeded, but left no summary of this engine in its termination message:"
                f" check that runtime {target.runtime.name!r} names an image of this operator's version",
            ),
            tidy,
        )
    # The evidence is gone with the pod. Another run finds the artifact and prints the same summary.
    reference = job_reference(model, job)
    return Step(
        reconciling("ConversionPending", f"Job {job.name} is done but its pod is gone: running it again"),
        tidy + Writes(deletes=(reference,)),
    )


def _summary(pods: list[ObservedPod], folder: str) -> Summary | None:
    return next((summary for end in _published(pods) if (summary := parse_summary(end.message, folder))), None)


def _published(pods: list[ObservedPod]) -> list[Termination]:
    return [end for pod in pods for end in pod.terminations if end.exit_code == 0 and end.container == "publish"]


def _progress(model: TRTModel, target: Target, job: ObservedJob, observation: Observation) -> Verdict:
    attempt = f"attempt {job.failed_attempts + 1} of {model.spec.conversion.retries + 1}"
    if job.suspended:
        return reconciling("ConversionQueued", f"Job {job.name} waits for {model.spec.conversion.queue or 'its queue'}")
    pods = pods_of(job, observation)
    last = latest_failure(pods)
    because = f"; the last attempt failed with {last.reason}: {last.message}" if last else ""
    current = pods[-1] if pods else None
    if current is not None and (obstacle := current.unschedulable or current.waiting):
        passed_over = f"; {placement.explained(model.spec, target.runtime, None)}" if current.unschedulable else ""
        waits = f"Job {job.name}, {attempt}, waits: {quote(obstacle)}{passed_over}"
        return reconciling("ConversionPending", f"{waits}{because}")
    if current is None or not current.started:
        # The same words until a container runs: a Job has its pod at once, or never, and nobody waits for the news.
        waits = (
            f"has not begun; if it stays so, kubectl describe -n {model.metadata.namespace} job {job.name}, and of its"
            " pod, says why: a quota or a LimitRange, for which spec.conversion.resources are too large, is one reason"
        )
        return reconciling("ConversionPending", f"Job {job.name}, {attempt}, {waits}{because}")
    return reconciling("ConversionRunning", f"Job {job.name}, {attempt}{because}")


def _take_failure(model: TRTModel, job: ObservedJob, observation: Observation, tidy: Writes, now: datetime) -> Step:
    report = latest_failure(pods_of(job, observation))
    if report is None and job.reason in _OF_A_POD and _ended_just_now(job, now):
        verdict = reconciling("ConversionRunning", f"Job {job.name} has failed; what its pod says of it is awaited")
        return Step(verdict, tidy, WATCH_LAG)
    return Step(_failure(model, job, report), tidy)


def _ended_just_now(job: ObservedJob, now: datetime) -> bool:
    """Return whether what a Job's pods said last may not be seen yet: they are watched apart from Jobs."""
    finished = datetime.fromisoformat(job.finished_at) if job.finished_at else datetime.min.replace(tzinfo=UTC)
    return abs(now - finished) < WATCH_LAG


def _failure(model: TRTModel, job: ObservedJob, report: FailureReport | None) -> Verdict:
    reason, message = ("ConversionFailed", quote(job.message or job.reason))
    if report is not None:
        reason, message = report.reason, report.message
    if reason == "DeadlineExceeded":
        most = model.spec.conversion.deadline_seconds
        message += f"; an attempt may take {most} s, pulling the image included: raise spec.conversion.deadlineSeconds"
    previous = model.metadata.annotations.get(RETRY_ANNOTATION, "")
    # A number that somebody counts up; of any other text, and of any length, another one is 1.
    again = str(int(previous) + 1) if previous.isdecimal() and len(previous) < 10 else "1"
    return stalled(
        reason,
        f"{message} (Job {job.name}). A corrected spec starts anew by itself; after a fix outside the spec:"
        f" kubectl annotate -n {model.metadata.namespace} trtmodel {model.metadata.name}"
        f" --overwrite {RETRY_ANNOTATION}={again}",
    )


def _delete_stale_jobs(model: TRTModel, target: Target, observation: Observation, now: datetime) -> Writes:
    """Delete our Jobs for what is no longer asked, and runs that a corrected one replaces; leave those of others.

    A finished Job whose record exists has its time to stay.
    """
    folder = artifacts_folder(target.key, model.metadata.namespace)

    def is_replaced(job: ObservedJob) -> bool:
        """Whether nothing comes of it: it has failed, has left no summary, or waits for what it may never get."""
        return is_void(job) and job.name != conversion_job_name(model, target.runtime, target.key)

    def is_void(job: ObservedJob) -> bool:
        pods = pods_of(job, observation)
        match job.state:
            case JobState.FAILED:
                return True
            case JobState.SUCCEEDED:
                return bool(_published(pods)) and _summary(pods, folder) is None
            case JobState.LIVE:
                # One that another model started for this engine goes by that one's name, and is as good as ours.
                return _is_ours(model, job) and not any(pod.started for pod in pods)

    writes = Writes()
    for job in observation.jobs:
        if job.component != names.CONVERSION or job.deleting or stays_for(job, observation, now):
            continue
        reference = job_reference(model, job)
        unasked = job.evidence != target.key.evidence
        if sole_owner(model, job.owners):
            if unasked or is_replaced(job):
                writes += Writes(deletes=(reference,))
        elif unasked and _owns(model, job.owners):
            # The last of its owners to leave deletes it.
            writes += _set_owners(reference, job, [one for one in job.owners if one.uid != model.metadata.uid])
    return writes


def _join_job(model: TRTModel, job: ObservedJob) -> Writes:
    if _owns(model, job.owners):
        return Writes()
    return _join(model, job_reference(model, job), job)


def _join(model: TRTModel, reference: Reference, observed: ObservedJob | ObservedRecord) -> Writes:
    """Make the model one more owner, or name it by the version of now."""
    others = [owner for owner in observed.owners if owner.uid != model.metadata.uid]
    return _set_owners(reference, observed, [*others, model.owner_reference(controller=False)])


def _set_owners(
    reference: Reference, observed: ObservedJob | ObservedRecord, owners: Sequence[OwnerReference]
) -> Writes:
    """Change who waits for an object; the resource version guards against someone who does so at the same time."""
    metadata = {
        "resourceVersion": observed.resource_version,
        "ownerReferences": [names.owner(reference) for reference in owners],
    }
    return Writes(patches=(Patch(reference, {"metadata": metadata}),))


def _users(owners: list[OwnerReference]) -> list[OwnerReference]:
    """Return the owners as users of a record, none of whom controls it."""
    return [owner.model_copy(update={"controller": False, "block_owner_deletion": False}) for owner in owners]


def _owns(model: TRTModel, owners: tuple[OwnerReference, ...]) -> bool:
    return any(owner.uid == model.metadata.uid for owner in owners)


def _is_named_as_now(model: TRTModel, owners: tuple[OwnerReference, ...]) -> bool:
    """Return whether the model owns the object by the version of the API that is current (docs/api-versions.md)."""
    version = model.owner_reference(controller=False).api_version
    return any(owner.uid == model.metadata.uid and owner.api_version == version for owner in owners)


def sole_owner(model: TRTModel, owners: tuple[OwnerReference, ...]) -> bool:
    """Return whether the model owns the object, and nobody else waits for it."""
    return [owner.uid for owner in owners] == [model.metadata.uid]


def pods_of(job: ObservedJob, observation: Observation) -> list[ObservedPod]:
    """Return the pods of a Job, oldest first."""
    return sorted(
        (pod for pod in observation.pods if pod.controller == ("Job", job.uid)), key=lambda pod: pod.created_at
    )


def job_reference(model: TRTModel, job: ObservedJob) -> Reference:
    """Return which object a Job of the model's namespace is."""
    return Reference("Job", model.metadata.namespace, job.name, job.uid)


def record_reference(model: TRTModel, record: ObservedRecord) -> Reference:
    """Return which object a record of the model's namespace is."""
    return Reference("ConfigMap", model.metadata.namespace, record.name, record.uid)
