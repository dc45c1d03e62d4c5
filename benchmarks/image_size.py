"""What the converter's images are made of: `python -m benchmarks.image_size VENV cpu|gpu`, with the environment of one.

VENV is what the Dockerfile's `uv sync` makes, before anything is left out, with bytecode:

    cd converter_image && UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=VENV uv sync --frozen --no-dev --extra gpu \\
        --no-install-project --python 3.10

Sizes are those of the files; what a registry sends is compressed, which the sizes of the wheels tell (`uv.lock`).
Nothing is changed. Writes `benchmarks/results/image-size.json` and prints a table.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tables import table

ROOT = Path(__file__).parents[1]
CONVERTER = ROOT / "converter_image"
RESULTS = ROOT / "benchmarks" / "results" / "image-size.json"
MB = 1e6
LEAST_MB = 20.0  # of a package that has a row of its own
Told = dict[str, Any]


@dataclass(frozen=True)
class Package:
    """One that is installed, in bytes: its files, those of them that are left out, and its wheel."""

    name: str
    version: str
    size: int
    left_out: int
    wheel: int


def packages(venv: Path, out: Iterable[str]) -> list[Package]:
    """The largest first."""
    (site,) = venv.glob("lib/python3.*/site-packages")
    gone = {file: size for pattern in out for file, size in gone_bytes(venv, pattern)}
    wheels = _wheels(f"cp{site.parent.name.removeprefix('python').replace('.', '')}")
    found = []
    for record in site.glob("*.dist-info/RECORD"):
        name, version = record.parent.name.removesuffix(".dist-info").rsplit("-", 1)
        files = _files(record, site)
        sizes = {file: file.stat().st_size for file in files}
        left_out = sum(gone.get(file, 0) for file in files)
        found.append(Package(name, version, sum(sizes.values()), left_out, wheels.get((_normal(name), version), 0)))
    return sorted(found, key=lambda one: -one.size)


def _files(record: Path, site: Path) -> set[Path]:
    """The files of a package, with the bytecode of its modules, which no wheel lists."""
    with record.open(newline="") as rows:
        listed = [Path(os.path.normpath(site / row[0])) for row in csv.reader(rows) if row]
    sources = [file for file in listed if file.suffix == ".py"]
    bytecode = [made for file in sources for made in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc")]
    return {file for file in (*listed, *bytecode) if file.is_file() and not file.is_symlink()}


def _wheels(python: str) -> dict[tuple[str, str], int]:
    """The bytes of each package's wheel that this Python on Linux takes."""
    lock = tomllib.loads((CONVERTER / "uv.lock").read_text())
    fitting = re.compile(rf"-({python}|py3|py2\.py3|cp3\d+-abi3)[-.][^/]*(any|linux[^/]*x86_64[^/]*)\.whl$")
    found = {}
    for one in lock["package"]:
        sizes = [wheel["size"] for wheel in one.get("wheels", ()) if fitting.search(wheel["url"])]
        if sizes:
            found[_normal(one["name"]), one["version"]] = max(sizes)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def leaving_out() -> Any:
    """The module that the Dockerfile runs."""
    sys.path.insert(0, str(CONVERTER))
    try:
        return importlib.import_module("leave_out")
    finally:
        sys.path.pop(0)


def left_out(image: str) -> list[tuple[str, str]]:
    """The paths that the image leaves out, and why."""
    module = leaving_out()
    return list(module.left_out(image, module.LIST.read_text()))


def gone_bytes(venv: Path, pattern: str) -> Iterable[tuple[Path, int]]:
    """The files that a path names, and how much of each goes."""
    module = leaving_out()
    for file in {file for path in module.found(venv, pattern) for file in (path, *path.rglob("*"))}:
        if file.is_file() and not file.is_symlink():
            size, symbols = file.stat().st_size, pattern.startswith(module.SYMBOLS)
            yield file, size - module.loaded_bytes(file) if symbols else size


def measure(venv: Path, image: str) -> Told:
    """Of one image: its packages, what it leaves out, and its own package."""
    out = left_out(image)
    own = [
        file for file in (CONVERTER / "tftrt_runtime").rglob("*") if file.is_file() and "__pycache__" not in file.parts
    ]
    return {
        "packages": [
            {"name": one.name, "version": one.version, "bytes": one.size, "leftOut": one.left_out, "wheel": one.wheel}
            for one in packages(venv, [pattern for pattern, _ in out])
        ],
        "leftOut": [
            {"path": pattern, "bytes": sum(size for _, size in gone_bytes(venv, pattern)), "why": why}
            for pattern, why in out
        ],
        "ownBytes": sum(file.stat().st_size for file in own),
    }


def markdown(found: Told) -> str:
    """The tables of all images that were measured."""
    return "\n".join(part for image, told in sorted(found.items(), reverse=True) for part in _parts(image, told))


def _parts(image: str, told: Told) -> Iterable[str]:
    before = sum(one["bytes"] for one in told["packages"])
    gone = sum(one["leftOut"] for one in told["packages"])
    pulled = sum(one["wheel"] for one in told["packages"])
    yield (
        f"The `{image}` image: {before / MB:,.0f} MB of packages are installed ({pulled / MB:,.0f} MB of wheels), "
        f"{gone / MB:,.0f} MB of them are left out, and {(before - gone) / MB:,.0f} MB are its largest layer. This "
        f"project's own package is another: {told['ownBytes'] / MB:.1f} MB of sources, and their bytecode.\n"
    )
    large = [one for one in told["packages"] if one["bytes"] >= LEAST_MB * MB]
    rest = [one for one in told["packages"] if one["bytes"] < LEAST_MB * MB]
    rows = [[f"{one['name']} {one['version']}", *_megabytes([one])] for one in large]
    yield table(
        ["package", "wheel", "installed", "left out", "in the image"],
        [*rows, [f"{len(rest)} others", *_megabytes(rest)]],
    )
    yield table(
        ["left out", "MB", "why nothing misses it"],
        [[f"`{one['path']}`", f"{one['bytes'] / MB:.1f}", one["why"]] for one in told["leftOut"]],
    )


def _megabytes(some: list[Told]) -> list[str]:
    wheel, size, gone = (sum(one[key] for one in some) for key in ("wheel", "bytes", "leftOut"))
    return [f"{each / MB:,.0f}" for each in (wheel, size, gone, size - gone)]


def main() -> int:
    """Measure, print, write beside what the file has of the other image."""
    venv, image = Path(sys.argv[1]), sys.argv[2]
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found[image] = measure(venv, image)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(markdown({image: found[image]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
