"""A Job whose steps are killed wherever they may be, and started again, ends as one that nobody disturbed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import Box, Ended
from tests.object_store import BUCKET, ObjectStore
from tests.test_bucket_store import PRODUCT, pull
from tftrt_runtime.contract.artifact import Manifest, check_files

# Runs a step and kills it at the Nth thing that it does to the disk or the network.
KILLED = """
import os, signal, sys
left = [int(sys.argv.pop(1))]
KINDS = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "socket.connect"}
def hook(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wxa")
    if event in KINDS or writes:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
from tftrt_runtime.__main__ import main
sys.addaudithook(hook)
main()
"""
MOST = 300
LINES_APART = 5  # a conversion takes seconds


@pytest.fixture(params=["pvc", "s3"])
def job(request: pytest.FixtureRequest, tmp_path: Path, models: Path, s3: ObjectStore) -> Box:
    """A Job with its source in a store, and its artifact, too."""
    box = Box(tmp_path, name="cnn", models=models)
    if request.param == "s3":
        s3.upload(models / "cnn", "models/cnn")
        s3.secret(box, "source", "artifacts")
        box.spec["source"]["uri"] = f"s3://{BUCKET}/models/cnn"
        box.spec["artifacts"]["uri"] = f"s3://{BUCKET}/tftrt"
    return box


def kill(box: Box, step: str, count: int) -> bool:
    """Run a step until its Nth act; whether it came so far."""
    command = [sys.executable, "-c", KILLED, str(count), *box.command(step)[3:]]
    done = subprocess.run(command, env=box.environment(box.root / "termination"), capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def kills(box: Box, step: str, stride: int = 1) -> Iterator[int]:
    """Kill a step at its first act, at a later one, and so on, until it ends."""
    for count in range(1, MOST, stride):
        if not kill(box, step, count):
            return
        yield count
    raise AssertionError(f"{step} does more than was foreseen")


def ends_well(box: Box, *steps: str) -> Ended:
    for step in steps:
        ended = box.run(step)
        assert ended.code == 0, ended.log
    return ended


def is_fetched(box: Box) -> bool:
    """Whether all that `fetch.json` counts is there."""
    fetched = json.loads((box.workspace / "fetch.json").read_text() or "{}")
    there = [path.stat().st_size for path in (box.workspace / "source").rglob("*") if path.is_file()]
    return not fetched or (len(there), sum(there)) == (fetched["files"], fetched["bytes"])


def artifact(box: Box, s3: ObjectStore) -> dict[str, int]:
    """The files of the only build there is, each of which is what the manifest says."""
    if box.spec["artifacts"]["uri"].startswith("s3:"):
        assert len({key.split("/")[5] for key in s3.keys(f"{PRODUCT}/builds/")}) == 1
        assert pull(box).code == 0
    manifest = Manifest.model_validate(box.manifest)
    check_files(manifest, box.product)
    assert [path.name for path in (box.product / "builds").iterdir()] == [manifest.build]
    return {file.path: file.size for file in manifest.files}


def test_lookup_fetch_and_publish_may_be_killed_at_any_of_their_acts(job: Box, s3: ObjectStore) -> None:
    ends_well(job, "lookup", "fetch", "convert")
    kept = job.root / "kept"
    shutil.copytree(job.workspace, kept)
    ends_well(job, "publish")
    undisturbed = artifact(job, s3)
    shutil.rmtree(job.product)
    s3_delete(s3)
    for step in ("lookup", "fetch"):
        points = []
        for point in kills(job, step):
            points.append(point)
            # What says that a step is done is written last, and is the first to go when it is done again.
            assert step == "lookup" or not (job.workspace / "fetch.json").exists() or is_fetched(job)
        assert len(points) >= 3, f"{step} was killed at {points} alone"
        ends_well(job, "lookup", "fetch")
    shutil.rmtree(job.workspace)
    shutil.copytree(kept, job.workspace)
    # What each kill leaves is cleared by the next attempt, an act for every file: it gets a little further each time.
    points = list(kills(job, "publish", stride=3))
    assert len(points) >= 5, f"publish was killed at {points} alone"
    assert ends_well(job, "publish").termination["result"] == "Published"
    assert artifact(job, s3) == undisturbed


def s3_delete(s3: ObjectStore) -> None:
    for key in s3.keys("tftrt/"):
        s3.client.delete_object(Bucket=BUCKET, Key=key)


def converted(box: Box) -> set[str]:
    """The artifact's files and folders; TensorBoard's events have names made of time and process."""
    folder = box.workspace / "artifact"
    return {path.relative_to(folder).as_posix().partition(".tfevents.")[0] for path in folder.rglob("*")}


def test_convert_may_be_killed_between_its_lines(tmp_path: Path, models: Path, s3: ObjectStore) -> None:
    box = Box(tmp_path, name="cnn", models=models)
    ends_well(box, "lookup", "fetch")
    whole = ends_well(box, "convert")
    files = converted(box)
    for number in range(0, len(whole.lines), LINES_APART):
        process = box.start("convert")
        assert process.stderr is not None
        for _ in range(number + 1):
            process.stderr.readline()
        process.kill()
        process.communicate()
        if not (box.workspace / "convert.json").exists():
            assert box.run("publish").code == 2, "there is nothing to publish"
    ends_well(box, "convert", "publish")
    assert converted(box) == files
    assert artifact(box, s3)
