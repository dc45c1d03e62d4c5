"""How a container of ours ended badly, in the words that it left, or in those of its pod."""

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from ..api.schema import ApiModel
from .observation import ObservedPod, Termination
from .words import quote

POD_REASONS = ("Evicted", "DeadlineExceeded", "UnexpectedAdmissionError", "Preempting", "NodeLost")
"""What Kubernetes says of pods often enough to be a reason of its own here."""
CONTAINER_REASONS = frozenset(
    {
        "AccuracyBelowThreshold",
        "ArtifactCorrupt",
        "ArtifactNotFound",
        "CalibrationDataUnfit",
        "CertificateNotTrusted",
        "ChildAborted",
        "DigestMismatch",
        "EngineDeviceMismatch",
        "GPULost",
        "GPUOutOfMemory",
        "GPUUnfit",
        "InsufficientGPUMemory",
        "Internal",
        "NotAModel",
        "NothingConvertible",
        "OutOfMemory",
        "SecretUnfit",
        "ServerFailed",
        "SignatureNotFound",
        "SourceChanged",
        "SourceNotFound",
        "SourceTooLarge",
        "SourceUnavailable",
        "SpeedupBelowThreshold",
        "StoreUnavailable",
        "UsageError",
    }
)
"""What a container of ours may give as its reason: the converter's failures. What it says beside that is quoted."""
_SIGNALLED = 128
"""Exit codes above this tell of a signal: somebody else ended the container."""


class FailureReport(ApiModel):
    """The termination message of a failed `tftrt` command."""

    code: int
    """The container's exit code; 0 where the pod failed and none of its containers did."""
    reason: str
    message: str


def latest_failure(pods: Iterable[ObservedPod]) -> FailureReport | None:
    """Return the failure that happened last in any of the pods, or None."""
    failures = [failure for pod in pods for failure in _failures(pod)]
    return max(failures, key=lambda failure: failure[0])[1] if failures else None


def _failures(pod: ObservedPod) -> Iterator[tuple[str, FailureReport]]:
    """Yield each failure of a pod with its time.

    A container that says why it ended knows best; of one that was made to end without a word, the pod knows why.
    """
    failed = [end for end in pod.terminations if end.exit_code != 0]
    for end in failed:
        told = _last_words(end)
        if told is None and pod.reason and end.exit_code > _SIGNALLED:
            told = _failure_of_pod(pod, end.exit_code)
        yield end.finished_at, told or _failure_of_container(end)
    if pod.reason and not failed:
        yield pod.created_at, _failure_of_pod(pod, 0)


def _last_words(termination: Termination) -> FailureReport | None:
    """Return what a container said when it ended, or what killed it before it could."""
    try:
        told = FailureReport.model_validate_json(termination.message)
    except ValidationError:
        pass
    else:
        # Any code in that container can write these words: a reason that is not on the list is none.
        if told.reason in CONTAINER_REASONS:
            message = f"container {termination.container} says {quote(told.message)}"
            return FailureReport(code=termination.exit_code, reason=told.reason, message=message)
        said = quote(f"{told.reason}: {told.message}")
        message = f"container {termination.container} ended with exit code {termination.exit_code}, and says {said}"
        return FailureReport(code=termination.exit_code, reason="ContainerFailed", message=message)
    if termination.reason == "OOMKilled":
        return FailureReport(
            code=termination.exit_code,
            reason="OutOfMemory",
            message=f"container {termination.container} was killed because it used more memory than its limit:"
            " raise the memory in spec.conversion.resources or spec.serving.resources",
        )
    return None


def _failure_of_container(termination: Termination) -> FailureReport:
    words = termination.message.strip().splitlines()
    return FailureReport(
        code=termination.exit_code,
        reason="ContainerFailed",
        message=f"container {termination.container} ended with exit code {termination.exit_code}"
        + (f", and says {quote(words[-1])}" if words else f" ({termination.reason or 'no reason given'})"),
    )


def _failure_of_pod(pod: ObservedPod, code: int) -> FailureReport:
    known = pod.reason in POD_REASONS
    words = quote(pod.message) if pod.message else "no more is known"
    return FailureReport(
        code=code,
        reason=pod.reason if known else "PodFailed",
        message=f"pod {pod.name}: {words}" if known else f"pod {pod.name}: {quote(pod.reason)}: {words}",
    )
