from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.box import FINGERPRINT, Box, Mount
from tests.object_store import BUCKET, KEYS, ObjectStore, secret
from tftrt_runtime import log
from tftrt_runtime.__main__ import _exit_code
from tftrt_runtime.contract import artifact
from tftrt_runtime.contract.artifact import Batching, Conversion, Device, Manifest, Tensor, Versions
from tftrt_runtime.contract.errors import ArtifactCorrupt
from tftrt_runtime.contract.spec import JobSpec
from tftrt_runtime.steps import convert as step
from tftrt_runtime.steps import lookup, publish
from tftrt_runtime.steps.workspace import Converted, Fetched, Workspace
from tftrt_runtime.storage import claim_store, files, stores

DIGEST = "sha256:" + "a" * 64

# Runs `tftrt publish` and kills it at the Nth of the audit events of one kind whose first argument holds a text.
KILLED = """
import os, signal, sys
kind, text, left = sys.argv.pop(1), sys.argv.pop(1), [int(sys.argv.pop(1))]
def hook(event, arguments):
    if event == kind and text in str(arguments[0]):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from tftrt_runtime.__main__ import main
sys.addaudithook(hook)
main()
"""


# The same, but it stops there, until SIGCONT.
STOPPED = KILLED.replace("SIGKILL", "SIGSTOP")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box as `convert` leaves it."""
    made = Box(tmp_path)
    prepare(made, DIGEST)
    return made


def prepare(box: Box, digest: str) -> None:
    workspace = Workspace(box.workspace)
    model = workspace.artifact / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(os.urandom(300_000))
    (model / "variables" / "variables.index").write_bytes(b"index")
    tensor = Tensor(name="x", dtype="FP32", shape=(-1, 3))
    conversion = Conversion(
        device=Device(name="cpu", computeCapability="", memoryBytes=None, driver=""),
        versions=Versions(tensorflow="2.14.1", tensorrt="", runtime="cpu"),
        engines=0,
        convertedOps=0,
        totalOps=7,
        batchSizes=(1, 4),
        inputs=(tensor,),
        outputs=(tensor,),
        sample=None,
        startedAt=log.now(),
    )
    workspace.fetched.write_text(Fetched(sourceDigest=digest, bytes=1, files=1).model_dump_json())
    workspace.converted.write_text(Converted(product="cpu", conversion=conversion).model_dump_json())


def start_and_stop(box: Box, kind: str, text: str, count: int) -> subprocess.Popen[str]:
    """Start `tftrt publish`, which stops at the Nth of these events; on return it has."""
    command = [sys.executable, "-c", STOPPED, kind, text, str(count), *box.command("publish")[3:]]
    environment = box.environment(box.root / "termination")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    return process


def builds(box: Box) -> list[str]:
    """Whose builds lie in the store, each in a folder `<build>.<attempt>`."""
    return sorted(path.name.partition(".")[0] for path in (box.product / "builds").iterdir())


def other(box: Box, build: str) -> Box:
    """Another Job's box over the same store."""
    made = Box(box.root / build, build=build)
    (made.pvc / "store").rmdir()
    (made.pvc / "store").symlink_to(box.pvc / "store")
    prepare(made, DIGEST)
    return made


def test_the_summary_is_the_termination_message_and_the_manifest_lists_every_file(box: Box) -> None:
    ended = box.run("publish")
    assert ended.code == 0, ended.log
    assert ended.termination == json.loads(ended.output)
    assert ended.termination["result"] == "Published"
    assert ended.termination["artifact"].startswith("pvc://store/tftrt/default/")
    assert ended.termination["artifactBytes"] == 300_005
    manifest = Manifest.model_validate_json((box.product / "manifest.json").read_bytes())
    assert [file.path for file in manifest.files] == ["model/saved_model.pb", "model/variables/variables.index"]
    assert (box.product / "manifest.json").stat().st_mode & 0o777 == 0o644
    for folder in (box.product, box.product / "builds" / manifest.build / "model" / "variables"):
        assert folder.stat().st_mode & 0o777 == 0o775


def test_a_second_job_reports_the_first_ones_artifact_and_leaves_none_of_its_own(box: Box) -> None:
    box.run("publish")
    second = other(box, "build-2").run("publish")
    assert (second.code, second.termination["result"], second.termination["build"]) == (0, "Reused", "build-1")
    assert builds(box) == ["build-1"]


def test_what_was_seen_on_other_data_holds_beside_what_the_artifact_says(box: Box) -> None:
    """The manifest stays as it is: from the summary the operator tells the server of this model."""
    box.run("publish")
    second = other(box, "build-2")
    apart = Batching(mode="Disabled", reason="ItemsInteract", message="on pvc://data/own, an item's answer depends")
    note = Converted(product="cpu", conversion=None, batching=apart)
    Workspace(second.workspace).converted.write_text(note.model_dump_json())
    told = second.run("publish").termination
    assert (told["result"], told["batching"]) == ("Reused", apart.model_dump())
    assert box.manifest["summary"]["batching"] is None


def test_an_artifact_in_a_store_that_was_moved_is_told_where_it_is_now(box: Box) -> None:
    box.run("publish")
    (box.pvc / "store/tftrt").rename(box.pvc / "store/moved")
    second = other(box, "build-2")
    second.spec["artifacts"]["uri"] = "pvc://store/moved"
    ended = second.run("publish")
    assert (ended.code, ended.termination["result"]) == (0, "Reused")
    assert ended.termination["artifact"].startswith("pvc://store/moved/default/")


def test_the_same_job_run_again_reports_what_it_published(box: Box) -> None:
    first = box.run("publish")
    assert box.run("publish").termination == first.termination


def test_of_writers_that_race_one_wins_and_all_report_it(box: Box) -> None:
    boxes = [box, *(other(box, f"build-{number}") for number in range(2, 6))]
    running = [(one, one.start("publish")) for one in boxes]
    ended = [one.finish(process) for one, process in running]
    assert [one.code for one in ended] == [0] * len(boxes)
    assert len({one.termination["build"] for one in ended}) == 1
    assert sorted(one.termination["result"] for one in ended) == ["Published"] + ["Reused"] * (len(boxes) - 1)
    assert builds(box) == [ended[0].termination["build"]]


@pytest.mark.parametrize(
    ("kind", "text", "count"),
    [
        ("os.mkdir", "builds", 1),
        ("open", "builds/build-1.", 1),  # before the first file
        ("open", "builds/build-1.", 2),
        ("os.chmod", "builds/build-1.", 1),  # the files are there, the manifest too
        ("os.link", "builds/build-1", 1),
    ],
)
def test_a_writer_that_is_killed_leaves_nothing_that_counts_and_its_next_attempt_publishes(
    box: Box, kind: str, text: str, count: int
) -> None:
    command = [sys.executable, "-c", KILLED, kind, text, str(count), *box.command("publish")[3:]]
    killed = subprocess.run(command, env=box.environment(box.root / "termination"), capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert not (box.product / "manifest.json").exists()
    ended = box.run("publish")
    assert (ended.code, ended.termination["result"]) == (0, "Published")
    assert builds(box) == ["build-1"]


def test_a_writer_that_is_killed_after_its_manifest_is_there_has_published(box: Box) -> None:
    command = [sys.executable, "-c", KILLED, "open", "manifest.json", "3", *box.command("publish")[3:]]
    killed = subprocess.run(command, env=box.environment(box.root / "termination"), capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert (box.product / "manifest.json").exists()
    assert box.run("publish").termination["result"] == "Published"


@pytest.mark.parametrize(("kind", "count"), [("open", 2), ("os.link", 1)])
def test_an_attempt_that_was_given_up_and_lives_on_publishes_nothing_half(box: Box, kind: str, count: int) -> None:
    """Its node came back: the next attempt has cleared what it had written, and it writes on."""
    lost = start_and_stop(box, kind, "builds/build-1.", count)
    following = start_and_stop(box, "open", "builds/build-1.", 1)
    lost.send_signal(signal.SIGCONT)
    ended = box.finish(lost)
    assert ended.code == 31, ended.log
    assert not (box.product / "manifest.json").exists()
    following.send_signal(signal.SIGCONT)
    assert box.finish(following).code == 0
    artifact.check_files(Manifest.model_validate(box.manifest), box.product)


def test_an_attempt_that_publishes_just_before_it_is_cleared_away_has_published(box: Box) -> None:
    lost = start_and_stop(box, "os.link", "builds/build-1.", 1)
    following = start_and_stop(box, "os.rename", "builds/build-1.", 1)
    lost.send_signal(signal.SIGCONT)
    assert box.finish(lost).code == 0
    published = box.manifest
    following.send_signal(signal.SIGCONT)
    assert box.finish(following).code == 0
    assert box.manifest == published
    artifact.check_files(Manifest.model_validate(published), box.product)
    assert builds(box) == ["build-1"]


def test_an_artifact_made_from_other_bytes_is_never_reused(box: Box) -> None:
    box.run("publish")
    second = other(box, "build-2")
    note = second.workspace / "fetch.json"
    note.write_text(note.read_text().replace(DIGEST, "sha256:" + "b" * 64))
    ended = second.run("publish")
    assert (ended.code, ended.termination["reason"]) == (21, "SourceChanged")
    assert "spec.source.revision" in ended.message


def test_a_store_that_is_full_is_told_and_nothing_half_is_left(box: Box, mount: Mount) -> None:
    store = box.pvc / "store"
    mount(store, "size=100k")
    (store / "somebody").write_bytes(b"x" * 4096)
    ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")
    assert "pvc://store/tftrt" in ended.message
    assert "No space left on device" in ended.message
    assert builds(box) == []
    assert not (box.product / "manifest.json").exists()
    assert (store / "somebody").stat().st_size == 4096
    mount(store, "size=10m")
    assert box.run("publish").termination["result"] == "Published"


def test_a_store_that_may_only_be_read_is_told_and_what_was_converted_is_not_lost(box: Box, mount: Mount) -> None:
    mount(box.pvc / "store", "ro")
    ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")
    assert "pvc://store/tftrt" in ended.message
    assert "Read-only file system" in ended.message
    mount(box.pvc / "store", "rw")
    assert box.run("publish").termination["result"] == "Published"


def test_a_store_that_is_not_mounted_is_told(box: Box) -> None:
    box.spec["artifacts"]["uri"] = "pvc://nowhere/tftrt"
    ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")
    assert box.run("lookup").code == 31


def test_a_manifest_that_is_no_manifest_is_told_with_its_path(box: Box) -> None:
    box.product.mkdir(parents=True)
    (box.product / "manifest.json").write_text("{")
    ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (22, "ArtifactCorrupt")
    assert str(box.product / "manifest.json") in ended.message


@pytest.mark.parametrize(("field", "other"), [("fingerprint", "f" * 32), ("product", "NVIDIA-A10")])
def test_a_manifest_of_another_artifact_is_told_by_whoever_reads_it(
    box: Box, monkeypatch: pytest.MonkeyPatch, field: str, other: str
) -> None:
    box.run("publish")
    forged = box.manifest
    forged["summary"][field] = other
    (box.product / "manifest.json").write_text(json.dumps(forged))
    box.spec["verification"] = {"uri": "pvc://models/held-out"}
    for name, value in box.environment(box.root / "termination").items():
        monkeypatch.setenv(name, value)
    spec, workspace = JobSpec.model_validate_json(json.dumps(box.spec)), Workspace(box.workspace)
    with pytest.raises(ArtifactCorrupt, match=other):
        publish.run(spec, workspace)
    lookup.run(spec, workspace)
    assert not workspace.published.exists(), "what is to be compared is brought, and it is not"
    with pytest.raises(ArtifactCorrupt, match=other):
        step.run(spec, workspace)


def test_what_lies_beside_the_listed_files_is_not_loaded(box: Box, tmp_path: Path) -> None:
    box.run("publish")
    manifest = Manifest.model_validate(box.manifest)
    (box.published / "model/assets").mkdir()
    artifact.check_files(manifest, box.product)
    for planted in ("variables/variables.data-00001-of-00002", "assets/vocabulary.txt", "saved_model.pbtxt"):
        (box.published / "model" / planted).write_bytes(b"planted")
        with pytest.raises(ArtifactCorrupt, match=re.escape(planted)):
            artifact.check_files(manifest, box.product)
        (box.published / "model" / planted).unlink()
    (box.published / "model/assets.extra").symlink_to(tmp_path)
    with pytest.raises(ArtifactCorrupt, match=r"assets\.extra"):
        artifact.check_files(manifest, box.product)


def test_what_lies_beside_the_listed_files_is_not_brought_to_be_compared(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.run("publish")
    (box.published / "model/assets").mkdir()
    (box.published / "model/assets/planted").write_bytes(b"planted")
    monkeypatch.setenv("TFTRT_PVC_ROOT", str(box.pvc))
    manifest = Manifest.model_validate(box.manifest)
    claim_store.ClaimStore("pvc://store/tftrt", "default", FINGERPRINT).bring("cpu", manifest, tmp_path / "brought")
    artifact.check_files(manifest, tmp_path / "brought")
    assert not list((tmp_path / "brought").rglob("planted"))


def test_a_store_without_hard_links_is_written_exclusively_too(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    for name, value in box.environment(box.root / "termination").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "link", refuse)
    summary = publish.run(JobSpec.model_validate_json(json.dumps(box.spec)), Workspace(box.workspace))
    assert summary.result == "Published"
    written = box.product / "builds" / box.manifest["build"] / "manifest.json"
    assert not claim_store._create_exclusively(written, box.product / "manifest.json")


def test_lookup_brings_every_products_manifest(box: Box) -> None:
    box.run("publish")
    (box.product.parent / "NVIDIA-A10").mkdir()
    (box.product.parent / "NVIDIA-A10" / "manifest.json").write_text("{}")
    assert box.run("lookup").code == 0
    assert sorted(path.name for path in (box.workspace / "manifests").iterdir()) == ["NVIDIA-A10.json", "cpu.json"]


def test_publish_without_a_build_name_is_a_usage_error(box: Box) -> None:
    box.build = "../x"
    ended = box.run("publish")
    assert ended.code == 2
    assert "TFTRT_BUILD" in ended.message


KEY = "planted-key"


@pytest.fixture(params=["claim", "bucket"])
def store(request: pytest.FixtureRequest, box: Box, s3: ObjectStore) -> Box:
    """The box with a store of each kind, and the Secret that opens it."""
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": KEY}
    if request.param == "bucket":
        box.spec["artifacts"] = {"uri": f"s3://{BUCKET}/tftrt"}
        keys |= KEYS | {"AWS_SECRET_ACCESS_KEY": KEY} | s3.place(s3.endpoint)
    secret(box, "artifacts", keys)
    return box


def a_link_to_the_key(box: Box) -> Path:
    (box.workspace / "artifact/model/assets").mkdir()
    path = box.workspace / "artifact/model/assets/x"
    path.symlink_to(box.secrets / "artifacts/AWS_SECRET_ACCESS_KEY")
    return path


def a_link_to_its_folder(box: Box) -> Path:
    path = box.workspace / "artifact/model/assets"
    path.symlink_to(box.secrets / "artifacts")
    return path


def a_link_in_place_of_all(box: Box) -> Path:
    path = box.workspace / "artifact"
    path.rename(box.workspace / "aside")
    path.symlink_to(box.secrets / "artifacts")
    return path


def a_pipe(box: Box) -> Path:
    path = box.workspace / "artifact/model/pipe"
    os.mkfifo(path)
    return path


def a_link_in_place_of_a_note(box: Box) -> Path:
    path = box.workspace / "convert.json"
    path.unlink()
    path.symlink_to(box.secrets / "artifacts/AWS_SECRET_ACCESS_KEY")
    return path


@pytest.mark.parametrize(
    "leave",
    [a_link_to_the_key, a_link_to_its_folder, a_link_in_place_of_all, a_pipe, a_link_in_place_of_a_note],
)
def test_what_the_models_code_left_leads_nobody_to_the_secret(
    store: Box, s3: ObjectStore, leave: Callable[[Box], Path]
) -> None:
    left = leave(store)
    ended = store.run("publish")
    assert (ended.code, ended.termination["reason"]) == (22, "ArtifactCorrupt"), ended.log
    assert f"{left} is no " in ended.message
    assert KEY not in ended.log + ended.output + ended.message
    assert not list(store.pvc.rglob("model"))
    if store.spec["artifacts"]["uri"].startswith("s3:"):
        assert s3.keys() == []


@pytest.mark.parametrize("change", [{"product": "../x"}, {"product": KEY + "/"}, {"conversion": KEY}])
def test_a_note_that_is_none_is_refused_and_nothing_of_it_told(box: Box, change: dict[str, str]) -> None:
    note = box.workspace / "convert.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | change))
    ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (22, "ArtifactCorrupt"), ended.log
    assert f"{note} is not as `tftrt convert` writes it ({next(iter(change))}" in ended.message
    assert KEY not in ended.log


def test_an_unforeseen_fault_quotes_nothing_of_what_was_read(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFTRT_TERMINATION_LOG", str(tmp_path / "termination"))

    def command() -> None:
        Converted.model_validate_json(json.dumps({"product": "cpu", "conversion": KEY}))

    assert _exit_code(command) == 30
    told = (tmp_path / "termination").read_text() + "".join(capfd.readouterr())
    assert "ValidationError: conversion: Input should be" in told
    assert KEY not in told


def test_a_listed_file_that_is_a_pipe_is_not_waited_for(box: Box) -> None:
    box.run("publish")
    listed = box.published / "model/saved_model.pb"
    listed.unlink()
    os.mkfifo(listed)
    with pytest.raises(ArtifactCorrupt, match=re.escape(f"{listed} is no regular file")):
        artifact.check_files(Manifest.model_validate(box.manifest), box.product)


def test_a_manifest_that_is_too_large_to_be_one_is_not_read(store: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.run("publish").code == 0
    for name, value in store.environment(store.root / "termination").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(files, "NOTE_BYTES", 100)
    spec = JobSpec.model_validate_json(json.dumps(store.spec))
    opened = stores.open_store(spec.artifacts, spec.model, spec.fingerprint)
    for read in (opened.manifests, lambda: opened.manifest("cpu")):
        with pytest.raises(ArtifactCorrupt, match=r"manifest\.json has more than 100 bytes"):
            read()
