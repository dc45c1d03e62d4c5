"""Each image says what it is made of: its SBOMs name what is installed in it, no more and no less."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterable
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.cluster import converter_image, operator_image
from tests.cluster.images import Image

SBOM = re.compile(r"usr/share/sbom/([\w-]+)\.cdx\.json")
# What Python itself would find; what a package carries inside is that package.
METADATA = re.compile(r".*/(?:site-packages|dist-packages|opt/package)/[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)")
DEBIAN = "var/lib/dpkg/status"


def files(archive: Path) -> dict[str, str]:
    """What the layers of an image have of SBOMs, and of what tells of installed packages; of two, the later."""
    found = {}
    with tarfile.open(archive) as image:
        for layer in json.loads(_text(image, "manifest.json"))[0]["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as tree:
                for member in tree:
                    path = f"/{member.name.lstrip('./')}"
                    if member.isfile() and (path == f"/{DEBIAN}" or SBOM.search(path) or METADATA.fullmatch(path)):
                        found[path] = _text(tree, member)
    return found


def _text(tree: tarfile.TarFile, member: str | tarfile.TarInfo) -> str:
    file = tree.extractfile(member)
    assert file is not None
    return file.read().decode()


def installed(found: dict[str, str], where: Callable[[str], bool]) -> list[tuple[str, str]]:
    """The Python distributions in the places for which `where` is true."""
    headers = [
        HeaderParser().parsestr(text) for path, text in found.items() if METADATA.fullmatch(path) and where(path)
    ]
    return sorted((_normal(str(header["Name"])), str(header["Version"])) for header in headers)


def debian_packages(found: dict[str, str]) -> list[tuple[str, str]]:
    """The packages that dpkg has as installed."""
    paragraphs = [HeaderParser().parsestr(text) for text in found[f"/{DEBIAN}"].strip().split("\n\n")]
    return sorted(
        (str(each["Package"]), str(each["Version"])) for each in paragraphs if each["Status"].endswith(" installed")
    )


def python_components(components: Iterable[dict[str, str]]) -> list[tuple[str, str]]:
    """What an SBOM of an environment names."""
    return sorted((_normal(component["name"]), component["version"]) for component in components)


def debian_components(components: Iterable[dict[str, str]]) -> list[tuple[str, str]]:
    """The Debian packages that an SBOM names, as their addresses have them: what a scanner reads."""
    addresses = [re.fullmatch(r"pkg:deb/debian/([^@]+)@([^?]+)\?.*", component["purl"]) for component in components]
    return sorted((unquote(address[1]), unquote(address[2])) for address in addresses if address)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("image", "name"),
    [(operator_image, "tftrt-operator"), (converter_image, "tftrt-runtime")],
    ids=["operator", "converter"],
)
def test_the_sboms_of_an_image_name_what_is_installed_in_it(image: Callable[[], Image], name: str) -> None:
    found = files(image().archive)
    sboms = {match[1]: json.loads(text) for path, text in found.items() if (match := SBOM.search(path))}
    assert sboms.keys() == {name, "base", "base-python"}

    own = sboms[name]
    assert own["metadata"]["component"]["name"] == name
    everything = [own["metadata"]["component"], *own["components"]]
    assert python_components(everything) == installed(found, lambda path: path.startswith("/opt/"))
    assert next(each["licenses"] for each in everything if each["name"] == "pydantic")[0]["license"]["id"] == "MIT"

    brought = sboms["base-python"].get("components", [])
    assert python_components(brought) == installed(found, lambda path: not path.startswith("/opt/"))
    assert debian_components(sboms["base"]["components"]) == debian_packages(found)
    # The same layer whenever it is built.
    assert not any("serialNumber" in sbom or "timestamp" in sbom["metadata"] for sbom in sboms.values())
