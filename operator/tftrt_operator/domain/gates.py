"""The gates: what an engine's record must show before anything is rolled out.

The converter measures, the operator judges: a loosened gate needs no new conversion.
"""

from ..api.verification import Verification
from .record import ReportedBenchmark, ReportedVerification, Summary
from .verdict import Verdict, stalled


def judge(gates: Verification, summary: Summary) -> Verdict | None:
    """Return why the engine must not be rolled out, or None where it passes. What is no number never passes."""
    return _judge_accuracy(gates, summary.verification) or _judge_speed(gates, summary.benchmark)


def _judge_accuracy(gates: Verification, measured: ReportedVerification | None) -> Verdict | None:
    agreement = measured.top1_agreement if measured else None
    error = measured.max_relative_error if measured else None
    samples = measured.samples if measured else 0
    if gates.min_top1_agreement is not None:
        if agreement is None:
            return _unknown("minTop1Agreement", "the model is no classifier with one output")
        if not float(agreement) >= float(gates.min_top1_agreement):
            return stalled(
                "AccuracyBelowThreshold",
                f"top-1 agreement with the unconverted model is {agreement} of {samples} samples,"
                f" verification.minTop1Agreement asks for {gates.min_top1_agreement}",
            )
    if gates.max_relative_error is not None:
        if error is None:
            return _unknown("maxRelativeError", "its answers could not be compared")
        if not float(error) <= float(gates.max_relative_error):
            return stalled(
                "AccuracyBelowThreshold",
                f"the largest relative error against the unconverted model is {error} on {samples} samples,"
                f" verification.maxRelativeError allows {gates.max_relative_error}",
            )
    return None


def _judge_speed(gates: Verification, measured: ReportedBenchmark | None) -> Verdict | None:
    if gates.min_speedup is None:
        return None
    if measured is None:
        return stalled("SpeedupUnknown", "verification.minSpeedup is set, but the model was not timed: drop the gate")
    if float(measured.speedup) >= float(gates.min_speedup):
        return None
    return stalled(
        "SpeedupBelowThreshold",
        f"the converted model is {measured.speedup} times as fast as the unconverted one at batch size"
        f" {measured.batch_size} ({measured.converted_p50_microseconds} against {measured.native_p50_microseconds}"
        f" microseconds), verification.minSpeedup asks for {gates.min_speedup}",
    )


def _unknown(gate: str, why: str) -> Verdict:
    return stalled("AccuracyUnknown", f"verification.{gate} is set, but {why}: drop the gate")
