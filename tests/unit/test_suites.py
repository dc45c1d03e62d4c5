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
    monkeypatch.setattr(suites, "groups", lambda: {suite.name: [suite] for suite in made})
    monkeypatch.setattr(suites, "CLUSTER", Suite("cluster images", ("true",)))
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


def test_what_the_cluster_is_made_of_is_never_built_twice_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = tmp_path / "building"
    # A folder can be made once: a second build beside the first would fail.
    build = Suite("cluster images", ("sh", "-c", f"mkdir {building} && sleep 0.3 && rmdir {building}"))
    monkeypatch.setattr(suites, "CLUSTER", build)
    monkeypatch.setattr(suites, "groups", lambda: {"operator": [build]})
    monkeypatch.setattr(suites, "BUILD", tmp_path / "build")
    assert suites.main([]) == 0


def test_all_settings_are_run_where_they_are_asked_for_alone() -> None:
    assert set(suites.SHORT) < set(suites.settings_here())
    assert {"AVX2", "oneDNN off", "1 thread", "2 threads", "8 threads"} <= set(suites.settings_here())
    assert "numerics" in suites.BESIDES
