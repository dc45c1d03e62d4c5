"""Runs every suite, also where one before it failed, and says at the end what failed in which.

The last suite is the operator's; what the others came to stands in its summary, so that pytest's own line is the last.
`python -m tests.suites` runs all, `python -m tests.suites NAME...` those of these names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
RESULTS = "TFTRT_SUITES"  # names the file that has what the suites before came to
CONVERTER = ROOT / "converter_image"

# What compares floating numbers that TensorFlow computed in the test's own process: they depend on the processor.
NUMERICAL = tuple(
    f"tests/test_{name}.py"
    for name in ("rounding", "pooling", "padding", "normalization", "reshapes", "einsum", "quick_call", "engines")
)
# Of the settings of `make numerics`, two that take other kernels than the rest of the tests does.
SHORT = {"SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"}, "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"}}


@dataclass(frozen=True)
class Suite:
    """A command whose exit code says whether it passed; one of pytest says which tests failed, too."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    is_pytest: bool = False


@dataclass(frozen=True)
class Result:
    """What a suite came to; `failed` are the names of its tests that failed, where it has any."""

    name: str
    code: int
    failed: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """One line for a person."""
        if self.code == 0:
            return f"passed  {self.name}"
        return f"FAILED  {self.name}: {', '.join(self.failed) or f'exit code {self.code}'}"


def converter(name: str, *arguments: str, **environment: str) -> Suite:
    """A suite of the converter's own tests, several at a time: most of the time of a test is the start of a process."""
    path = f"{CONVERTER / '.tools/bin'}:{os.environ['PATH']}"
    command = (".venv/bin/pytest", "-q", "--numprocesses", "auto", "--maxprocesses", "4", *arguments)
    return Suite(name, command, CONVERTER, {"PATH": path, **environment}, is_pytest=True)


def suites() -> list[Suite]:
    """All of them, in the order in which they run."""
    checks = [
        Suite(f"{tool} of {whose}", (f".venv/bin/{tool.split()[0]}", *tool.split()[1:]), folder)
        for whose, folder in (("the operator", ROOT), ("the converter", CONVERTER))
        for tool in ("ruff check", "ruff format --check", "mypy")
    ]
    return [
        *checks,
        Suite("import-linter", (".venv/bin/lint-imports",)),
        Suite("the converter's tools", ("converter_image/tests/tools.sh",)),
        converter("converter"),
        *(converter(f"numerics with {name}", *NUMERICAL, **settings) for name, settings in SHORT.items()),
        # Not beside the one that `make test` has begun: two builds would take each other's folders.
        Suite(
            "cluster images",
            (
                "bash",
                "-c",
                'while kill -0 "${TFTRT_BUILDING:--}"; do sleep 1; done 2> /dev/null;'
                " .venv/bin/python -m tests.cluster build",
            ),
        ),
        Suite("operator", (".venv/bin/pytest",), is_pytest=True),
    ]


def run(suite: Suite, before: list[Result]) -> Result:
    """Run a suite to its end."""
    print(f"\n=== {suite.name}", flush=True)
    BUILD.mkdir(exist_ok=True)
    xml, results = BUILD / "suite.xml", BUILD / "suites.json"
    xml.unlink(missing_ok=True)
    results.write_text(json.dumps([asdict(result) for result in before]))
    command = [*suite.command, *(["--junitxml", str(xml)] if suite.is_pytest else [])]
    environment = {**os.environ, **suite.environment, RESULTS: str(results)}
    try:
        code = subprocess.run(command, cwd=suite.folder, env=environment, check=False).returncode
    except OSError as error:  # the command is not there: what comes after it can still run
        print(f"{suite.name}: {error}", flush=True)
        code = 127
    return Result(suite.name, code, failed_tests(xml) if xml.exists() else ())


def failed_tests(xml: Path) -> tuple[str, ...]:
    """The tests that failed or could not be set up, as pytest names them in its report."""
    try:
        cases = ElementTree.parse(xml).iter("testcase")
    except ElementTree.ParseError:  # pytest ended while it wrote: the exit code says that much
        return ()
    return tuple(
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    )


def earlier() -> list[str]:
    """A line for each suite that ran before this one; none where a suite runs by itself."""
    if not (path := os.environ.get(RESULTS)):
        return []
    return [
        Result(found["name"], found["code"], tuple(found["failed"])).sentence
        for found in json.loads(Path(path).read_text())
    ]


def main(names: list[str]) -> int:
    """Run the suites of these names, or all; 1 where one failed."""
    results: list[Result] = []
    for suite in suites():
        if not names or suite.name in names:
            results.append(run(suite, results))
    return int(any(result.code for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
