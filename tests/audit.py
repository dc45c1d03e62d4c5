"""Known advisories of all that is locked, against those that a person has reviewed: `make audit`.

pip-audit asks an advisory service about every package of both `uv.lock`; `docs/advisories.toml` says which of its
answers are known and cannot be mended. Anything else fails: an advisory that is not in the list, an entry that no
advisory needs any more, and a package that the service does not know, which pip-audit by itself passes over.
"""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

ROOT = Path(__file__).parents[1]
REVIEWED = ROOT / "docs" / "advisories.toml"

# What is installed where, as `uv export` selects it: the extras of the converter conflict, so each is asked for alone.
LOCKS = {
    "operator": (ROOT, ("--no-dev",)),
    "operator-development": (ROOT, ("--only-group", "dev", "--only-group", "sbom")),
    "converter-cpu": (ROOT / "converter_image", ("--no-dev", "--extra", "cpu")),
    "converter-gpu": (ROOT / "converter_image", ("--no-dev", "--extra", "gpu")),
    "converter-development": (ROOT / "converter_image", ("--only-group", "dev", "--only-group", "sbom")),
}

Text = Annotated[str, Field(min_length=1)]


class Package(NamedTuple):
    """A package of one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


Locked = Mapping[Package, tuple[str, ...]]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True)


class Advisory(_Read):
    """What pip-audit prints of an advisory."""

    id: str
    aliases: tuple[str, ...] = ()
    fix_versions: tuple[str, ...] = ()
    description: str = ""


class Dependency(_Read):
    """What pip-audit prints of a package; it says why where it could not audit it, and then not which version."""

    name: str
    version: str | None = None
    vulns: tuple[Advisory, ...] = ()
    skip_reason: str | None = None


class Report(_Read):
    """What pip-audit prints."""

    dependencies: tuple[Dependency, ...]


class Review(_Read):
    """An advisory that a person has read, and that cannot be mended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    packages: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+==\S+$")], ...], Field(min_length=1)]
    why: Text
    reach: Text
    reviewed: datetime.date


class Reviews(_Read):
    """The list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    advisory: tuple[Review, ...] = ()


class AuditError(Exception):
    """The audit cannot be made, and why."""


def main() -> int:
    """Ask, judge and say; 1 where there is something to do, 2 where nothing could be asked."""
    try:
        reviews = parse_reviews(REVIEWED.read_text())
        locked = all_locked()
        report = ask(locked)
    except AuditError as error:
        print(f"audit: {error}", file=sys.stderr)
        return 2
    found = list(problems(report, reviews, locked))
    for sentence in found:
        print(f"audit: {sentence}", file=sys.stderr)
    if not found:
        print(f"audit: {len(locked)} packages; each of their advisories is reviewed: {len(reviews.advisory)}")
    return int(bool(found))


def parse_reviews(text: str) -> Reviews:
    """Read the list; a fault says which entry is wrong and how."""
    try:
        return Reviews.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise AuditError(f"docs/advisories.toml is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
        raise AuditError(f"docs/advisories.toml, {where}: {first['msg']}") from error


def all_locked() -> Locked:
    """Return which package is locked for what, whatever the Python and the platform."""
    uv = shutil.which("uv") or str(ROOT / ".venv-uv" / "bin" / "uv")
    places: dict[Package, list[str]] = defaultdict(list)
    for name, (project, selection) in LOCKS.items():
        options = ["--project", str(project), "--frozen", "--no-emit-project", "--format", "pylock.toml"]
        exported = _run("uv export", uv, "export", *options, *selection)
        if exported.returncode != 0:
            raise AuditError(f"uv export failed: {exported.stderr.strip()}")
        for package in tomllib.loads(exported.stdout)["packages"]:
            places[Package(package["name"], package["version"])].append(name)
    return {package: tuple(names) for package, names in places.items()}


def ask(locked: Locked) -> Report:
    """Have pip-audit ask about all of them, each once."""
    packages = [f'[[packages]]\nname = "{package.name}"\nversion = "{package.version}"' for package in locked]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pylock.toml").write_text("\n".join(['lock-version = "1.0"', *packages]))
        options = ["--locked", folder, "--format", "json", "--progress-spinner", "off"]
        asked = _run("pip-audit", sys.executable, "-m", "pip_audit", *options)
    # It exits with 1 where it has found something, too: what it printed says whether it came to an end.
    if not asked.stdout:
        raise AuditError(f"pip-audit failed: {(asked.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return Report.model_validate_json(asked.stdout)


def problems(report: Report, reviews: Reviews, locked: Locked) -> Iterator[str]:
    """A sentence for what was not audited, for each advisory that is not reviewed, and for each entry that is stale."""
    audited = {
        Package(found.name, found.version): found.vulns for found in report.dependencies if found.version is not None
    }
    missing = sorted(locked.keys() - audited.keys())
    if missing:
        why = next((found.skip_reason for found in report.dependencies if found.skip_reason), "pip-audit left them out")
        yield (
            f"{len(missing)} of {len(locked)} packages were not audited: {_first(missing)}. The first reason: {why}. "
            "Where the service cannot be reached from here, name another in PIP_AUDIT_VULNERABILITY_SERVICE"
        )
    entries = {(review.id, package) for review in reviews.advisory for package in review.packages}
    needed = set()
    for package, advisories in sorted(audited.items()):
        for advisory in advisories:
            known = entries & {(name, str(package)) for name in (advisory.id, *advisory.aliases)}
            needed |= known
            if not known:
                yield _sentence(package, advisory, locked.get(package, ()))
    for name, entry in sorted(entries - needed):
        if entry not in map(str, missing):
            yield f"docs/advisories.toml: no advisory needs the entry {name} for {entry} any more: take it out"


def _sentence(package: Package, advisory: Advisory, places: Iterable[str]) -> str:
    names = ", ".join((advisory.id, *sorted(advisory.aliases)))
    mended = f"mended in {', '.join(advisory.fix_versions)}" if advisory.fix_versions else "no version mends it"
    return (
        f"{package} ({', '.join(places)}) has {names}: {advisory.description[:300]} ({mended}). Take such a version by "
        f"`uv lock --upgrade-package {package.name}`, or review it in docs/advisories.toml"
    )


def _first(packages: list[Package]) -> str:
    return ", ".join(map(str, packages[:5])) + (", ..." if len(packages) > 5 else "")


def _run(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise AuditError(f"{name}: {error}; `make setup` installs it") from error


if __name__ == "__main__":
    sys.exit(main())
