"""Conditions as kstatus reads them, from what is claimed now and what was said before."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..api.status import Condition, ConditionType, TRTModelStatus
from .verdict import Standing, Verdict
from .words import printable, reason_or

KEPT = (ConditionType.CONVERTED, ConditionType.VERIFIED, ConditionType.AVAILABLE)
"""What was true when a model was last planned for. What serves it serves on."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A condition before it is compared with the last one."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def standing(verdict: Verdict, meanwhile: str = "") -> Iterable[Claim]:
    """Ready always; Reconciling or Stalled only while true. `meanwhile` is what else is to be said beside Ready."""
    if verdict.standing is Standing.READY:
        yield Claim(ConditionType.READY, "True", verdict.reason, verdict.message)
        return
    yield Claim(ConditionType.READY, "False", verdict.reason, verdict.message + meanwhile)
    kind = ConditionType.STALLED if verdict.standing is Standing.STALLED else ConditionType.RECONCILING
    yield Claim(kind, "True", verdict.reason, verdict.message)


def standing_of(status: TRTModelStatus) -> Standing:
    """Return where a model stands by its status; one that nothing was said of yet is on its way."""
    for kind, found in ((ConditionType.READY, Standing.READY), (ConditionType.STALLED, Standing.STALLED)):
        condition = status.condition(kind)
        if condition is not None and condition.status == "True":
            return found
    return Standing.RECONCILING


def is_awaited(before: TRTModelStatus, after: TRTModelStatus) -> bool:
    """Return whether a status is one that somebody may wait for: of another generation, standing, or reason for it.

    All else, such as numbers, tells how far it has come.
    """
    was, now = before.condition(ConditionType.READY), after.condition(ConditionType.READY)
    if was is None or now is None or before.observed_generation != after.observed_generation:
        return True
    return standing_of(before) != standing_of(after) or (was.status, was.reason) != (now.status, now.reason)


def conditions(claims: Iterable[Claim], before: TRTModelStatus, generation: int, now: str) -> tuple[Condition, ...]:
    """Return the conditions of a generation. `now` is an RFC 3339 time; it is used only where a status changes."""
    return tuple(_condition(claim, before.condition(claim.type), generation, now) for claim in claims)


def kept_status(verdict: Verdict, before: TRTModelStatus, generation: int, now: str) -> TRTModelStatus:
    """Return the status of a model for which nothing can be planned: the verdict, and beside it what was true before.

    `now` is an RFC 3339 time; it is used only where a condition changes.
    """
    said = conditions(standing(verdict), before, generation, now)
    kept = tuple(condition for kind in KEPT if (condition := before.condition(kind)) is not None)
    return before.model_copy(update={"observed_generation": generation, "conditions": said + kept})


def _condition(claim: Claim, before: Condition | None, generation: int, now: str) -> Condition:
    unchanged = before is not None and before.status == claim.status
    return Condition(
        type=claim.type.value,
        status=claim.status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and unchanged else now,
        reason=reason_or(claim.reason, "Unknown"),
        message=printable(claim.message),
    )
