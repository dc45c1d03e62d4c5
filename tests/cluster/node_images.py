"""The images that a node's containerd has."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from . import layers
from .ctr import ctr
from .layout import NodeLayout

SNAPSHOTTER = "overlayfs"


def load(node: NodeLayout, archive: Path) -> None:
    """Import an image archive where the kubelet finds it."""
    ctr(node, "images", "import", "--snapshotter", SNAPSHOTTER, str(archive))


def has(node: NodeLayout, name: str) -> bool:
    """Return whether an image is there."""
    return name in ctr(node, "images", "ls", "-q").split()


def name_anew(node: NodeLayout, name: str, other: str) -> None:
    """Have an image under one more name."""
    ctr(node, "images", "tag", "--force", name, other)


def copy(name: str, of: NodeLayout, to: NodeLayout) -> None:
    """Have a node know an image of another one, whose unpacked files it shares by hard links.

    To import it once more would take a minute and gigabytes. What an image is made of is never written to, and a node
    that has a layer unpacked does not ask for the layer itself.
    """
    manifest = ctr(of, "content", "get", _digest(of, name))
    config = ctr(of, "content", "get", json.loads(manifest)["config"]["digest"])
    chain = ["", *_chain(json.loads(config)["rootfs"]["diff_ids"])]
    for parent, layer in pairwise(chain):
        if not _is_unpacked(to, layer):
            _share(layer, parent, of, to)
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        archive.write(layers.layout(name, manifest.encode(), config.encode()))
        archive.flush()
        load(to, Path(archive.name))


def _digest(node: NodeLayout, name: str) -> str:
    (found,) = [line.split() for line in ctr(node, "images", "ls", f"name=={name}").splitlines()[1:]]
    return found[2]


def _chain(layer_digests: list[str]) -> Iterator[str]:
    """Yield the names of a layer and all below it together (image-spec, config.md, "Layer ChainID")."""
    below = ""
    for digest in layer_digests:
        below = f"sha256:{hashlib.sha256(f'{below} {digest}'.encode()).hexdigest()}" if below else digest
        yield below


def _is_unpacked(node: NodeLayout, layer: str) -> bool:
    return any(line.split()[0] == layer for line in ctr(node, "snapshots", "ls").splitlines())


def _share(layer: str, parent: str, of: NodeLayout, to: NodeLayout) -> None:
    """Make the snapshot of a layer on one node with the files of the other's."""
    key = f"copy-{layer}"
    for node in (of, to):  # of a copy that was broken off
        ctr(node, "snapshots", "rm", key, check=False)
    # On top of it, for only what is still written to is named with the folders that it is made of.
    theirs = _options(ctr(of, "snapshots", "prepare", "--mounts", key, layer))["lowerdir"].split(":")[0]
    ours = _options(ctr(to, "snapshots", "prepare", "--mounts", key, *filter(None, [parent])))
    # The lowest layer has nothing to lie on, and is mounted as a folder.
    subprocess.run(["cp", "--archive", "--link", f"{theirs}/.", ours.get("upperdir", ours["source"])], check=True)
    ctr(to, "snapshots", "commit", layer, key)
    ctr(of, "snapshots", "rm", key)


def _options(mounts: str) -> dict[str, str]:
    """Return the options of a snapshot's mount, and its source."""
    (mount,) = json.loads(mounts)
    options = dict(option.partition("=")[::2] for option in mount["Options"])
    return options | {"source": mount["Source"]}
