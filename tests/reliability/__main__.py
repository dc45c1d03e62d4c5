"""`python -m tests.reliability`; it exits with 1 where a run fails, or where there were too few."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time

from rich.console import Console

from benchmarks.baseline import checkout, with_environment
from benchmarks.build import Build
from benchmarks.reliability import PAGE, page
from tests.cluster import Cluster
from tests.cluster.progress import say

from .campaign import Campaign, Goal, carried_out, references
from .faults import FAULTS
from .operators import THIS_BUILD
from .results import RESULTS, document, printed, write
from .runs import AT_ONCE, Harness, Outcome
from .scenarios import SCENARIOS

INSTANCE = 8
BASELINE = "645c5b7"
GOAL = Goal(fired=2000, each=5, kills=150)
LONGEST_SECONDS = 1800.0


async def measured(
    cluster: Cluster, build: Build, goal: Goal, faults: list[str], scenarios: list[str], seconds: float, at_once: int
) -> Campaign:
    """Learn what each scenario comes to without a fault, and then run it with faults."""
    chosen = {name: SCENARIOS[name] for name in scenarios}
    async with Harness.ready(cluster, build) as harness:
        if build is THIS_BUILD and harness.unknown_timers:
            raise SystemExit(f"timers.py names what there is not: {', '.join(harness.unknown_timers)}")
        known = await references(harness, chosen.values(), at_once)
        say(f"{len(known)} scenarios come to the same twice without a fault")
        kinds = {name: FAULTS[name] for name in faults}
        return await carried_out(harness, goal, chosen, kinds, known, seconds, _tell, at_once)


def _tell(outcome: Outcome) -> None:
    for failure in outcome.failures:
        say(f"{outcome.fault}, {outcome.scenario}, at {outcome.number}: {failure}")
    if outcome.failures:
        name = f"tftrt-{outcome.fault}-{outcome.scenario}-{outcome.number}-".replace(" ", "-")
        log, path = tempfile.mkstemp(".log", name)
        with os.fdopen(log, "w") as file:
            file.write(outcome.log)
        say(f"the operator's log: {path}")


def main() -> int:
    """Run, print a table and write the results; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description="Faults, in every scenario.")
    parser.add_argument("--baseline", action="store_true", help=f"run {BASELINE} instead, which has to fail")
    parser.add_argument("--fault", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="SCENARIO")
    parser.add_argument("--fired", type=int, default=GOAL.fired, help="runs in which a fault fires (%(default)s)")
    parser.add_argument("--seconds", type=float, default=LONGEST_SECONDS, help="at most (%(default)s)")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="runs at a time (%(default)s)")
    arguments = parser.parse_args()
    # As an exception it unwinds the stack, and what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    build = with_environment(checkout(BASELINE)) if arguments.baseline else THIS_BUILD
    is_whole = (arguments.fault, arguments.scenario) == (list(FAULTS), list(SCENARIOS)) and not arguments.baseline
    kills = GOAL.kills if is_whole else 0
    goal = Goal(arguments.fired, GOAL.each, kills)
    with Cluster(INSTANCE).api_server(build.folder / "crds") as cluster:
        began = time.monotonic()
        campaign = asyncio.run(
            measured(
                cluster,
                build,
                goal,
                arguments.fault,
                arguments.scenario,
                arguments.seconds,
                arguments.at_once,
            )
        )
        found = document(campaign, build.commit, time.monotonic() - began, arguments.at_once)
    Console(width=240, highlight=False).print(printed(found))
    if (is_whole and campaign.is_reached) or arguments.baseline:
        write("baseline" if arguments.baseline else "faults", found)
        PAGE.write_text(page(RESULTS.parent))
    return int(not campaign.is_reached or any(outcome.failures for outcome in campaign.outcomes))


if __name__ == "__main__":
    sys.exit(main())
