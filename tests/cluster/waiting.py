"""Waiting on conditions with a deadline and a sentence."""

from collections.abc import Callable

from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed


def wait_for(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """Return once the condition holds.

    Raises:
        TimeoutError: it does not hold in time.
    """
    look = retry(retry=retry_if_result(lambda held: not held), stop=stop_after_delay(seconds), wait=wait_fixed(0.1))(
        condition
    )
    try:
        look()
    except RetryError as error:
        raise TimeoutError(f"{what}: not within {seconds:.0f} s") from error
