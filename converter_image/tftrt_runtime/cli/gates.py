"""What a person asks of a converted model; in a cluster the operator judges by the same rules."""

from __future__ import annotations

from dataclasses import dataclass

from tftrt_runtime.contract.artifact import Benchmark, Verification
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
            raise SpeedupBelowThreshold(
                f"The converted model is {benchmark.speedup} times as fast as the unconverted one at batch size "
                f"{benchmark.batchSize} ({benchmark.convertedP50Microseconds} against "
                f"{benchmark.nativeP50Microseconds} microseconds), and --min-speedup asks for {self.min_speedup}."
            )

    def _judge_accuracy(self, measured: Verification | None) -> None:
        agreement = measured.top1Agreement if measured else None
        error = measured.maxRelativeError if measured else None
        samples = measured.samples if measured else 0
        if self.min_top1_agreement is not None:
            if agreement is None:
                raise AccuracyBelowThreshold(
                    "--min-top1-agreement is given, and the model is no classifier with one output: drop it."
                )
            if not float(agreement) >= self.min_top1_agreement:
                raise AccuracyBelowThreshold(
                    f"The converted model's largest class is the unconverted one's in a share of {agreement} of "
                    f"{samples} samples, and --min-top1-agreement asks for {self.min_top1_agreement}."
                )
        if self.max_relative_error is not None:
            if error is None:
                raise AccuracyBelowThreshold(
                    "--max-relative-error is given, and the answers could not be compared: drop it."
                )
            if not float(error) <= self.max_relative_error:
                raise AccuracyBelowThreshold(
                    f"The converted model's largest relative error is {error} on {samples} samples, and "
                    f"--max-relative-error allows {self.max_relative_error}."
                )
