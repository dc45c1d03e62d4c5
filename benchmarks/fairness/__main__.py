"""`python -m benchmarks.fairness [--baseline CHECKOUT]`; the exit code is 1 where the goal is not reached."""

import argparse
import json
import signal
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.build import ROOT, Build
from benchmarks.machine import machine, machine_sentence
from tests.cluster.progress import say

from .run import Run, Setting
from .summary import document, goal_sentence, is_goal_reached, table

RESULTS = ROOT / "benchmarks" / "results" / "fairness.json"
MODELS = 200
"""For longer than one of the hostile writes takes, so that some end and others begin meanwhile."""
BASELINE_HOSTILE_MODELS = 10
"""Each of them may wait for a minute."""


def main() -> int:
    """Measure, print a table and write the results; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description="Fairness between tenants.")
    parser.add_argument("--baseline", type=Path, help="a checkout of another build, to measure beside this one")
    parser.add_argument("--models", type=int, default=MODELS, help="of the honest namespace (default: %(default)s)")
    arguments = parser.parse_args()
    # As an exception it unwinds the stack, and what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    few = min(arguments.models, BASELINE_HOSTILE_MODELS)
    settings = [Setting("this build", Build(ROOT), hostile, arguments.models) for hostile in (False, True)]
    if arguments.baseline is not None:
        build = Build(arguments.baseline.resolve())
        settings += [Setting("baseline", build, False, arguments.models), Setting("baseline", build, True, few)]
    runs: list[Run] = []
    for setting in settings:
        say(setting.sentence)
        runs.append(setting.run())
    found = machine()
    RESULTS.write_text(json.dumps(document(found, runs), indent=1) + "\n")
    console = Console(width=140, highlight=False)
    console.print(table(runs))
    console.print(machine_sentence(found), soft_wrap=True)
    console.print(goal_sentence(runs), soft_wrap=True)
    return 0 if is_goal_reached(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
