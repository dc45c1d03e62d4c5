"""(model, what exists) -> Plan: objects to write and to delete, the status, events, and when to look again."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..api.status import ConditionType, TRTModelStatus
from ..api.trtmodel import TRTModel
from .claims import claims_of_conversion, claims_of_server, refusal
from .conditions import kept_status
from .gates import judge
from .model_status import deleting_status, status_of
from .observation import Observation
from .runtime import Catalogue
from .stages.conversion import convert, next_job_to_go, settle, withdraw
from .stages.deletion import delete, guard, wait_for_deletion
from .stages.jobs_network import held_for_network, jobs_network
from .stages.rollout import is_rolled_out, keep_serving, roll_out
from .step import Step, Writes
from .target import Target, read_uris, target_of
from .unreadable import UnreadableModel, release
from .verdict import Standing, Verdict, reconciling, stalled
from .words import printable, quote

OBSTACLE_INTERVAL = timedelta(seconds=60)
"""We watch only what is ours: nobody tells us when an object that stands in the way, or a quota, is gone."""
INVALID_INTERVAL = timedelta(minutes=5)
"""What the API server calls invalid may be what a policy of the cluster refuses, and policies change."""
DELETION_INTERVAL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event on the model."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to do for one model, now. `status` is None for a model whose last word is said."""

    writes: Writes
    status: TRTModelStatus | None
    events: tuple[Event, ...] = ()
    look_again_after: timedelta | None = None


def plan(model: TRTModel, catalogue: Catalogue, observation: Observation, now: datetime) -> Plan:
    """Return what must be done for a model. The same facts give the same plan, however they came about."""
    if model.metadata.deletion_timestamp is not None:
        step = delete(model, catalogue, observation, now)
        obstacle = _obstacle(observation)
        verdict = obstacle or step.verdict
        # Once its last finalizer of ours is taken, there may be no object any more that could have a status.
        released = obstacle is None and step.verdict.reason.startswith("Artifacts")
        status = None if released else deleting_status(model, verdict, _timestamp(now))
        events = () if obstacle is not None else _events(model, step.verdict)
        return Plan(step.writes if obstacle is None else step.writes.without_new(), status, events, DELETION_INTERVAL)

    target = target_of(model, catalogue)
    if isinstance(target, Verdict):
        step = Step(target, guard(model) + keep_serving(model, catalogue.network, observation))
        return _plan(model, None, observation, step, now)
    step = _advance(model, target, observation, now)
    return _plan(model, target, observation, replace(step, writes=guard(model) + step.writes), now)


def plan_unreadable(model: UnreadableModel, now: datetime) -> Plan:
    """Return what must be done for a model that cannot be read: it is told so, and let go where it is deleted."""
    if model.deleting:
        return Plan(release(model), None)
    status = kept_status(model.verdict, model.status, model.generation, _timestamp(now))
    return Plan(Writes(), status, _news(model.status, model.verdict))


def plan_after_fault(model: TRTModel | UnreadableModel, fault: Exception, now: datetime) -> Plan:
    """Return what is said of a model at which the operator itself failed. Nothing is written for it but that."""
    verdict = reconciling(
        "InternalError",
        "the operator failed at this TRTModel, which is a fault of the operator, and tries again and again:"
        f" {quote(f'{type(fault).__name__}: {fault}')}",
    )
    generation = model.metadata.generation if isinstance(model, TRTModel) else model.generation
    status = kept_status(verdict, model.status, generation, _timestamp(now))
    return Plan(Writes(), status, _news(model.status, verdict))


def _advance(model: TRTModel, target: Target, observation: Observation, now: datetime) -> Step:
    step = wait_for_deletion(model, target, observation)
    if step is not None:
        return replace(step, writes=step.writes + keep_serving(model, target.network, observation))
    observed = observation.record(target.key.record_name)
    uris = (*read_uris(model), target.key.store)
    network = jobs_network(model, uris, target.network, observation, runs=observed is None)
    mounted = claims_of_conversion(model, target) if observed is None else claims_of_server(target)
    if (refused := refusal(mounted, observation)) is not None:
        left = withdraw(model, target, observation, now) + keep_serving(model, target.network, observation)
        return Step(refused, network + left)
    if observed is None:
        step = held_for_network(model, convert(model, target, observation, now), observation)
        return replace(step, writes=network + step.writes + keep_serving(model, target.network, observation))
    rolled_out = is_rolled_out(observed.record, observation)
    failed = judge(model.spec.verification, observed.record.summary, is_rolled_out=rolled_out)
    if failed is not None:
        # Nothing is rolled out; what serves, serves on.
        step = Step(failed, keep_serving(model, target.network, observation))
    else:
        step = roll_out(model, target, observed, observation)
    return Step(step.verdict, network + settle(model, target, observation, observed, now) + step.writes)


def _plan(model: TRTModel, target: Target | None, observation: Observation, step: Step, now: datetime) -> Plan:
    obstacle = _obstacle(observation)
    writes, verdict = step.writes, obstacle or step.verdict
    if obstacle is not None:
        writes = writes.without_new()  # nothing new is built round an object that stands in the way
    observed = observation.record(target.key.record_name) if target else None
    record = observed.record if observed else None
    status = status_of(model, target, record, observation, verdict, _timestamp(now))
    looks = [step.look_again_after, next_job_to_go(model, observation, now)]
    if obstacle is not None:
        looks = [INVALID_INTERVAL if obstacle.reason == "ObjectInvalid" else OBSTACLE_INTERVAL]
    look_again_after = min((look for look in looks if look is not None), default=None)
    return Plan(writes, status, _events(model, verdict), look_again_after)


def _obstacle(observation: Observation) -> Verdict | None:
    if observation.foreign:
        what = ", ".join(f"{reference.kind} {reference.name}" for reference in observation.foreign)
        return stalled(
            "NameConflict",
            f"{what} exists and does not belong to this TRTModel: it is never taken over."
            " Delete or rename it, or give the TRTModel another name",
        )
    if observation.leftovers:
        what = ", ".join(f"{reference.kind} {reference.name}" for reference in observation.leftovers)
        return reconciling("NamesakeDeleting", f"waiting for {what} of a deleted TRTModel of this name to go")
    for rejection in observation.rejections:
        if rejection.failed:
            where = f"{rejection.reference.kind} {rejection.reference.name}"
            return reconciling(
                "WriteFailed", f"{where} cannot be written, and is tried again and again: {quote(rejection.message)}"
            )
        what = (
            f"the API server refused {rejection.reference.kind} {rejection.reference.name}: {quote(rejection.message)}"
        )
        return stalled("ObjectInvalid", what) if rejection.final else reconciling("WriteForbidden", what)
    return None


def _events(model: TRTModel, verdict: Verdict) -> tuple[Event, ...]:
    """Return the event of a model; of one that is being deleted only what became of its artifacts."""
    if model.metadata.deletion_timestamp is None:
        return _news(model.status, verdict)
    return (_event(verdict),) if verdict.reason.startswith("Artifacts") else ()


USUAL_COURSE = frozenset(
    {"Pending", "ConversionPending", "ConversionRunning", "Converted", "RolloutProgressing", "Serving", "ScaledToZero"}
)
"""What becomes of every model. The status tells it, with the time of each condition; an event would say it twice."""


def _news(status: TRTModelStatus, verdict: Verdict) -> tuple[Event, ...]:
    """Return an event where the model's standing has got another reason than the one last reported.

    None of the usual course: only what leaves it, and that it is back.
    """
    before = status.condition(ConditionType.READY)
    reason = "Pending" if before is None else before.reason
    if reason == verdict.reason or {reason, verdict.reason} <= USUAL_COURSE:
        return ()
    return (_event(verdict),)


def _event(verdict: Verdict) -> Event:
    warning = verdict.standing is Standing.STALLED or verdict.reason == "ArtifactsLeft"
    return Event(warning, verdict.reason, printable(verdict.message))


def _timestamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
