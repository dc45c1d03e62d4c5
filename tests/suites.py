"""Runs every suite, also where one before it failed, and says at the end what failed in which.

The last suite is the operator's; what the others came to stands in its summary, so that pytest's own line is the last.
`python -m tests.suites` runs all that `make test` does, `python -m tests.suites GROUP...` those of these groups.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
RESULTS = "TFTRT_SUITES"  # names the file that has what the suites before came to
CONVERTER = ROOT / "converter_image"

# What compares floating numbers that TensorFlow computed in the test's own process: they depend on the processor.
NUMERICAL = tuple(
    f"tests/test_{name}.py"
    for name in (
        "rounding",
        "pooling",
        "padding",
        "normalization",
        "spelled_out",
        "reshapes",
        "einsum",
        "rewrites",
        "random_graphs",
        "quick_call",
        "engines",
    )
)
# What changes which kernel TensorFlow takes, and so how it rounds.
SETTINGS = {
    "SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "1 thread": {"TF_NUM_INTRAOP_THREADS": "1"},
    "2 threads": {"TF_NUM_INTRAOP_THREADS": "2"},
    "8 threads": {"TF_NUM_INTRAOP_THREADS": "8"},
}
# Of these, two that take other kernels than the rest of the tests does: a part of `make test`.
SHORT = ("SSE4.1", "oneDNN off")


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


def numerics(settings: Iterable[str]) -> list[Suite]:
    """The tests of what TensorFlow computes, once with each of these settings."""
    return [converter(f"numerics with {name}", *NUMERICAL, **SETTINGS[name]) for name in settings]


def settings_here() -> list[str]:
    """The settings that this processor has the instructions for."""
    has_avx512 = "avx512f" in Path("/proc/cpuinfo").read_text().split()
    return [name for name in SETTINGS if name != "AVX-512" or has_avx512]


def groups() -> dict[str, list[Suite]]:
    """All of them, in the order in which they run; those in `BESIDES` only where they are asked for."""
    checks = [
        Suite(f"{tool} of {whose}", (f".venv/bin/{tool.split()[0]}", *tool.split()[1:]), folder)
        for whose, folder in (("the operator", ROOT), ("the converter", CONVERTER))
        for tool in ("ruff check", "ruff format --check", "mypy")
    ]
    tools = Suite("the converter's tools", ("converter_image/tests/tools.sh",))
    return {
        "lint": [*checks, Suite("import-linter", (".venv/bin/lint-imports",))],
        "converter": [tools, converter("converter")],
        "short-numerics": numerics(SHORT),
        "numerics": numerics(settings_here()),
        "operator": [CLUSTER, Suite("operator", (".venv/bin/pytest",), is_pytest=True)],
    }


BESIDES = ("numerics",)
CLUSTER = Suite("cluster images", (".venv/bin/python", "-m", "tests.cluster", "build"))


@contextmanager
def cluster_being_built() -> Iterator[Callable[[], object]]:
    """Build what the cluster is made of beside other suites; what this yields waits until that is over.

    The converter's tests wait more than they compute. Two builds at once would take each other's folders: the suite
    that follows waits, and finds everything there, or says what is missing.
    """
    command = ["nice", "-n", "19", *CLUSTER.command]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as building:
        try:
            yield building.wait
        finally:
            building.terminate()


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
    """Run the groups of these names, or all that `make test` runs; 1 where a suite failed."""
    results: list[Result] = []
    with cluster_being_built() if not names else nullcontext(lambda: None) as wait_until_built:
        for group, members in groups().items():
            if group not in names and (names or group in BESIDES):
                continue
            for suite in members:
                if suite is CLUSTER:
                    wait_until_built()
                results.append(run(suite, results))
    if names:  # the last of them need not be one whose summary says what the others came to
        print("", *(result.sentence for result in results), sep="\n")
    return int(any(result.code for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
