"""In which forms a model may lie where it lies, and what is told of those that are none."""

from __future__ import annotations

import io
import random
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.box import Box, Ended
from tests.object_store import BUCKET, ObjectStore, WebServer
from tests.test_fetch_remote import fetched, tarred, zipped
from tftrt_runtime.contract.artifact import Tensor
from tftrt_runtime.model import data

GRAPH: dict[str, Any] = {"format": "FrozenGraph", "inputs": ["a:0"], "outputs": ["b:0"]}


@pytest.fixture
def source(box: Box) -> Path:
    """A model in a claim."""
    return model_in(box.pvc / "models" / "model")


def model_in(folder: Path, content: bytes = b"model") -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def put(box: Box, name: str, content: bytes) -> str:
    """Put a file into the claim; its URI."""
    path = box.pvc / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"pvc://models/{name}"


def refused(box: Box, uri: str, **source: Any) -> str:
    box.spec["source"] = {**box.spec["source"], "uri": uri, **source}
    ended: Ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel"), ended.log
    assert not (box.workspace / "fetch.json").exists()
    return ended.message


@pytest.mark.parametrize("compression", ["bz2", "xz", "gz", ""])
@pytest.mark.parametrize("named", [True, False])
def test_an_archive_is_known_by_its_name_or_by_its_content(
    box: Box, source: Path, compression: str, named: bool
) -> None:
    expected = fetched(box)["sourceDigest"]
    name = ".".join(filter(None, ["model.tar", compression])) if named else "5"
    assert fetched(box, put(box, name, tarred(source, compression=compression)))["sourceDigest"] == expected


@pytest.mark.parametrize("name", ["model.tbz2", "MODEL.TXZ", "model.tar.gz"])
def test_what_is_in_an_archive_counts_where_its_name_says_otherwise(box: Box, source: Path, name: str) -> None:
    expected = fetched(box)["sourceDigest"]
    assert fetched(box, put(box, name, zipped(source)))["sourceDigest"] == expected


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("google/imagenet/mobilenet_v2/classification/5", "?tf-hub-format=compressed"),  # as tfhub.dev has it
        ("api/v1/models/google/mobilenet-v2/tensorFlow2/classification/1/download", ""),  # as Kaggle has it
        ("models/resnet50/", ""),
        ("", "?model=resnet50"),
    ],
)
@pytest.mark.parametrize("archived", [tarred, zipped])
def test_an_address_that_names_no_file_gives_an_archive_all_the_same(
    box: Box, source: Path, path: str, query: str, archived: Any
) -> None:
    expected = fetched(box)["sourceDigest"]
    with WebServer(archived(source)).running(path) as server:
        assert fetched(box, server.url + query)["sourceDigest"] == expected


def test_an_address_without_a_name_gives_a_frozen_graph_all_the_same(box: Box) -> None:
    with WebServer(b"a graph").running("frozen/1/download") as server:
        fetched(box, server.url, **GRAPH)
    assert (box.workspace / "source" / "graph.pb").read_bytes() == b"a graph"


def test_a_web_page_is_told_with_the_addresses_of_archives(box: Box) -> None:
    page = b"\n<!DOCTYPE html>\n<html><title>mobilenet_v2</title></html>"
    for name in ("google/mobilenet_v2/5", "model.zip"):
        with WebServer(page).running(name) as server:
            said = refused(box, server.url)
        assert f"{server.url} is a web page" in said
        assert "?tf-hub-format=compressed" in said
        assert "https://www.kaggle.com/api/v1/models/.../download" in said


def test_of_the_versions_in_an_archive_the_last_is_taken(box: Box, tmp_path: Path) -> None:
    for version in ("9", "10", "2"):
        model_in(tmp_path / "versions" / version, f"model {version}".encode())
    for top in ("", "resnet50"):
        fetched(box, put(box, "model.tar.gz", tarred(tmp_path / "versions", top)))
        assert (box.workspace / "source" / "saved_model.pb").read_bytes() == b"model 10"


def test_of_other_models_in_an_archive_none_is(box: Box, tmp_path: Path) -> None:
    for name in ("teacher", "student"):
        model_in(tmp_path / "both" / name)
    said = refused(box, put(box, "models.zip", zipped(tmp_path / "both")))
    assert "holds several models, student, teacher: make an archive of one of them" in said
    model_in(tmp_path / "mixed" / "1")
    model_in(tmp_path / "mixed" / "old" / "2")
    assert "holds several models, 1, old/2" in refused(box, put(box, "models.zip", zipped(tmp_path / "mixed")))


def test_a_saved_model_as_text_is_one(box: Box, source: Path) -> None:
    (source / "saved_model.pb").rename(source / "saved_model.pbtxt")
    fetched(box)
    assert (box.workspace / "source" / "saved_model.pbtxt").read_bytes() == b"model"


def test_what_a_desktop_leaves_beside_files_is_not_seen_at_all(box: Box, source: Path, s3: ObjectStore) -> None:
    expected = fetched(box)
    for name in ("._saved_model.pb", ".DS_Store", "variables/._variables.index", "__MACOSX/._graph.pb"):
        put(box, f"model/{name}", b"of a Mac")
    (source / "._link").symlink_to("/etc/hostname")
    assert fetched(box) == expected
    (source / "._link").unlink()
    s3.upload(source, "model")
    s3.secret(box, "source")
    assert fetched(box, f"s3://{BUCKET}/model") == expected
    shutil.rmtree(box.secrets)
    for name, content in (("a.zip", zipped(source)), ("a.tar.gz", tarred(source))):
        assert fetched(box, put(box, name, content))["sourceDigest"] == expected["sourceDigest"]


def test_what_a_desktop_leaves_beside_samples_is_not_seen_at_all(
    box: Box, source: Path, tmp_path: Path, s3: ObjectStore
) -> None:
    images = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    samples = tmp_path / "samples"
    (samples / "more").mkdir(parents=True)
    np.save(samples / "samples.npy", images)
    np.save(samples / "more/samples.npy", images)

    def of(uri: str) -> tuple[str, str]:
        """The digests of the data at this URI, once nothing but the samples was found in it."""
        box.spec["conversion"] |= {"precision": "INT8", "calibration": {"uri": uri, "samples": 4, "batchSize": 4}}
        box.spec["verification"] = {"uri": uri}
        told = fetched(box)
        for folder, what in ((box.workspace / "calibration", "calibration"), (box.workspace / "verification", "held")):
            there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            assert there == {"samples.npy", "more/samples.npy"}
            (batch,) = data.batches(folder, [Tensor(name="image", dtype="FP32", shape=(-1, 2, 3))], 4, what=what)
            np.testing.assert_array_equal(batch["image"], np.concatenate([images, images]))
        return told["calibrationDigest"], told["verificationDigest"]

    (box.pvc / "data").symlink_to(tmp_path)
    expected = of("pvc://data/samples")
    for name in ("._samples.npy", ".DS_Store", "more/._samples.npy", "__MACOSX/._samples.npy", "more/.DS_Store"):
        (samples / name).parent.mkdir(exist_ok=True)
        (samples / name).write_bytes(b"of a Mac, and no samples")
    assert of("pvc://data/samples") == expected
    s3.upload(samples, "samples")
    s3.secret(box, "calibration", "verification")
    assert of(f"s3://{BUCKET}/samples") == expected


def test_a_frozen_graph_in_an_archive_from_a_mac_is_the_only_one(box: Box, tmp_path: Path) -> None:
    for name in ("graph.pb", "._graph.pb", "__MACOSX/._graph.pb"):
        path = tmp_path / "mac" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    fetched(box, put(box, "graph.zip", zipped(tmp_path / "mac")), **GRAPH)
    assert (box.workspace / "source" / "graph.pb").read_bytes() == b"graph.pb"


def test_links_of_a_download_cache_are_followed_within_the_claim(box: Box, source: Path) -> None:
    """As Hugging Face's client keeps what it has downloaded."""
    expected = fetched(box)
    cache = box.pvc / "models" / "models--google--resnet50"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "0a1b2c"
    for number, name in enumerate(("saved_model.pb", "variables/variables.index")):
        blob = cache / "blobs" / f"{number:064x}"
        (source / name).rename(blob)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(Path(*[".."] * (2 + name.count("/")), "blobs", blob.name))
    assert fetched(box, "pvc://models/models--google--resnet50/snapshots/0a1b2c") == expected


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../store/secret", "../../.."])
def test_a_link_out_of_the_claim_is_not_followed(box: Box, source: Path, target: str) -> None:
    (box.pvc / "store" / "secret").write_bytes(b"another claim's")
    (source / "variables" / "link").symlink_to(target)
    said = refused(box, "pvc://models/model")
    assert "holds the link variables/link, which leads out of its volume" in said
    assert "`cp -rL` makes a copy without links" in said


def test_a_link_to_the_claim_itself_never_ends(box: Box, source: Path) -> None:
    (source / "variables" / "again").symlink_to("../..")
    assert "never ends" in refused(box, "pvc://models/model")


KERAS = "`model.export(FOLDER)` makes a SavedModel, where `model` is what `keras.models.load_model("
CHECKPOINT = (
    "is of a checkpoint, which holds a model's values and not its graph: restore it in the code that makes the model, "
    "where `model.export(FOLDER)` makes a SavedModel of both."
)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["model.keras"], f"{KERAS}'model.keras')"),
        (["a/model.h5"], f"{KERAS}'a/model.h5')"),
        (["config.json", "metadata.json", "model.weights.h5"], f"{KERAS}'model.keras')"),
        (["my.weights.h5"], f"my.weights.h5 {CHECKPOINT}"),
        (["checkpoint", "model.ckpt-9.data-00000-of-00001", "model.ckpt-9.index"], CHECKPOINT),
        (["variables/variables.data-00000-of-00001"], "there is no saved_model.pb; it holds variables."),
    ],
)
def test_what_keras_saves_and_a_checkpoint_are_told_with_the_way_to_a_saved_model(
    box: Box, names: list[str], told: str
) -> None:
    for name in names:
        put(box, f"model/{name}", b"x")
    assert told in refused(box, "pvc://models/model")
    assert told in refused(box, put(box, "model.zip", zipped(box.pvc / "models" / "model")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.keras", b"PK\x03\x04"),
        ("model.h5", b"\x89HDF\r\n\x1a\n"),
        ("download", b"\x89HDF\r\n\x1a\n\x00"),
    ],
)
def test_a_file_of_keras_is_known_by_its_name_or_by_its_content(box: Box, name: str, content: bytes) -> None:
    uri = put(box, name, content)
    assert f"{KERAS}{name!r})" in refused(box, uri)
    assert f"{KERAS}{name!r})" in refused(box, uri, **GRAPH)


def test_a_part_of_a_saved_model_is_told_to_be_one(box: Box, source: Path) -> None:
    assert "name the folder that it lies in" in refused(box, "pvc://models/model/saved_model.pb")
    assert "set spec.source.format to SavedModel" in refused(box, "pvc://models/model/saved_model.pb", **GRAPH)


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_archive_is_the_users_to_mend(box: Box, tmp_path: Path, compression: str, damage: str) -> None:
    (tmp_path / "model").mkdir()
    # Such as no way of compressing makes short: what is damaged is content, and no structure.
    (tmp_path / "model" / "saved_model.pb").write_bytes(random.Random(1).randbytes(1 << 16))
    whole = tarred(tmp_path / "model", compression=compression)
    half = len(whole) // 2
    content = whole[:half] if damage == "cut" else whole[:half] + bytes(64) + whole[half + 64 :]
    said = refused(box, put(box, f"model.tar.{compression}", content))
    assert "is no archive that can be read to its end" in said


def test_an_archive_with_a_folder_and_a_link_in_it_has_its_link_refused(box: Box) -> None:
    stream = io.BytesIO()
    with tarfile.open(None, "w:xz", stream) as archive:
        member = tarfile.TarInfo("saved_model.pb")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert "which is a link or a device" in refused(box, put(box, "download", stream.getvalue()))
