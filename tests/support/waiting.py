"""Waiting on conditions, never on sleeps."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

T = TypeVar("T")


def eventually(condition: Callable[[], T], seconds: float = 20) -> T:
    """Return what the condition returns once it raises no AssertionError and returns something true.

    Raises:
        AssertionError: it did not come true in time; the message is that of the last look.
    """

    def look() -> T:
        result = condition()
        assert result, "not yet"
        return result

    try:
        return Retrying(
            retry=retry_if_exception_type((AssertionError, KeyError, IndexError, StopIteration)),
            stop=stop_after_delay(seconds),
            wait=wait_fixed(0.1),
        )(look)
    except RetryError as error:
        cause = error.last_attempt.exception()
        raise AssertionError(f"not within {seconds} s: {type(cause).__name__}: {cause}") from cause
