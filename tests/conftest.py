"""What all tests share: the suite says how long it took, in pytest's own last lines."""

import os
import time

import pytest

_started = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the time of the whole suite, set-up and clusters included."""
    terminalreporter.write_line(f"These tests took {time.monotonic() - _started:.0f} s.")
    if started := os.environ.get("MAKE_STARTED"):
        terminalreporter.write_line(f"The whole of make took {time.time() - int(started):.0f} s.")
