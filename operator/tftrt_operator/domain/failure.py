"""How a container of ours ended badly, in the words that it left."""

from collections.abc import Iterable

from pydantic import ValidationError

from ..api.schema import ApiModel
from .observation import ObservedPod, Termination


class FailureReport(ApiModel):
    """The termination message of a failed `tftrt` command."""

    code: int
    reason: str
    message: str


def parse_failure(termination: Termination) -> FailureReport:
    """Return what a container said when it ended, or what Kubernetes says of it where it could not."""
    try:
        return FailureReport.model_validate_json(termination.message)
    except ValidationError:
        pass
    if termination.reason == "OOMKilled":
        return FailureReport(
            code=termination.exit_code,
            reason="OutOfMemory",
            message=f"container {termination.container} was killed because it used more memory than its limit:"
            " raise the memory in spec.conversion.resources or spec.serving.resources",
        )
    words = termination.message.strip().splitlines()
    return FailureReport(
        code=termination.exit_code,
        reason="ContainerFailed",
        message=f"container {termination.container} ended with exit code {termination.exit_code}"
        + (f": {words[-1]}" if words else f" ({termination.reason or 'no reason given'})"),
    )


def latest_failure(pods: Iterable[ObservedPod]) -> FailureReport | None:
    """Return the failure that happened last in any of the pods, or None."""
    failed = [end for pod in pods for end in pod.terminations if end.exit_code != 0]
    return parse_failure(max(failed, key=lambda end: end.finished_at)) if failed else None
