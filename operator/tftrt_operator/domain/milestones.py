"""What has come to an end between two statuses of a model: what is counted, and nothing that a restart would repeat."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ..api.status import ConditionType, TRTModelStatus
from .failure import CONTAINER_REASONS, POD_REASONS

FAILURE_REASONS = CONTAINER_REASONS | {*POD_REASONS, "ContainerFailed", "PodFailed", "ConversionFailed"}
"""Why a conversion may have ended for good: the reasons of docs/reasons.md, and no word of a container's own."""


@dataclass(frozen=True, slots=True)
class ConversionEnded:
    """A conversion has ended, well or, after all its attempts, badly."""

    succeeded: bool
    reason: str


@dataclass(frozen=True, slots=True)
class BecameReady:
    """What the spec says is serving, so many seconds after it was first seen not to be."""

    seconds: float


Milestone = ConversionEnded | BecameReady


def milestones(before: TRTModelStatus, after: TRTModelStatus, now: datetime) -> Iterator[Milestone]:
    """Yield what a status tells that the one before it did not."""
    converted, was = after.condition(ConditionType.CONVERTED), before.condition(ConditionType.CONVERTED)
    news = converted is not None and (was is None or (was.status, was.reason) != (converted.status, converted.reason))
    if converted is not None and news:
        if converted.status == "True":
            yield ConversionEnded(True, "Converted")
        elif converted.reason in FAILURE_REASONS:
            yield ConversionEnded(False, converted.reason)
    ready, began = after.condition(ConditionType.READY), before.condition(ConditionType.RECONCILING)
    if ready is not None and ready.status == "True" and began is not None:
        since = datetime.fromisoformat(began.last_transition_time)
        yield BecameReady(max(0.0, (now - since).total_seconds()))
