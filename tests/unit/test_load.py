"""The load of the zero-loss tests counts what it is there to count."""

from tests.zero_loss.clients import Ask, Images, Totals
from tests.zero_loss.images import images, totals
from tests.zero_loss.load import Outcome, Traffic, ask_on


def outcome_of(ask: Ask, requests: int = 4) -> Outcome:
    left = iter([False] * requests)
    return ask_on(ask, Traffic("httpx", 2, 0.0), 7, lambda: next(left, True), lambda _: None)


def test_right_answers_are_no_failures() -> None:
    found = outcome_of(totals)
    assert (found.requests, found.failures) == (4, [])


def test_an_answer_to_somebody_elses_question_is_a_failure() -> None:
    found = outcome_of(lambda _: totals(images(2, seed=1000)))
    assert (found.requests, len(found.failures)) == (4, 4)
    assert "a wrong answer of shape (2, 3)" in found.failures[0].words


def test_an_answer_to_fewer_rows_is_a_failure() -> None:
    assert len(outcome_of(lambda asked: totals(asked[:1])).failures) == 4


def test_what_was_not_answered_is_a_failure_and_the_next_is_asked() -> None:
    asked = 0

    def every_other(question: Images) -> Totals:
        nonlocal asked
        asked += 1
        if asked % 2:
            raise ConnectionResetError("Connection reset by peer")
        return totals(question)

    found = outcome_of(every_other)
    assert found.requests == 4
    assert [failure.words for failure in found.failures] == ["ConnectionResetError: Connection reset by peer"] * 2
