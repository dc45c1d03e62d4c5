"""The long run: `make random-graphs` writes `benchmarks/results/random-graphs.json`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.random_graphs.patterns import PATTERNS
from tests.random_graphs.run import Trial, trials
from tftrt_runtime.convert.rewrites import REWRITES

ROOT = Path(__file__).parents[3]
RESULT = ROOT / "benchmarks" / "results" / "random-graphs.json"
COUNT = 14_000  # so that the rarest rewrite is done often enough
LEAST_SHARE, LEAST_EACH = 0.4, 300  # graphs that are rewritten, and by each of the rewrites, of that many
WRITE_EVERY = 250  # graphs: what is known is not lost


def main() -> int:
    """Draw, rewrite and compare; 1 where an answer changed, or too little was rewritten to say so."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_graphs", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="how many graphs")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them; the others follow")
    parser.add_argument("--pattern", choices=list(PATTERNS), help="graphs of this pattern alone")
    parser.add_argument("--result", type=Path, default=RESULT, help="where to write the JSON")
    options = parser.parse_args()
    started, done = time.monotonic(), list[Trial]()
    for trial in trials(range(options.seed, options.seed + options.count), options.pattern):
        done.append(trial)
        for name, how in trial.mismatches.items():
            print(f"MISMATCH: seed {trial.seed}, {trial.pattern}, {name}: {how}", flush=True)
        if len(done) % WRITE_EVERY == 0 or len(done) == options.count:
            found = as_json(done, options.seed, time.monotonic() - started)
            options.result.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))
    faults = too_little(found) if options.count >= COUNT and options.pattern is None else []
    print(*faults, sep="\n")
    return 1 if found["mismatches"] or faults else 0


def as_json(done: Sequence[Trial], seed: int, seconds: float) -> dict[str, Any]:
    """All that is told of these trials."""

    def row(some: Sequence[Trial], name: str | None = None) -> dict[str, int]:
        rewritten = [trial for trial in some if (name in trial.rewritten if name else trial.rewritten)]
        return {
            "graphs": len(some),
            "rewritten": len(rewritten),
            "places": sum(
                trial.rewritten.get(name, 0) if name else sum(trial.rewritten.values()) for trial in rewritten
            ),
            "inLoops": sum(trial.in_loop for trial in rewritten),
            "notCompared": sum(bool(name in trial.not_compared if name else trial.not_compared) for trial in some),
            "mismatches": sum(bool(name in trial.mismatches if name else trial.mismatches) for trial in some),
        }

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip(),
        "tensorflow": tf.__version__,
        "python": sys.version.split()[0],
        "firstSeed": seed,
        "seconds": round(seconds),
        "all": row(done),
        "patterns": {name: row([trial for trial in done if trial.pattern == name]) for name in PATTERNS},
        "rewrites": {rewrite.name: row(done, rewrite.name) for rewrite in REWRITES},
        "mismatches": [
            {"seed": trial.seed, "pattern": trial.pattern, "rewrite": name, "how": how}
            for trial in done
            for name, how in trial.mismatches.items()
        ],
        "notCompared": [
            {"seed": trial.seed, "pattern": trial.pattern, "rewrite": name, "why": why}
            for trial in done
            for name, why in trial.not_compared.items()
        ],
    }


def table(found: dict[str, Any]) -> str:
    """The counts, for a person."""
    columns = ["graphs", "rewritten", "places", "inLoops", "notCompared", "mismatches"]
    rows = {"all": found["all"], **found["patterns"], **{f"by {name}": row for name, row in found["rewrites"].items()}}
    width = max(map(len, rows))
    lines = ["  ".join(["".ljust(width), *columns])]
    lines += [
        "  ".join([name.ljust(width), *(str(row[key]).rjust(len(key)) for key in columns)])
        for name, row in rows.items()
    ]
    return "\n".join([*lines, f"{found['seconds']} s"])


def too_little(found: dict[str, Any]) -> list[str]:
    """Why so few graphs were rewritten that this says little."""
    share = found["all"]["rewritten"] / found["all"]["graphs"]
    faults = [f"only {share:.0%} of the graphs were rewritten"] if share < LEAST_SHARE else []
    return faults + [
        f"{name}: only in {row['rewritten']} graphs"
        for name, row in found["rewrites"].items()
        if row["rewritten"] < LEAST_EACH
    ]


if __name__ == "__main__":
    sys.exit(main())
