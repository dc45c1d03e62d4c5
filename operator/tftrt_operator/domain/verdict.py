"""Where a model stands, in kstatus' terms, with a reason and a sentence."""

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """Ready, on its way, or in need of the user."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a model stands. Reasons are stable and listed in docs/reasons.md."""

    standing: Standing
    reason: str
    message: str


def ready(reason: str, message: str) -> Verdict:
    """Return that what serves is what the spec says."""
    return Verdict(Standing.READY, reason, message)


def reconciling(reason: str, message: str) -> Verdict:
    """Return that the operator or the cluster is at work."""
    return Verdict(Standing.RECONCILING, reason, message)


def stalled(reason: str, message: str) -> Verdict:
    """Return that nothing more happens until the user acts."""
    return Verdict(Standing.STALLED, reason, message)
