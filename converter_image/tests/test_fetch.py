from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import Box


@pytest.fixture
def source(box: Box) -> Path:
    return model_in(box)


def model_in(box: Box) -> Path:
    folder = box.pvc / "models" / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"model")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def digest(box: Box) -> str:
    ended = box.run("fetch")
    assert ended.code == 0, ended.log
    return str(json.loads((box.workspace / "fetch.json").read_text())["sourceDigest"])


def test_the_tree_is_copied_and_counted(box: Box, source: Path) -> None:
    assert digest(box).startswith("sha256:")
    assert (box.workspace / "source/variables/variables.index").read_bytes() == b"index"
    fetched = json.loads((box.workspace / "fetch.json").read_text())
    assert (fetched["bytes"], fetched["files"]) == (10, 2)


def test_the_digest_is_that_of_names_and_contents_alone(box: Box, source: Path) -> None:
    first = digest(box)
    (source / "assets").mkdir()
    (source / "saved_model.pb").touch()
    assert digest(box) == first
    (source / "saved_model.pb").write_bytes(b"modek")
    second = digest(box)
    (source / "saved_model.pb").write_bytes(b"model")
    (source / "variables" / "variables.index").rename(source / "variables" / "variables.indey")
    assert len({first, second, digest(box)}) == 3


def test_links_within_the_tree_are_copied_as_what_they_point_to(box: Box, source: Path) -> None:
    (source / "..data").mkdir()
    (source / "saved_model.pb").rename(source / "..data" / "saved_model.pb")
    (source / "saved_model.pb").symlink_to("..data/saved_model.pb")
    digest(box)
    assert not (box.workspace / "source/saved_model.pb").is_symlink()


def test_a_link_that_leads_out_of_the_tree_is_refused_by_name(box: Box, source: Path) -> None:
    (source / "variables" / "secret").symlink_to("/etc/hostname")
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert "variables/secret" in ended.message
    assert not (box.workspace / "source").exists()


def test_a_folder_that_links_to_itself_is_refused(box: Box, source: Path) -> None:
    (source / "variables" / "again").symlink_to("..")
    ended = box.run("fetch")
    assert ended.code == 13
    assert "variables/again" in ended.message


def test_a_missing_source_is_named_with_what_lies_there_instead(box: Box, source: Path) -> None:
    box.spec["source"]["uri"] = "pvc://models/modle"
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (11, "SourceNotFound")
    assert "pvc://models/modle" in ended.message
    assert "models holds model" in ended.message


def test_a_missing_claim_is_named(box: Box) -> None:
    ended = box.run("fetch")
    assert ended.code == 11
    assert str(box.pvc / "models") in ended.message


def test_a_folder_without_saved_model_pb_is_no_model(box: Box, source: Path) -> None:
    (source / "saved_model.pb").rename(source / "model.h5")
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert "model.h5" in ended.message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.keras", "model.keras is a model as Keras saves it: `model.export(FOLDER)` makes a SavedModel"),
        ("model.h5", "model.h5 is a model as Keras saves it: `model.export(FOLDER)` makes a SavedModel"),
        ("model.weights.h5", "model.weights.h5 is of a checkpoint, which holds a model's values and not its graph"),
        ("model.ckpt-100.index", "model.ckpt-100.index is of a checkpoint"),
        ("model.data-00000-of-00001", "model.data-00000-of-00001 is of a checkpoint"),
        ("checkpoint", "checkpoint is of a checkpoint, which holds a model's values and not its graph"),
    ],
)
def test_what_is_no_saved_model_but_can_become_one_is_told_how(box: Box, name: str, told: str) -> None:
    folder = box.pvc / "models" / "model"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"x")
    for uri in ("pvc://models/model", f"pvc://models/model/{name}"):
        box.spec["source"]["uri"] = uri
        ended = box.run("fetch")
        assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
        assert told in ended.message


def test_a_saved_model_may_be_text(box: Box, source: Path) -> None:
    (source / "saved_model.pb").rename(source / "saved_model.pbtxt")
    assert digest(box).startswith("sha256:")
    assert (box.workspace / "source/saved_model.pbtxt").read_bytes() == b"model"


def test_the_folder_above_a_version_is_no_model_and_the_version_is_named(box: Box, source: Path) -> None:
    source.rename(source.with_name("3"))
    source.mkdir()
    source.with_name("3").rename(source / "3")
    ended = box.run("fetch")
    assert ended.code == 13
    assert "3 in it has one" in ended.message


def test_a_path_above_the_claim_is_refused(box: Box) -> None:
    box.spec["source"]["uri"] = "pvc://models/../other"
    assert box.run("fetch").code == 2


@pytest.fixture
def open_box() -> Iterator[Box]:
    """In a folder that every user may enter: pytest's own is closed by each session that starts beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Box(Path(folder))


def fetched_by_the_containers_user(box: Box) -> dict[str, Any]:
    """What it is told."""
    log = box.root / "termination"
    log.touch()
    log.chmod(0o666)
    done = subprocess.run(box.command("fetch"), env=box.environment(log), user=65532, capture_output=True, text=True)
    assert done.returncode == 11, done.stderr
    return dict(json.loads(log.read_text()))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["saved_model.pb", "variables"])
def test_a_source_that_the_containers_user_may_not_read_is_told_by_name(open_box: Box, name: str) -> None:
    source = model_in(open_box)
    (source / name).chmod(0)
    assert f"{source.resolve() / name}" in fetched_by_the_containers_user(open_box)["message"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_source_in_a_folder_that_the_containers_user_may_not_enter_is_told_by_name(open_box: Box) -> None:
    source = model_in(open_box)
    source.resolve().parent.chmod(0o700)
    told = fetched_by_the_containers_user(open_box)
    assert told["reason"] == "SourceNotFound"
    assert "has no right to" in told["message"]
