"""Who asks in every wrong way gets the protocol's error, and harms nobody else; `make bad-requests` is the long run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.bad_requests.memory import Sample, slope
from tests.bad_requests.run import bombard
from tests.box import Server

EACH = 50


def test_a_bad_request_gets_its_error_and_harms_nobody(served: Callable[[str], Server]) -> None:
    server = served("several")
    found = bombard(server, EACH)
    assert found.unexpected() == []
    for honest in found.honest.values():
        assert honest.answered > EACH
    assert server.process.poll() is None


def test_the_slope_of_memory_is_that_after_it_has_warmed_up() -> None:
    """A quarter of an hour: 40 MiB in the first minutes, then one MiB a minute."""
    samples = [Sample(60.0 * minute, {"server": 100.0 + min(40, 20 * minute) + minute}) for minute in range(16)]
    assert slope(samples, "server") == pytest.approx(60.0)
