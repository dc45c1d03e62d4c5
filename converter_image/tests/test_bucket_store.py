"""Artifacts in an object store: complete or not at all, whoever writes, whoever is killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.authority import Authority
from tests.box import FINGERPRINT, Box, Ended, Mount
from tests.object_store import BUCKET, KEYS, Line, ObjectStore, WebServer, secret
from tests.test_publish import DIGEST, KILLED, prepare, start_and_stop

STORE = f"s3://{BUCKET}/tftrt"
PRODUCT = f"tftrt/default/{FINGERPRINT}/cpu"
FILES = ["model/saved_model.pb", "model/variables/variables.index"]


@pytest.fixture
def box(tmp_path: Path, s3: ObjectStore) -> Box:
    """A box as `convert` leaves it, whose store is a bucket."""
    return in_bucket(Box(tmp_path), s3)


def in_bucket(box: Box, s3: ObjectStore) -> Box:
    box.spec["artifacts"] = {"uri": STORE}
    s3.secret(box, "artifacts")
    prepare(box, DIGEST)
    return box


def other(box: Box, s3: ObjectStore, build: str) -> Box:
    """Another Job's box over the same store."""
    return in_bucket(Box(box.root / build, build=build), s3)


def manifest(s3: ObjectStore) -> dict[str, Any]:
    return dict(json.loads(s3.get(f"{PRODUCT}/manifest.json")))


def builds(s3: ObjectStore) -> set[str]:
    return {key.split("/")[5] for key in s3.keys(f"{PRODUCT}/builds/")}


def uploaded(box: Box, path: str) -> bytes:
    return (box.workspace / "artifact" / path).read_bytes()


def run(box: Box, command: str, spec: dict[str, Any]) -> Ended:
    path, termination = box.root / f"{command}.json", box.root / "termination"
    termination.unlink(missing_ok=True)
    path.write_text(json.dumps(spec))
    arguments = [sys.executable, "-m", "tftrt_runtime", command, "--spec", str(path)]
    done = subprocess.run(arguments, env=box.environment(termination), capture_output=True, text=True)
    told = json.loads(termination.read_text()) if termination.exists() else {}
    return Ended(code=done.returncode, output=done.stdout, log=done.stderr, termination=told)


def pull(box: Box, uri: str = f"s3://{BUCKET}/{PRODUCT}") -> Ended:
    box.product.mkdir(parents=True, exist_ok=True)
    server = {key: box.spec[key] for key in ("version", "model", "fingerprint", "runtime")}
    more = {"artifact": {"uri": uri}, "memoryFraction": None, "maxQueueDelayMicroseconds": 0}
    return run(box, "pull", server | more)


def test_the_summary_says_where_the_artifact_is_and_the_manifest_lists_every_file(box: Box, s3: ObjectStore) -> None:
    ended = box.run("publish")
    assert ended.code == 0, ended.log
    assert ended.termination["artifact"] == f"s3://{BUCKET}/{PRODUCT}"
    found = manifest(s3)
    assert [file["path"] for file in found["files"]] == FILES
    assert s3.keys() == [*(f"{PRODUCT}/builds/{found['build']}/{path}" for path in FILES), f"{PRODUCT}/manifest.json"]


def test_a_second_job_reports_the_first_ones_artifact_and_leaves_none_of_its_own(box: Box, s3: ObjectStore) -> None:
    first = box.run("publish")
    second = other(box, s3, "build-2").run("publish")
    assert (second.code, second.termination["result"], second.termination["build"]) == (0, "Reused", "build-1")
    assert len(builds(s3)) == 1
    assert box.run("publish").termination == first.termination, "the same Job published it"


def test_of_writers_that_race_one_wins_and_all_report_it(box: Box, s3: ObjectStore) -> None:
    boxes = [box, *(other(box, s3, f"build-{number}") for number in range(2, 5))]
    running = [(one, one.start("publish")) for one in boxes]
    ended = [one.finish(process) for one, process in running]
    assert [one.code for one in ended] == [0] * len(boxes), [one.log for one in ended]
    assert len({one.termination["build"] for one in ended}) == 1
    assert sorted(one.termination["result"] for one in ended) == ["Published"] + ["Reused"] * (len(boxes) - 1)
    assert builds(s3) == {manifest(s3)["build"]}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_writer_that_is_killed_leaves_nothing_that_counts_and_its_next_attempt_publishes(
    box: Box, s3: ObjectStore, count: int
) -> None:
    """Each file is opened twice: to be uploaded, and to be digested."""
    command = [
        sys.executable,
        "-c",
        KILLED,
        "open",
        "workspace/artifact/model",
        str(count),
        *box.command("publish")[3:],
    ]
    killed = subprocess.run(command, env=box.environment(box.root / "termination"), capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert f"{PRODUCT}/manifest.json" not in s3.keys("tftrt")
    ended = box.run("publish")
    assert (ended.code, ended.termination["result"]) == (0, "Published")
    assert builds(s3) == {manifest(s3)["build"]}


def test_a_writer_that_is_killed_before_it_has_cleared_up_is_followed_by_one_that_does(
    box: Box, s3: ObjectStore
) -> None:
    s3.put(f"{PRODUCT}/builds/build-1.0000/{FILES[0]}", b"left by an attempt that was killed")
    assert box.run("publish").code == 0
    assert builds(s3) == {manifest(s3)["build"]}
    s3.put(f"{PRODUCT}/builds/build-1.0000/{FILES[0]}", b"as if this one had been killed at once")
    assert box.run("publish").code == 0
    assert builds(s3) == {manifest(s3)["build"]}


def test_the_stores_of_the_tests_wait_for_no_client_that_stands_still(s3: ObjectStore, authority: Authority) -> None:
    """As one that is stopped while it shakes hands."""
    with WebServer(b"a model", authority=authority).running("model.pb") as server:
        for endpoint in (s3.endpoint, server.base):
            address = urlsplit(endpoint)
            with socket.create_connection((address.hostname, address.port)):
                urllib.request.urlopen(f"{endpoint}/", timeout=5, context=authority.trusted()).close()


def test_an_attempt_that_was_given_up_and_lives_on_publishes_nothing_half(box: Box, s3: ObjectStore) -> None:
    """The following attempt has begun when the first goes on, with a file uploaded, and is the first to end."""
    lost = start_and_stop(box, "open", "workspace/artifact/model", 3)
    following = start_and_stop(box, "open", "workspace/artifact/model", 1)
    lost.send_signal(signal.SIGCONT)
    assert box.finish(lost).code == 0
    following.send_signal(signal.SIGCONT)
    assert box.finish(following).code == 0
    found = manifest(s3)
    assert s3.keys() == [*(f"{PRODUCT}/builds/{found['build']}/{path}" for path in FILES), f"{PRODUCT}/manifest.json"]


def test_an_upload_that_is_cut_off_is_begun_again(box: Box, s3: ObjectStore) -> None:
    with Line(s3.endpoint, cuts=2, after=100_000).running() as line:
        secret(box, "artifacts", KEYS | s3.place(line.url))
        ended = box.run("publish")
        assert ended.code == 0, ended.log
        assert line.cuts == 0
    assert s3.get(f"{PRODUCT}/builds/{manifest(s3)['build']}/{FILES[0]}") == uploaded(box, FILES[0])


def test_a_connection_that_is_always_cut_off_is_a_passing_fault_and_nothing_half_counts(
    box: Box, s3: ObjectStore
) -> None:
    with Line(s3.endpoint, cuts=1000, after=100_000).running() as line:
        secret(box, "artifacts", KEYS | s3.place(line.url))
        ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable"), ended.log
    assert f"{STORE}/default" in ended.message
    assert f"{PRODUCT}/manifest.json" not in s3.keys("tftrt")
    s3.secret(box, "artifacts")
    assert box.run("publish").termination["result"] == "Published"
    assert builds(s3) == {manifest(s3)["build"]}


def test_a_bucket_that_may_only_be_read_is_told_with_the_secret_to_look_at(box: Box, s3: ObjectStore) -> None:
    with s3.reader() as keys:
        secret(box, "artifacts", KEYS | keys | s3.place(s3.endpoint))
        assert box.run("lookup").code == 0
        ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable"), ended.log
    assert "with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY of the Secret for the artifacts" in ended.message
    assert "spec.artifacts.secretName" in ended.message
    assert s3.keys("tftrt") == []
    s3.secret(box, "artifacts")
    assert box.run("publish").termination["result"] == "Published"


def test_a_server_gets_the_artifact_as_it_was_published_however_often_it_starts(box: Box, s3: ObjectStore) -> None:
    box.run("publish")
    for _ in range(2):
        ended = pull(box)
        assert ended.code == 0, ended.log
        found = box.product / "builds" / manifest(s3)["build"]
        for path in FILES:
            assert (found / path).read_bytes() == uploaded(box, path)
        assert json.loads((box.product / "manifest.json").read_text()) == manifest(s3)
        (box.product / "builds" / "left by a killed one").mkdir()
    assert pull(box).code == 0
    assert len(list((box.product / "builds").iterdir())) == 1, "what a killed attempt left is gone"


def test_a_server_without_room_for_the_artifact_is_told(box: Box, mount: Mount) -> None:
    box.run("publish")
    mount(box.product, "size=100k")
    ended = pull(box)
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable"), ended.log
    assert "No space left on device" in ended.message
    assert not (box.product / "manifest.json").exists()
    mount(box.product, "size=10m")
    assert pull(box).code == 0


def test_an_artifact_that_is_gone_or_somebody_elses_is_not_pulled(box: Box) -> None:
    ended = pull(box)
    assert (ended.code, ended.termination["reason"]) == (23, "ArtifactNotFound")
    ended = pull(box, f"s3://{BUCKET}/tftrt/other/{FINGERPRINT}/cpu")
    assert ended.code == 2
    assert "it is no artifact of this model" in ended.message


def test_lookup_brings_every_products_manifest(box: Box, s3: ObjectStore) -> None:
    box.run("publish")
    s3.put(f"{PRODUCT[:-3]}NVIDIA-A10/manifest.json", b"{}")
    assert box.run("lookup").code == 0
    assert sorted(path.name for path in (box.workspace / "manifests").iterdir()) == ["NVIDIA-A10.json", "cpu.json"]
    assert not (box.workspace / "published").exists()


def test_an_artifact_that_is_to_be_verified_on_other_data_comes_along(box: Box, s3: ObjectStore) -> None:
    box.run("publish")
    box.spec["verification"] = {"uri": "s3://data/held-out"}
    assert box.run("lookup").code == 0
    brought = box.workspace / "published/cpu/builds" / manifest(s3)["build"]
    assert (brought / FILES[0]).read_bytes() == (box.workspace / "artifact" / FILES[0]).read_bytes()


def test_the_named_fingerprints_are_deleted_and_nothing_else(box: Box, s3: ObjectStore) -> None:
    box.run("publish")
    s3.put(f"tftrt/default/{'f' * 32}/cpu/manifest.json", b"{}")
    task = {"version": 1, "model": box.spec["model"], "artifacts": {"uri": STORE}, "fingerprints": [FINGERPRINT]}
    for _ in range(2):
        ended = run(box, "delete", task)
        assert ended.code == 0, ended.log
        assert s3.keys() == [f"tftrt/default/{'f' * 32}/cpu/manifest.json"]


def test_a_bucket_that_is_not_there_and_a_store_that_is_not_reached_are_told(box: Box) -> None:
    box.spec["artifacts"] = {"uri": "s3://no-such-bucket/tftrt"}
    ended = box.run("publish")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")
    assert "no such bucket" in ended.message
    secret(box, "artifacts", {"AWS_ENDPOINT_URL": "https://127.0.0.1:9", "hosts": "127.0.0.1:9"})
    ended = box.run("lookup")
    assert (ended.code, ended.termination["reason"]) == (31, "StoreUnavailable")
    assert "cannot be reached" in ended.message


def test_a_store_that_nobody_vouches_for_is_told_and_not_asked_again(box: Box, s3: ObjectStore) -> None:
    (box.secrets / "artifacts" / "ca.crt").unlink()
    for ended in (box.run("lookup"), box.run("publish"), pull(box)):
        assert (ended.code, ended.termination["reason"]) == (27, "CertificateNotTrusted"), ended.log
        assert f"The certificate of {s3.endpoint.removeprefix('https://')} is not trusted" in ended.message


def test_a_manifest_of_another_artifact_is_not_pulled(box: Box, s3: ObjectStore) -> None:
    box.run("publish")
    s3.put(f"{PRODUCT}/manifest.json", s3.get(f"{PRODUCT}/manifest.json").replace(FINGERPRINT.encode(), b"f" * 32))
    ended = pull(box)
    assert (ended.code, ended.termination["reason"]) == (22, "ArtifactCorrupt")
    assert not (box.product / "manifest.json").exists()
