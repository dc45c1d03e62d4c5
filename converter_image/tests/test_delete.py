from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.box import FINGERPRINT, Box, Ended
from tests.test_spec import refusal
from tftrt_runtime.contract import spec

OTHER = "f" * 32


def delete(box: Box, fingerprints: list[str], uri: str = "pvc://store/tftrt") -> Ended:
    path, termination = box.root / "delete.json", box.root / "termination"
    termination.unlink(missing_ok=True)
    path.write_text(json.dumps(content(fingerprints, uri)))
    command = [sys.executable, "-m", "tftrt_runtime", "delete", "--spec", str(path)]
    done = subprocess.run(command, env=box.environment(termination), capture_output=True, text=True)
    told = json.loads(termination.read_text()) if termination.exists() else {}
    return Ended(code=done.returncode, output=done.stdout, log=done.stderr, termination=told)


def content(fingerprints: list[str], uri: str = "pvc://store/tftrt") -> dict[str, object]:
    return {
        "version": 1,
        "model": {"namespace": "default", "name": "model"},
        "artifacts": {"uri": uri},
        "fingerprints": fingerprints,
    }


def artifact(box: Box, fingerprint: str, namespace: str = "default") -> Path:
    folder = box.pvc / "store/tftrt" / namespace / fingerprint
    (folder / "cpu/builds/build-1/model").mkdir(parents=True)
    (folder / "cpu/builds/build-1/model/saved_model.pb").write_bytes(b"model")
    (folder / "cpu/manifest.json").write_text("{}")
    return folder


def test_the_named_fingerprints_are_deleted_and_nothing_else(box: Box) -> None:
    mine, other, theirs = artifact(box, FINGERPRINT), artifact(box, OTHER), artifact(box, FINGERPRINT, "other")
    ended = delete(box, [FINGERPRINT])
    assert ended.code == 0, ended.log
    assert not mine.exists()
    assert (other / "cpu/manifest.json").exists()
    assert (theirs / "cpu/manifest.json").exists()


def test_deleting_what_is_gone_is_no_fault(box: Box) -> None:
    artifact(box, FINGERPRINT)
    assert [delete(box, [FINGERPRINT, OTHER]).code for _ in range(2)] == [0, 0]


def test_a_namespaces_folder_goes_with_its_last_artifact_and_the_store_stays(box: Box) -> None:
    artifact(box, FINGERPRINT)
    assert delete(box, [FINGERPRINT]).code == 0
    assert (box.pvc / "store/tftrt").is_dir()
    assert not (box.pvc / "store/tftrt/default").exists()


@pytest.mark.parametrize("fingerprint", ["..", "", "../" + "0" * 29, "0" * 31, "A" * 32])
def test_a_fingerprint_cannot_lead_anywhere_else(box: Box, fingerprint: str) -> None:
    assert "fingerprints.0" in refusal(box.root / "s", content([fingerprint]), spec.DeleteSpec)


def test_a_link_in_the_place_of_an_artifact_is_deleted_and_not_followed(box: Box) -> None:
    kept = artifact(box, FINGERPRINT, "other")
    (box.pvc / "store/tftrt/default").mkdir()
    (box.pvc / "store/tftrt/default" / FINGERPRINT).symlink_to(kept)
    assert delete(box, [FINGERPRINT]).code == 0
    assert (kept / "cpu/manifest.json").exists()


def test_a_link_inside_an_artifact_is_not_followed(box: Box) -> None:
    kept = artifact(box, FINGERPRINT, "other")
    (artifact(box, FINGERPRINT) / "NVIDIA-A10").symlink_to(kept / "cpu")
    assert delete(box, [FINGERPRINT]).code == 0
    assert (kept / "cpu/manifest.json").exists()


def test_a_namespace_that_is_a_link_to_another_is_left_alone(box: Box) -> None:
    kept = artifact(box, FINGERPRINT, "other")
    (box.pvc / "store/tftrt/default").symlink_to(kept.parent)
    assert delete(box, [FINGERPRINT]).code == 31
    assert (kept / "cpu/manifest.json").exists()


def test_a_store_that_leads_out_of_its_volume_is_left_alone(box: Box) -> None:
    elsewhere = box.root / "elsewhere/default" / FINGERPRINT
    elsewhere.mkdir(parents=True)
    (box.pvc / "store/tftrt").symlink_to(box.root / "elsewhere")
    ended = delete(box, [FINGERPRINT])
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")
    assert "leads elsewhere" in ended.message
    assert elsewhere.is_dir()


def test_a_store_that_is_not_mounted_is_told(box: Box) -> None:
    ended = delete(box, [FINGERPRINT], "pvc://nowhere/tftrt")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written_is_told_to_a_user_without_the_right(box: Box) -> None:
    folder = artifact(box, FINGERPRINT)
    folder.parent.chmod(0o555)
    try:
        ended = delete(box, [FINGERPRINT])
    finally:
        folder.parent.chmod(0o755)
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")


def test_a_store_that_cannot_be_written_is_told(box: Box) -> None:
    """A file where the namespace's folder should be: not even root can delete below it."""
    (box.pvc / "store/tftrt").mkdir()
    (box.pvc / "store/tftrt/default").write_text("no folder")
    ended = delete(box, [FINGERPRINT])
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")
    assert "pvc://store/tftrt cannot be read or written" in ended.message
