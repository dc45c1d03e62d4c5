"""What all tests share: the suite says how long it took, in pytest's own last lines."""

import time

import pytest

_started = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the time of the whole suite, set-up and clusters included."""
    terminalreporter.write_line(f"The suite took {time.monotonic() - _started:.0f} s.")
