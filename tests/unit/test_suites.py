"""All suites run, and the summary names what failed in which."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import suites
from tests.suites import Result, Suite

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that fails, tests of which one fails, and tests that say in their summary what was before."""
    bodies = {"broken": "def test_a(): pass\n\ndef test_b(): assert 0\n", "last": "def test_c(): pass\n"}
    for name, body in bodies.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(body)
    (tmp_path / "last/conftest.py").write_text(
        "from tests import suites\n\ndef pytest_terminal_summary(terminalreporter):\n"
        "    terminalreporter.write_line('; '.join(suites.earlier()))\n"
    )
    root = {"PYTHONPATH": str(suites.ROOT)}
    made = [
        Suite("check", ("false",)),
        Suite("broken", (*PYTEST, "broken"), tmp_path, root, is_pytest=True),
        Suite("last", (*PYTEST, "last"), tmp_path, root, is_pytest=True),
    ]
    monkeypatch.setattr(suites, "suites", lambda: made)
    monkeypatch.setattr(suites, "BUILD", tmp_path / "build")


@pytest.mark.usefixtures("three")
def test_all_run_though_the_first_fails_and_the_last_names_what_failed(capfd: pytest.CaptureFixture[str]) -> None:
    assert suites.main([]) == 1
    printed = capfd.readouterr().out
    assert "FAILED  check: exit code 1; FAILED  broken: broken.test_broken::test_b" in printed
    assert printed.splitlines()[-1].startswith("1 passed")


@pytest.mark.usefixtures("three")
def test_what_passes_ends_with_zero() -> None:
    assert suites.main(["last"]) == 0


def test_a_suite_that_passed_is_named_too() -> None:
    assert Result("converter", 0).sentence == "passed  converter"


def test_a_command_that_is_not_there_and_a_report_that_is_cut_off_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "BUILD", tmp_path)
    assert suites.run(Suite("missing", ("./no-such-command",)), []) == Result("missing", 127)
    (tmp_path / "cut.xml").write_text("<testsuites><testcase")
    assert suites.failed_tests(tmp_path / "cut.xml") == ()
