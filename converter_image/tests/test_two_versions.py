"""Somebody writes to a source while it is fetched: what is converted is one version of it or the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from tests.box import Box
from tests.object_store import BUCKET, ObjectStore, WebServer
from tests.test_fetch_remote import PIECE
from tftrt_runtime.contract.errors import SourceUnavailable
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.fetching.budget import Budget
from tftrt_runtime.fetching.tree import Entry, Tree
from tftrt_runtime.fetching.trees import open_tree
from tftrt_runtime.steps import fetch
from tftrt_runtime.steps.workspace import Fetched, Workspace
from tftrt_runtime.storage.digest import FileDigest
from tftrt_runtime.storage.secret import Role

GRAPH: dict[str, Any] = {"format": "FrozenGraph", "inputs": ["a:0"], "outputs": ["b:0"]}
FILES = ("saved_model.pb", "variables/variables.data", "variables/variables.index")
Write = Callable[[str, bytes], None]
Change = Callable[[Write, Callable[[str], None]], None]


@dataclass
class Written:
    """A tree to which somebody writes when the first of its files has been copied."""

    tree: Tree
    change: Callable[[], None]
    lock: Lock = field(default_factory=Lock)
    done: bool = False

    @property
    def uri(self) -> str:
        return self.tree.uri

    @property
    def single(self) -> bool:
        return self.tree.single

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.tree.entries

    def copy(self, entry: Entry, target: Path, budget: Budget) -> FileDigest:
        with self.lock:  # one after the other, so that it is known what is copied when
            copied = self.tree.copy(entry, target, budget)
            if not self.done:
                self.done = True
                self.change()
            return copied

    def listed(self) -> tuple[Entry, ...]:
        return self.tree.listed()


def rewritten(write: Write, _remove: Callable[[str], None]) -> None:
    for name in FILES:
        write(name, b"new")


def extended(write: Write, _remove: Callable[[str], None]) -> None:
    write("variables/variables.data-00001-of-00002", b"new")


def removed(_write: Write, remove: Callable[[str], None]) -> None:
    remove(FILES[-1])


def first_rewritten(write: Write, _remove: Callable[[str], None]) -> None:
    """The very file that has been copied already."""
    write(FILES[0], b"new")


every_change = pytest.mark.parametrize("change", [rewritten, extended, removed, first_rewritten])


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    made = Box(tmp_path)
    monkeypatch.setenv("TFTRT_PVC_ROOT", str(made.pvc))
    monkeypatch.setenv("TFTRT_SECRETS", str(made.secrets))
    return made


def fetched(box: Box, change: Callable[[], None] | None = None, **source: Any) -> Fetched:
    box.spec["source"] = {**box.spec["source"], **source}
    spec = JobSpec.model_validate_json(json.dumps(box.spec))

    def opened(uri: str, role: Role) -> Tree:
        tree = open_tree(uri, role)
        return tree if change is None else Written(tree, change)

    return fetch.run(spec, Workspace(box.workspace), opened)


def expect_no_mixture(box: Box, write: Write, remove: Callable[[str], None], change: Change) -> None:
    for name in FILES:
        write(name, b"old")  # as long as the new one
    first = fetched(box)
    with pytest.raises(SourceUnavailable, match="changed while it was fetched"):
        fetched(box, lambda: change(write, remove))
    assert not (box.workspace / "fetch.json").exists()
    second = fetched(box)
    assert second.sourceDigest != first.sourceDigest, "the next attempt has the second version"


@every_change
def test_two_versions_in_a_claim_are_not_mixed(box: Box, change: Change) -> None:
    folder = box.pvc / "models" / "model"

    def write(name: str, content: bytes) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    expect_no_mixture(box, write, lambda name: (folder / name).unlink(), change)


@every_change
def test_two_versions_in_a_bucket_are_not_mixed(box: Box, s3: ObjectStore, change: Change) -> None:
    s3.secret(box, "source")
    box.spec["source"]["uri"] = f"s3://{BUCKET}/model"

    def remove(name: str) -> None:
        s3.client.delete_object(Bucket=BUCKET, Key=f"model/{name}")

    expect_no_mixture(box, lambda name, content: s3.put(f"model/{name}", content), remove, change)


def test_a_link_that_is_led_to_another_version_meanwhile_is_seen(box: Box) -> None:
    """As a volume does whose content is replaced at once."""
    for version in ("1", "2"):
        folder = box.pvc / "models" / version
        (folder / "variables").mkdir(parents=True)
        for name in FILES:
            (folder / name).write_bytes(version.encode())
    link = box.pvc / "models" / "model"
    link.symlink_to("1")

    def change() -> None:
        link.unlink()
        link.symlink_to("2")

    with pytest.raises(SourceUnavailable, match="changed while it was fetched"):
        fetched(box, change)


def test_data_is_of_one_version_as_well(box: Box) -> None:
    (box.pvc / "models" / "model").mkdir(parents=True)
    (box.pvc / "models" / "model" / "saved_model.pb").write_bytes(b"model")
    (box.pvc / "data").mkdir()
    for name in ("a.npz", "b.npz"):
        (box.pvc / "data" / name).write_bytes(b"old")
    box.spec["verification"] = {"uri": "pvc://data"}
    spec = JobSpec.model_validate_json(json.dumps(box.spec))

    def opened(uri: str, role: Role) -> Tree:
        tree = open_tree(uri, role)
        return tree if role == "source" else Written(tree, lambda: write_second(box.pvc / "data" / "b.npz"))

    def write_second(path: Path) -> None:
        path.write_bytes(b"new")

    with pytest.raises(SourceUnavailable, match=r"pvc://data changed while it was fetched \(b.npz\)"):
        fetch.run(spec, Workspace(box.workspace), opened)


def test_another_file_beside_a_frozen_graph_is_nothing_to_it(box: Box) -> None:
    folder = box.pvc / "models" / "model"
    folder.mkdir(parents=True)
    (folder / "frozen.pb").write_bytes(b"graph")
    (folder / "labels.txt").write_bytes(b"cat")
    fetched(box, lambda: (folder / "labels.txt").unlink(), **GRAPH)
    assert (box.workspace / "source" / "graph.pb").read_bytes() == b"graph"


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_a_file_of_a_web_server_that_changes_between_its_pieces_is_not_mixed(box: Box, header: str) -> None:
    old, new = bytes(2 * PIECE), b"\1" * (2 * PIECE)
    with WebServer(old, tells={header: "of the first"}).running("model.pb") as server:

        def change(count: int) -> None:
            if count == 2:  # the question whether it knows ranges, and a piece
                server.content, server.tells = new, {header: "of the second"}

        server.before = change
        with pytest.raises(SourceUnavailable, match="changed while it was fetched"):
            fetched(box, uri=server.url, **GRAPH)
        fetched(box)
        assert (box.workspace / "source" / "graph.pb").read_bytes() == new
