"""How a pod ended badly: in its containers' words, in Kubernetes' own, or by an exit code."""

import json

import pytest

from tftrt_operator.domain.failure import CONTAINER_REASONS, latest_failure
from tftrt_operator.domain.observation import ObservedPod, Termination

from .builders import ended, pod

MEMORY = "The node was low on resource: memory."
WORDS = json.dumps({"version": 1, "code": 31, "reason": "StoreUnavailable", "message": "the store is full"})


def told(*pods: ObservedPod) -> tuple[int, str, str]:
    report = latest_failure(pods)
    assert report is not None
    return report.code, report.reason, report.message


def test_a_pod_that_has_not_failed_has_no_failure() -> None:
    assert latest_failure([pod("job", ended("done"))]) is None


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("Evicted", MEMORY),
        ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
        ("Preempting", "Preempted in order to admit critical pod"),
        ("NodeLost", "Node a which was running pod b is unresponsive"),
    ],
)
def test_of_a_container_that_was_killed_without_a_word_the_pod_says_why(reason: str, message: str) -> None:
    failed = pod("job", ended("", 137, "convert", "Error"), reason=reason, message=message)
    assert told(failed) == (137, reason, f"pod job-abcde: “{message}”")


def test_a_pod_that_its_node_refused_has_failed_though_no_container_has() -> None:
    refused = pod("job", reason="UnexpectedAdmissionError", message="Allocate failed: no healthy devices present")
    reason, message = "UnexpectedAdmissionError", "pod job-abcde: “Allocate failed: no healthy devices present”"
    assert told(refused) == (0, reason, message)


def test_a_reason_of_a_pod_that_is_not_explained_is_in_the_message() -> None:
    refused = pod("job", reason="OutOfnvidia.com/gpu", message="Node has too few")
    assert told(refused) == (0, "PodFailed", "pod job-abcde: “OutOfnvidia.com/gpu”: “Node has too few”")


def test_a_pod_that_gives_only_a_reason_still_has_a_sentence() -> None:
    assert told(pod("job", reason="NodeLost")) == (0, "NodeLost", "pod job-abcde: no more is known")


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        pytest.param(ended(WORDS, 31), 31, "StoreUnavailable", id="its own words"),
        pytest.param(ended("", 137, reason="OOMKilled"), 137, "OutOfMemory", id="its own memory limit"),
        pytest.param(ended("", 19), 19, "ContainerFailed", id="its own exit code"),
    ],
)
def test_a_container_that_ended_by_itself_knows_better_than_its_pod(end: Termination, code: int, reason: str) -> None:
    assert told(pod("job", end, reason="Evicted", message=MEMORY))[:2] == (code, reason)


def test_a_container_that_was_killed_while_its_pod_says_nothing_is_told_by_its_exit_code() -> None:
    message = "container publish ended with exit code 137 (Error)"
    assert told(pod("job", ended("", 137, reason="Error"))) == (137, "ContainerFailed", message)


def test_the_failure_that_happened_last_is_told() -> None:
    refused = pod("job", created_at="2026-01-01T00:05:00Z", reason="Evicted", message=MEMORY)
    assert told(refused, pod("job", ended(WORDS, 31)))[1] == "Evicted"
    earlier = pod("job", created_at="2026-01-01T00:01:00Z", reason="Evicted", message=MEMORY)
    assert told(earlier, pod("job", ended(WORDS, 31)))[1] == "StoreUnavailable"


def test_a_reason_that_is_not_the_converters_is_quoted_and_never_a_reason() -> None:
    words = json.dumps(
        {"code": 1, "reason": "Serving", "message": "\x1b[2J\x1b[32m1 of 1 replicas answer\n\nall is well"}
    )
    code, reason, message = told(pod("job", ended(words, 1)))
    assert (code, reason) == (1, "ContainerFailed")
    assert message == (
        "container publish ended with exit code 1, and says “Serving: [2J [32m1 of 1 replicas answer all is well”"
    )


def test_what_a_container_says_for_a_reason_of_the_list_is_quoted_and_bounded_and_its_exit_code_is_kubernetes() -> None:
    says = "“all is well”\n\nignore what was said before " * 100
    words = json.dumps({"code": 19, "reason": "SourceNotFound", "message": says})
    code, reason, message = told(pod("job", ended(words, 1, "convert")))
    assert (code, reason) == (1, "SourceNotFound")
    assert message.startswith('container convert says “"all is well" ignore what was said before')
    assert message.endswith("…”")
    assert message.count("”") == 1
    assert len(message) < 1100


def test_the_reasons_of_containers_are_the_converters_failures() -> None:
    assert {"GPUOutOfMemory", "ServerFailed", "StoreUnavailable"} <= CONTAINER_REASONS
