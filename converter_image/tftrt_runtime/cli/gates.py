"""What a person asks of a converted model; in a cluster the operator judges by the same rules."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tftrt_runtime.contract.artifact import WHY_NOT_COMPARED, Benchmark, Verification
from tftrt_runtime.contract.errors import AccuracyBelowThreshold, SpeedupBelowThreshold


@dataclass(frozen=True)
class Gates:
    """The least or the most that passes; None asks for nothing."""

    min_top1_agreement: float | None = None
    max_relative_error: float | None = None
    min_speedup: float | None = None

    def judge(self, verification: Verification | None, benchmark: Benchmark | None) -> None:
        """Hold that what was measured passes. What is no number, or was not measured, never does.

        Raises:
            AccuracyBelowThreshold, SpeedupBelowThreshold: it does not; both numbers are told.
        """
        self._judge_accuracy(verification)
        if self.min_speedup is None:
            return
        if benchmark is None:
            raise SpeedupBelowThreshold("--min-speedup is given, and the model was not timed: drop it.")
        if not float(benchmark.speedup) >= self.min_speedup:
            on_device = f", and {benchmark.speedupOnDevice} with its input on the device already"
            raise SpeedupBelowThreshold(
                f"The converted model is {benchmark.speedup} times as fast as the unconverted one at {benchmark.how} "
                f"({benchmark.convertedItemsPerSecond} against {benchmark.nativeItemsPerSecond} items/s"
                f"{on_device if benchmark.speedupOnDevice is not None else ''}), and --min-speedup asks for "
                f"{self.min_speedup}."
            )

    def _judge_accuracy(self, measured: Verification | None) -> None:
        gates = (self.min_top1_agreement, self.max_relative_error)
        if measured is not None and measured.largerInputGone is not None and gates != (None, None):
            raise AccuracyBelowThreshold(
                f"With made-up input up to 255 a share of {measured.largerInputGone} of an output is finite in the "
                "unconverted model alone, and that passes no gate: set --precision FP32, or give samples of what the "
                "model meets by --verification-data."
            )
        if measured is not None and measured.notANumber is not None and gates != (None, None):
            raise AccuracyBelowThreshold(
                f"{measured.notANumber} of an output is NaN in either model on {measured.on}, and that passes no gate: "
                "give samples that it has answers to by --verification-data."
            )
        if self.min_top1_agreement is not None:
            self._judge_classes(self.min_top1_agreement, measured)
        if self.max_relative_error is not None:
            self._judge_error(self.max_relative_error, measured)

    def _judge_classes(self, least: float, measured: Verification | None) -> None:
        agreement = measured.top1Agreement if measured else None
        if measured is None or agreement is None:
            why = _why_not(measured) or "no output of the model is one of classes: name it by --top1-output, or drop it"
            raise AccuracyBelowThreshold(f"--min-top1-agreement is given, and {why}.")
        if not float(agreement) >= least:
            raise AccuracyBelowThreshold(
                f"The converted model's classes are the unconverted one's in a share of {agreement}, on "
                f"{measured.samples} samples of {measured.on}, and --min-top1-agreement asks for {least}."
            )

    def _judge_error(self, most: float, measured: Verification | None) -> None:
        error = measured.maxRelativeError if measured else None
        # Where classes have a gate of their own it is the one for all that is the same or not.
        equal = measured.equalElements if measured and self.min_top1_agreement is None else None
        if measured is None or (error is None and (measured.equalElements is None or measured.notFinite == "1")):
            why = _why_not(measured) or "the answers could not be compared: drop it"
            raise AccuracyBelowThreshold(f"--max-relative-error is given, and {why}.")
        if error is not None and not float(error) <= most:
            raise AccuracyBelowThreshold(
                f"The converted model's largest relative error is {error}, on {measured.samples} samples of "
                f"{measured.on}, and --max-relative-error allows {most}."
            )
        if equal is not None and not 1 - Decimal(equal) <= Decimal(str(most)):
            raise AccuracyBelowThreshold(
                f"Of the converted model's whole numbers, texts and truths a share of {equal} is the unconverted "
                f"one's, on {measured.samples} samples of {measured.on}, and --max-relative-error allows {most} to "
                "differ. With --min-top1-agreement that is the gate for them."
            )


def _why_not(measured: Verification | None) -> str:
    """Why nothing was measured, and what to do; empty where that is not known."""
    if measured is None:
        return ""
    if measured.notCompared is not None:
        why = WHY_NOT_COMPARED[measured.notCompared]
        return f"{why}: export it without layers that draw random numbers, or drop it"
    if measured.notFinite == "1":
        return f"an output has no finite value in either model on {measured.on}: give samples that it has answers to"
    return ""
