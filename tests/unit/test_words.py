"""Others' words are bounded and printable, wherever a person reads them."""

import pytest

from tftrt_operator.api.status import ConditionType
from tftrt_operator.domain.observation import JobState, Observation, Reference, Rejection
from tftrt_operator.domain.plan import plan
from tftrt_operator.domain.words import MESSAGE_CHARACTERS, printable, reason_or

from .builders import CATALOGUE, job, trtmodel
from .test_conversion import NOW


def test_control_characters_and_line_ends_become_spaces() -> None:
    assert printable("\x1b[2Jdone\r\n\n\u2028now\u202e \x00") == "[2Jdone now"


def test_a_long_text_is_cut_at_a_word_and_says_so() -> None:
    assert printable("word " * 10, 12) == "word word …"
    assert len(printable("x" * 10**6)) == MESSAGE_CHARACTERS


@pytest.mark.parametrize("reason", ["", "a b", "A\nB", "Serving\n", "R" * 1100, "x"])
def test_what_is_no_reason_is_replaced(reason: str) -> None:
    assert reason_or(reason, "Unknown") == "Unknown"
    assert reason_or("GPUOutOfMemory", "Unknown") == "GPUOutOfMemory"


def test_a_refusal_of_any_length_still_makes_a_status_and_an_event() -> None:
    model = trtmodel()
    refused = Rejection(Reference("Job", "default", "resnet50"), "Invalid value: \x1b" + "<" * 40_000, final=True)
    made = plan(model, CATALOGUE, Observation(rejections=(refused,)), NOW)
    assert made.status is not None
    ready = made.status.condition(ConditionType.READY)
    assert ready is not None
    message = ready.message
    assert len(message) <= MESSAGE_CHARACTERS
    assert message.isprintable()
    assert made.events[0].message.isprintable()


def test_an_annotation_of_any_length_is_no_number() -> None:
    model = trtmodel(metadata={"annotations": {"tftrt.dev/retry": "9" * 5000}})
    failed = plan(model, CATALOGUE, Observation(), NOW).writes.creates[0]
    observation = Observation(jobs=(job(model, failed.reference.name, state=JobState.FAILED),))
    made = plan(model, CATALOGUE, observation, NOW)
    assert made.status is not None
    ready = made.status.condition(ConditionType.READY)
    assert ready is not None
    assert "tftrt.dev/retry=1" in ready.message
