"""Who asks in every wrong way gets the protocol's error, and harms nobody else; `make bad-requests` is the long run."""

from __future__ import annotations

from collections.abc import Callable

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
