"""`make audit` fails on what nobody has reviewed, on what was not asked, and on reviews that nothing needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import audit
from tests.audit import AuditError, Package, Report, parse_reviews, problems

# As pip-audit 2.10 prints them.
REPORT = json.dumps(
    {
        "dependencies": [
            {
                "name": "tensorflow",
                "version": "2.14.1",
                "vulns": [
                    {
                        "id": "PYSEC-0000-1",
                        "fix_versions": ["2.99.0"],
                        "aliases": ["CVE-0000-0001"],
                        "description": "A made-up advisory.",
                    }
                ],
            },
            {"name": "kopf", "version": "1.45.2", "vulns": []},
        ],
        "fixes": [],
    }
)
TENSORFLOW, KOPF = Package("tensorflow", "2.14.1"), Package("kopf", "1.45.2")
LOCKED = {TENSORFLOW: ("converter-gpu",), KOPF: ("operator",)}
ENTRY = """
[[advisory]]
id = "{id}"
packages = ["{package}"]
why = "It goes with TensorRT 8.5.3.1."
reach = "Nobody's."
reviewed = 2000-01-01
"""


def judged(reviews: str, report: str = REPORT) -> list[str]:
    return list(problems(Report.model_validate_json(report), parse_reviews(reviews), LOCKED))


def test_an_advisory_that_is_not_reviewed_is_said_with_what_mends_it_and_where_it_is_installed() -> None:
    [sentence] = judged("")
    assert sentence.startswith(
        "tensorflow==2.14.1 (converter-gpu) has PYSEC-0000-1, CVE-0000-0001: A made-up advisory."
    )
    assert "mended in 2.99.0" in sentence
    assert "uv lock --upgrade-package tensorflow" in sentence


@pytest.mark.parametrize("name", ["PYSEC-0000-1", "CVE-0000-0001"])
def test_an_advisory_that_is_reviewed_under_any_of_its_names_is_passed_over(name: str) -> None:
    assert judged(ENTRY.format(id=name, package="tensorflow==2.14.1")) == []


def test_a_review_is_of_one_version_and_is_stale_with_the_next() -> None:
    unreviewed, stale = judged(ENTRY.format(id="PYSEC-0000-1", package="tensorflow==2.14.0"))
    assert "has PYSEC-0000-1" in unreviewed
    assert "no advisory needs the entry PYSEC-0000-1 for tensorflow==2.14.0 any more" in stale


def test_what_the_service_knows_nothing_of_is_not_audited_and_its_reviews_are_not_stale() -> None:
    skipped = {"name": "tensorflow", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    report = json.loads(REPORT)
    report["dependencies"][0] = skipped
    [sentence] = judged(ENTRY.format(id="PYSEC-0000-1", package="tensorflow==2.14.1"), json.dumps(report))
    assert sentence.startswith(
        "1 of 2 packages were not audited: tensorflow==2.14.1. The first reason: Dependency not "
    )


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (ENTRY.format(id="X-1", package="tensorflow"), "advisory.1.packages.1: String should match"),
        (ENTRY.format(id="X-1", package="a==1").replace("Nobody's.", ""), "advisory.1.reach: String should have at"),
        ("[[advisory]\n", "is no TOML"),
    ],
)
def test_a_review_that_does_not_say_all_is_refused(entry: str, sentence: str) -> None:
    with pytest.raises(AuditError, match=sentence):
        parse_reviews(entry)


def test_the_list_of_this_repository_can_be_read() -> None:
    parse_reviews(audit.REVIEWED.read_text())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """An advisory service on this machine, of the kind OSV, and what names the package that it knows an advisory of."""
    affected: list[str] = []

    class Osv(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            advisory = {"id": "PYSEC-0000-2", "summary": "Made up.", "affected": []}
            body = json.dumps({"vulns": [advisory]} if asked in affected else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{server.server_port}")
        yield affected.append
        server.shutdown()


def test_all_that_is_locked_is_asked_of_the_service(
    service: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reviewed = tmp_path / "advisories.toml"
    reviewed.write_text("")
    monkeypatch.setattr(audit, "REVIEWED", reviewed)
    assert audit.main() == 0
    # Of the GPU's extra, which no Python of the tests can install.
    service("tensorrt")
    assert audit.main() == 1
    assert (
        "tensorrt==8.5.3.1 (converter-gpu) has PYSEC-0000-2: Made up. (no version mends it)" in capsys.readouterr().err
    )


def test_a_service_that_is_not_there_is_no_clean_bill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", "http://127.0.0.1:1")
    assert audit.main() == 2
    assert "audit: pip-audit failed: " in capsys.readouterr().err
