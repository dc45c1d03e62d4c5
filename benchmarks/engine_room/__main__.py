"""`python -m benchmarks.engine_room [--baseline CHECKOUT] [--models N...] [--builds this] [--add]`.

It exits with 1 where a goal is missed. With `--add` one build or size after the other can be measured.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.baseline import checkout, with_environment
from benchmarks.build import ROOT, Build
from benchmarks.machine import machine, machine_sentence
from benchmarks.performance import PAGE, page
from tests.cluster.progress import say

from .results import Run
from .run import Setting
from .summary import document, printed, rows, with_run

RESULTS = ROOT / "benchmarks" / "results"
BASELINE = "645c5b7"
BUILDS = ("baseline", "this")
SIZES = (1000, 5000, 10_000)
"""Of which the baseline has the first only."""


def main() -> int:
    """Measure, print a table, write the results and the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_room", description="The operator's engine room.")
    parser.add_argument("--baseline", type=Path, help=f"a checkout to measure beside this one (default: of {BASELINE})")
    parser.add_argument("--models", type=int, nargs="+", default=SIZES, help="the sizes (default: %(default)s)")
    parser.add_argument(
        "--changes", type=int, default=200, help="of specs, twice, of half the models at most (%(default)s)"
    )
    parser.add_argument("--idle-minutes", type=float, default=6, help="in which nothing changes (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to (default: %(default)s)")
    parser.add_argument(
        "--builds", nargs="+", choices=BUILDS, default=BUILDS, help="which of them to measure (default: %(default)s)"
    )
    parser.add_argument(
        "--add", action="store_true", help="to what the file has of the other build and other sizes, which stays"
    )
    arguments = parser.parse_args()
    # As an exception it unwinds the stack, and what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    def setting(name: str, build: Build, models: int) -> Setting:
        return Setting(name, build, models, min(arguments.changes, models // 2), arguments.idle_minutes)

    settings = []
    if "baseline" in arguments.builds:
        baseline = with_environment(arguments.baseline.resolve() if arguments.baseline else checkout(BASELINE))
        settings.append(setting("baseline", baseline, arguments.models[0]))
    if "this" in arguments.builds:
        settings += [setting("this build", Build(ROOT), models) for models in arguments.models]
    file = arguments.results / "engine-room.json"
    found = json.loads(file.read_text()) if arguments.add and file.exists() else document(machine(), [])

    def write(run: Run) -> None:
        """Write what is known; a part that comes later may fail, and this one stays."""
        nonlocal found
        found = with_run(found, machine(), run)
        file.write_text(json.dumps(found, indent=1) + "\n")
        if arguments.results == RESULTS:
            PAGE.write_text(page(RESULTS))

    say(f"about {sum(one.minutes for one in settings):.0f} minutes on two quiet cores")
    for one in settings:
        say(f"{one.sentence}, about {one.minutes:.0f} minutes")
        write(one.run(write))
    console = Console(width=160, highlight=False)
    console.print(printed(found))
    console.print(machine_sentence(machine()), soft_wrap=True)
    return 0 if all(row.is_reached for row in rows(found)) else 1


if __name__ == "__main__":
    sys.exit(main())
