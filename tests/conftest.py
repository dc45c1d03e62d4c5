"""What all tests share: the suite says how long it took, in pytest's own last lines."""

import os
import time

import pytest

from tests import suites

_started = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the suites before came to, and the time of this one, set-up and clusters included."""
    if lines := suites.earlier():
        terminalreporter.section("suites before this one")
        for line in lines:
            terminalreporter.write_line(line)
    terminalreporter.write_line(f"These tests took {time.monotonic() - _started:.0f} s.")
    if started := os.environ.get("MAKE_STARTED"):
        terminalreporter.write_line(f"The whole of make took {time.time() - int(started):.0f} s.")
