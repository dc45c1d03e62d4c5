"""What a record must show before anything is rolled out."""

from typing import Any

import pytest

from tftrt_operator.api.verification import Verification
from tftrt_operator.domain.gates import judge
from tftrt_operator.domain.record import Summary

from .builders import summary, trtmodel


def reason(measured: Summary, **gates: Any) -> str | None:
    failed = judge(Verification.model_validate(gates), measured)
    return None if failed is None else failed.reason


def measured(agreement: str | None = None, error: str | None = None) -> Summary:
    found = {"samples": 41, "top1Agreement": agreement, "maxRelativeError": error}
    return summary(trtmodel(), verification=found)


def timed(speedup: str) -> Summary:
    found = {"batchSize": 32, "convertedP50Microseconds": 2000, "nativeP50Microseconds": 3000, "speedup": speedup}
    return summary(trtmodel(), benchmark=found)


@pytest.mark.parametrize(
    ("agreement", "gate", "expected"),
    [
        ("0.99", "0.99", None),
        ("1.0", "0.99", None),
        ("0.9899", "0.99", "AccuracyBelowThreshold"),
        ("NaN", "0.0", "AccuracyBelowThreshold"),
        (None, "0.5", "AccuracyUnknown"),
    ],
)
def test_top1_agreement(agreement: str | None, gate: str, expected: str | None) -> None:
    assert reason(measured(agreement), minTop1Agreement=gate) == expected


@pytest.mark.parametrize(
    ("error", "gate", "expected"),
    [
        ("0.01", "0.01", None),
        ("0.0101", "0.01", "AccuracyBelowThreshold"),
        ("NaN", "1e9", "AccuracyBelowThreshold"),
        ("inf", "1e9", "AccuracyBelowThreshold"),
        ("Infinity", "1e9", "AccuracyBelowThreshold"),
        (None, "1", "AccuracyUnknown"),
    ],
)
def test_relative_error(error: str | None, gate: str, expected: str | None) -> None:
    assert reason(measured(error=error), maxRelativeError=gate) == expected


def test_without_a_gate_everything_passes() -> None:
    assert reason(measured()) is None
    assert reason(summary(trtmodel())) is None


def test_a_gate_without_any_evidence_is_not_passed() -> None:
    assert reason(summary(trtmodel()), maxRelativeError="1") == "AccuracyUnknown"
    assert reason(summary(trtmodel()), minSpeedup="1") == "SpeedupUnknown"


@pytest.mark.parametrize(
    ("speedup", "gate", "expected"),
    [
        ("1.5", "1.5", None),
        ("1.49", "1.5", "SpeedupBelowThreshold"),
        ("NaN", "0.1", "SpeedupBelowThreshold"),
    ],
)
def test_speedup(speedup: str, gate: str, expected: str | None) -> None:
    assert reason(timed(speedup), minSpeedup=gate) == expected


def test_the_message_carries_the_numbers() -> None:
    failed = judge(Verification.model_validate({"minTop1Agreement": "0.99"}), measured("0.9756"))
    assert failed is not None
    assert "0.9756 of 41 samples" in failed.message
    assert "asks for 0.99" in failed.message
    slow = judge(Verification.model_validate({"minSpeedup": "2"}), timed("1.5"))
    assert slow is not None
    assert "1.5 times as fast" in slow.message
    assert "at batch size 32 (2000 against 3000 microseconds)" in slow.message
