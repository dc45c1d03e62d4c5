"""Writes docs/start.md from start*.json and image-size.json in `results/` (`make start-results`).

A unit test holds the page to be just what this makes of the files: no figure of a run is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import image_size
from benchmarks.start import summary

Told = dict[str, Any]
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "start.md"
WORDS = ROOT / "benchmarks" / "start"
"""Where what is written by hand lies."""

HEAD = """# How long it takes until something is there

Written by `make start-results` from what `python -m benchmarks.start` and `python -m benchmarks.image_size` wrote; a
test fails when page and files differ. How it came about is in [decision 49](decisions/0049-what-a-start-costs.md).
"""

TIMES = """## A conversion, and a server that becomes ready

Builds take turns in one environment. Of each the quickest round counts, for what else a machine does makes one slower;
beside the seconds are those of the processor, by all processes together.
"""


def page(results: Path) -> str:
    """The whole page; a part without its file is left out."""
    return "\n".join(_parts(results))


def _parts(results: Path) -> Iterable[str]:
    yield HEAD
    yield TIMES
    for file in (results / "start.json", *sorted(results.glob("*/start.json"))):
        if file.exists():
            found = json.loads(file.read_text())
            yield _machine(found)
            yield summary.markdown(found)
    yield (WORDS / "conversion.md").read_text()
    yield (WORDS / "server.md").read_text()
    yield (WORDS / "image.md").read_text()
    if (sizes := results / "image-size.json").exists():
        yield image_size.markdown(json.loads(sizes.read_text()))


def _machine(found: Told) -> str:
    machine = found["machine"]
    what = (
        f"one {machine['gpu']} and {machine['cores']} cores" if machine["gpu"] else f"{machine['cores']} cores, no GPU"
    )
    return (
        f"### On {what}\n\n{found['rounds']} rounds of each, which ended at {found['finishedAt']}; the machine's load "
        f"was {machine['load']} when they began, where more than there are cores says that others worked, too.\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(ROOT / "benchmarks" / "results"))
