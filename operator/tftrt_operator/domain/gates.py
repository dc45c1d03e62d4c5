"""The gates: what an engine's record must show before anything is rolled out.

The converter measures, the operator judges: a loosened gate needs no new conversion.
"""

from ..api.verification import Verification
from .record import ReportedVerification
from .verdict import Verdict, stalled


def judge(gates: Verification, measured: ReportedVerification | None) -> Verdict | None:
    """Return why the engine must not be rolled out, or None where it passes. What is no number never passes."""
    agreement = measured.top1_agreement if measured else None
    error = measured.max_relative_error if measured else None
    samples = measured.samples if measured else 0
    if gates.min_top1_agreement is not None:
        if agreement is None:
            return _unknown("minTop1Agreement", "the model is no classifier with one output")
        if not _number(agreement) >= float(gates.min_top1_agreement):
            return stalled(
                "AccuracyBelowThreshold",
                f"top-1 agreement with the unconverted model is {agreement} of {samples} samples,"
                f" verification.minTop1Agreement asks for {gates.min_top1_agreement}",
            )
    if gates.max_relative_error is not None:
        if error is None:
            return _unknown("maxRelativeError", "its answers could not be compared")
        if not _number(error) <= float(gates.max_relative_error):
            return stalled(
                "AccuracyBelowThreshold",
                f"the largest relative error against the unconverted model is {error} on {samples} samples,"
                f" verification.maxRelativeError allows {gates.max_relative_error}",
            )
    return None


def evidence(measured: ReportedVerification | None) -> str:
    """Return what was measured, in a sentence."""
    if measured is None:
        return "the converter could not compare this model's answers"
    parts = [f"largest relative error {measured.max_relative_error}"] if measured.max_relative_error else []
    parts += [f"top-1 agreement {measured.top1_agreement}"] if measured.top1_agreement else []
    return f"{' and '.join(parts) or 'nothing to compare'} on {measured.samples} samples"


def _unknown(gate: str, why: str) -> Verdict:
    return stalled("AccuracyUnknown", f"verification.{gate} is set, but {why}: drop the gate")


def _number(text: str) -> float:
    """Return the number. NaN, and what is no number at all, compares as false: it passes no gate."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
