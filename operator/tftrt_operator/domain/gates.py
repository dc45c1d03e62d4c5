"""The gates: what an engine's record must show before anything is rolled out.

The converter measures, the operator judges: a loosened gate needs no new conversion.
"""

from decimal import Decimal

from ..api.verification import Verification
from .record import ReportedVerification, Summary
from .sentences import compared_on, why_not_compared
from .speed import figures, how_timed, is_a_clients
from .verdict import Verdict, stalled


def judge(gates: Verification, summary: Summary, *, is_rolled_out: bool = False) -> Verdict | None:
    """Return why the engine must not be rolled out, or None where it passes. What is no number never passes.

    One that is rolled out already stays so where a gate cannot be judged by what an older converter told of it.
    """
    return _judge_accuracy(gates, summary.verification) or _judge_speed(gates, summary, is_rolled_out=is_rolled_out)


def _judge_accuracy(gates: Verification, measured: ReportedVerification | None) -> Verdict | None:
    least, most = gates.min_top1_agreement, gates.max_relative_error
    if least is None and most is None:
        return None
    if measured is not None and measured.larger_input_gone is not None:
        return stalled(
            "AccuracyBelowThreshold",
            f"with made-up input up to 255 a share of {measured.larger_input_gone} of an output is finite in the"
            " unconverted model alone, and that passes no gate: set conversion.precision to FP32, or give samples of"
            " what the model meets in verification.dataUri",
        )
    if measured is not None and measured.not_a_number is not None:
        return stalled(
            "AccuracyUnknown",
            f"{measured.not_a_number} of an output is NaN in either model on {compared_on(measured)}, and that passes"
            " no gate: give samples that it has answers to in verification.dataUri, or drop the gate",
        )
    failed = _judge_classes(least, measured) if least is not None else None
    if failed is not None or most is None:
        return failed
    return _judge_error(most, measured) or (_judge_equal(most, measured) if least is None else None)


def _judge_classes(least: str, measured: ReportedVerification | None) -> Verdict | None:
    agreement = measured.top1_agreement if measured else None
    if measured is None or agreement is None:
        return _unknown("minTop1Agreement", measured, "no output shows that it is of classes", "name it in top1Output")
    if float(agreement) >= float(least):
        return None
    return stalled(
        "AccuracyBelowThreshold",
        f"top-1 agreement with the unconverted model is {agreement} {_on(measured)},"
        f" verification.minTop1Agreement asks for {least}",
    )


def _judge_error(most: str, measured: ReportedVerification | None) -> Verdict | None:
    error = measured.max_relative_error if measured else None
    if measured is not None and error is None and measured.equal_elements is not None and measured.not_finite != "1":
        return None  # its answers are no quantities
    if measured is None or error is None:
        return _unknown("maxRelativeError", measured, "its answers could not be compared")
    if float(error) <= float(most):
        return None
    return stalled(
        "AccuracyBelowThreshold",
        f"the largest relative error against the unconverted model is {error} {_on(measured)},"
        f" verification.maxRelativeError allows {most}",
    )


def _judge_equal(most: str, measured: ReportedVerification | None) -> Verdict | None:
    """Judge what is the same or not, where there is no gate for classes: so large a share may differ."""
    equal = measured.equal_elements if measured else None
    if measured is None or equal is None or float(1 - Decimal(equal)) <= float(most):
        return None
    return stalled(
        "AccuracyBelowThreshold",
        f"{equal} of whole numbers, texts and truths are the unconverted model's {_on(measured)},"
        f" verification.maxRelativeError allows {most} to differ; where minTop1Agreement is set, that judges them",
    )


def _on(measured: ReportedVerification) -> str:
    return f"on {measured.samples} samples of {compared_on(measured)}"


def _judge_speed(gates: Verification, summary: Summary, *, is_rolled_out: bool) -> Verdict | None:
    timed = summary.benchmark
    if gates.min_speedup is None:
        return None
    if timed is None:
        return stalled("SpeedupUnknown", "verification.minSpeedup is set, but the model was not timed: drop the gate")
    if float(timed.speedup) >= float(gates.min_speedup):
        unknown = unjudged(gates, summary)
        return stalled("SpeedupUnknown", unknown) if unknown and not is_rolled_out else None
    return stalled(
        "SpeedupBelowThreshold",
        f"the converted model is {timed.speedup} times as fast as the unconverted one {how_timed(summary, timed)}"
        f" ({figures(summary, timed)}), verification.minSpeedup asks for {gates.min_speedup}",
    )


def unjudged(gates: Verification, summary: Summary) -> str:
    """Return why nobody can say whether a gate passes that the device alone does pass, "" where it can be said.

    An older converter did not tell what a client has, and nothing is converted again for a figure that it did not tell.
    """
    timed = summary.benchmark
    if gates.min_speedup is None or timed is None or is_a_clients(summary):
        return ""
    return (
        f"an older converter has told of this engine that it is {timed.speedup} times as fast as the unconverted model"
        f" {how_timed(summary, timed)}. What a client has is not known, and so not whether it is"
        f" verification.minSpeedup, {gates.min_speedup}: a new source.revision has it converted and timed again; or"
        " drop the gate"
    )


def _unknown(gate: str, measured: ReportedVerification | None, otherwise: str, way_out: str = "") -> Verdict:
    """Return that a gate cannot be judged, with the one reason that there is."""
    why = why_not_compared(measured)
    if measured is not None and measured.not_finite == "1" and not why:
        why = f"an output has no finite value in either model on {compared_on(measured)}"
        way_out = "give samples that it has answers to in verification.dataUri"
    elif measured is not None and measured.not_compared == "AnswersDiffer":
        way_out = "export it without layers that draw random numbers"
    elif why:
        way_out = ""
    drop = f"{way_out}, or drop the gate" if way_out else "drop the gate"
    return stalled("AccuracyUnknown", f"verification.{gate} is set, but {why or otherwise}: {drop}")
