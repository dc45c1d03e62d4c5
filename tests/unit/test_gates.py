"""What a record must show before anything is rolled out."""

from typing import Any

import pytest

from tftrt_operator.api.verification import Verification
from tftrt_operator.domain.gates import judge
from tftrt_operator.domain.record import ReportedVerification


def reason(measured: ReportedVerification | None, **gates: Any) -> str | None:
    failed = judge(Verification.model_validate(gates), measured)
    return None if failed is None else failed.reason


def measured(agreement: str | None = None, error: str | None = None) -> ReportedVerification:
    return ReportedVerification(samples=41, top1_agreement=agreement, max_relative_error=error)


@pytest.mark.parametrize(
    ("agreement", "gate", "expected"),
    [
        ("0.99", "0.99", None),
        ("1.0", "0.99", None),
        ("0.9899", "0.99", "AccuracyBelowThreshold"),
        ("NaN", "0.0", "AccuracyBelowThreshold"),
        ("nonsense", "0.0", "AccuracyBelowThreshold"),
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
        (None, "1", "AccuracyUnknown"),
    ],
)
def test_relative_error(error: str | None, gate: str, expected: str | None) -> None:
    assert reason(measured(error=error), maxRelativeError=gate) == expected


def test_without_a_gate_everything_passes() -> None:
    assert reason(measured()) is None
    assert reason(None) is None


def test_a_gate_without_any_evidence_is_not_passed() -> None:
    assert reason(None, maxRelativeError="1") == "AccuracyUnknown"


def test_the_message_carries_the_numbers() -> None:
    failed = judge(Verification.model_validate({"minTop1Agreement": "0.99"}), measured("0.9756"))
    assert failed is not None
    assert "0.9756 of 41 samples" in failed.message
    assert "asks for 0.99" in failed.message
