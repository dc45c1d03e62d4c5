"""A slice of `make reliability`: each fault in some scenarios, and each scenario with some faults."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.cluster import Cluster

from .__main__ import INSTANCE, measured
from .campaign import Goal
from .faults import FAULTS
from .operators import THIS_BUILD
from .scenarios import SCENARIOS

SECONDS = 75.0
LEAST_FIRED = 15
"""Of a machine that is busy with other things; an idle one does several times that."""
AT_ONCE = 12


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(INSTANCE).api_server(THIS_BUILD.folder / "crds") as found:
        yield found


def test_no_fault_changes_the_end(cluster: Cluster) -> None:
    slice_ = measured(cluster, THIS_BUILD, Goal(10_000, 1), list(FAULTS), list(SCENARIOS), SECONDS, AT_ONCE)
    campaign = asyncio.run(slice_)
    failed = [
        f"{one.fault}, {one.scenario}, at {one.number}: {'; '.join(one.failures)}"
        for one in campaign.outcomes
        if one.failures
    ]
    assert not failed, "\n".join(failed)
    fired = sum(campaign.fired.values())
    assert fired >= LEAST_FIRED, f"in {SECONDS:g} s a fault came {fired} times of {len(campaign.outcomes)}"
