"""What is counted once: a conversion that ended, and a model that became Ready."""

from datetime import UTC, datetime

from tftrt_operator.api.status import Condition, ConditionType, TRTModelStatus
from tftrt_operator.domain.milestones import BecameReady, ConversionEnded, milestones

BEGAN = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 1, 1, 0, 2, 30, tzinfo=UTC)


def status(**conditions: tuple[str, str]) -> TRTModelStatus:
    """By a condition's name, its status and reason."""
    said = [
        Condition.model_validate({"type": kind, "status": truth, "reason": reason, "last_transition_time": BEGAN})
        for kind, (truth, reason) in conditions.items()
    ]
    return TRTModelStatus(conditions=tuple(said))


RUNS = status(
    Ready=("False", "ConversionRunning"),
    Reconciling=("True", "ConversionRunning"),
    Converted=("False", "ConversionRunning"),
)
CONVERTED = status(
    Ready=("False", "RolloutProgressing"), Reconciling=("True", "RolloutProgressing"), Converted=("True", "Converted")
)
FAILED = status(Ready=("False", "OutOfMemory"), Stalled=("True", "OutOfMemory"), Converted=("False", "OutOfMemory"))
SERVING = status(Ready=("True", "Serving"), Converted=("True", "Converted"))


def test_a_conversion_is_counted_when_it_has_ended_and_once() -> None:
    assert list(milestones(RUNS, CONVERTED, NOW)) == [ConversionEnded(True, "Converted")]
    assert list(milestones(CONVERTED, CONVERTED, NOW)) == []
    assert list(milestones(RUNS, FAILED, NOW)) == [ConversionEnded(False, "OutOfMemory")]
    assert list(milestones(FAILED, FAILED, NOW)) == []


def test_the_time_to_ready_is_from_when_it_was_seen_not_to_be() -> None:
    assert list(milestones(CONVERTED, SERVING, NOW)) == [BecameReady(150.0)]
    assert list(milestones(SERVING, SERVING, NOW)) == []


def test_what_only_waits_is_no_end() -> None:
    assert list(milestones(TRTModelStatus(), RUNS, NOW)) == []
    assert RUNS.condition(ConditionType.RECONCILING) is not None
