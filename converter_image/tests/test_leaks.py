"""What opens a store is told to nobody: planted in each key and each query, and searched for in all that is written."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.authority import Authority
from tests.box import Box, Ended
from tests.object_store import BUCKET, ObjectStore, WebServer, secret
from tests.planted import leaked

S3_KEYS = {"AWS_ACCESS_KEY_ID": "planted-id", "AWS_SECRET_ACCESS_KEY": "planted-key", "AWS_REGION": "us-east-1"}


def expect_nothing_told(box: Box, ended: Ended) -> None:
    """Look through the streams, the termination message, and all that lies in the workspace and in claims."""
    assert leaked(ended.log.encode()) == []
    assert leaked(ended.output.encode()) == []
    own = {box.root / "spec.json", *box.secrets.rglob("*")}
    for path in box.root.rglob("*"):
        if path.is_file() and path not in own:
            assert leaked(path.read_bytes()) == [], path


def archive(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            opened.write(path, path.relative_to(folder))
    return stream.getvalue()


def signed(server: WebServer, name: str) -> str:
    return f"{server.base}/{name}?X-Amz-Signature=planted-signature&X-Amz-Credential=planted%2Fid"


@pytest.fixture
def web(authority: Authority) -> Iterator[WebServer]:
    with WebServer(b"", authority=authority, authorization="Bearer planted-token").running("model.zip") as made:
        yield made


@pytest.fixture
def box(tmp_path: Path, models: Path, authority: Authority, web: WebServer, s3: ObjectStore) -> Box:
    """A box whose model comes from a pre-signed address by a token, and whose store is a bucket."""
    made = Box(tmp_path, name="cnn")
    web.content = archive(models / "cnn")
    made.spec["source"]["uri"] = signed(web, "model.zip")
    made.spec["artifacts"] = {"uri": f"s3://{BUCKET}/tftrt"}
    secret(made, "artifacts", S3_KEYS | s3.place(s3.endpoint))
    secret(made, "source", {"token": "planted-token", "hosts": web.host, "ca.crt": authority.text})
    return made


def test_of_a_conversion_that_ends_well_nothing_tells_what_opens_it(
    box: Box, authority: Authority, web: WebServer, s3: ObjectStore
) -> None:
    stream = io.BytesIO()
    np.savez(stream, images=np.random.default_rng(3).random((10, 16, 16, 3)).astype(np.float32))
    with WebServer(stream.getvalue(), authority=authority).running("held-out.npz") as data:
        box.spec["verification"] = {"uri": signed(data, "held-out.npz")}
        secret(box, "verification", {"username": "planted", "password": "planted", "hosts": data.host})
        secret(box, "verification", {"ca.crt": authority.text})
        for build, result in (("build-1", "Published"), ("build-2", "Reused")):
            box.build = build
            for step in ("lookup", "fetch", "convert", "publish"):
                ended = box.run(step)
                assert ended.code == 0, ended.log
                expect_nothing_told(box, ended)
            assert ended.termination["result"] == result
            assert ended.termination["verification"]["uri"].startswith(f"{data.base}/held-out.npz?sha256=")
            assert not (box.workspace / "published").exists() or not list((box.workspace / "published").iterdir())
        # The same artifact on other data: an address with another signature.
        box.spec["verification"] = {"uri": signed(data, "held-out.npz") + "&of=other"}
        for step in ("lookup", "fetch", "convert", "publish"):
            ended = box.run(step)
            assert ended.code == 0, ended.log
            expect_nothing_told(box, ended)
        assert (box.workspace / "published/cpu/manifest.json").exists()
    keys = s3.keys("tftrt")
    assert any("/tensorboard/" in key for key in keys)
    for key in keys:
        assert leaked(s3.get(key)) == [], key


def refused(web: WebServer, _box: Box) -> None:
    web.authorization = "another"


def missing(web: WebServer, _box: Box) -> None:
    web.refuses = 404


def forbidden(web: WebServer, _box: Box) -> None:
    web.refuses = 403


def no_archive(web: WebServer, _box: Box) -> None:
    web.content = b"no archive"


def not_reached(_web: WebServer, box: Box) -> None:
    box.spec["source"]["uri"] = "https://127.0.0.1:9/model.zip?X-Amz-Signature=planted-signature"
    secret(box, "source", {"hosts": "127.0.0.1:9"})


def not_trusted(_web: WebServer, box: Box) -> None:
    (box.secrets / "source" / "ca.crt").unlink()


def not_named(_web: WebServer, box: Box) -> None:
    secret(box, "source", {"hosts": "models.example.com"})


def pinned(_web: WebServer, box: Box) -> None:
    box.spec["source"]["digest"] = "sha256:" + "0" * 64


def no_signature(_web: WebServer, box: Box) -> None:
    box.spec["source"]["signature"] = "no-such-signature"


def without_a_gpu(web: WebServer, box: Box) -> None:
    box.spec["conversion"] |= {
        "precision": "INT8",
        "calibration": {"uri": signed(web, "calibration.npz"), "samples": 8, "batchSize": 1},
    }
    shutil.copytree(box.secrets / "source", box.secrets / "calibration")


@pytest.mark.parametrize(
    "fault",
    [refused, missing, forbidden, no_archive, not_reached, not_trusted, not_named, pinned, no_signature, without_a_gpu],
)
def test_of_a_conversion_that_fails_nothing_tells_what_opens_it(box: Box, web: WebServer, fault: Any) -> None:
    fault(web, box)
    ended = box.run("fetch")
    if ended.code == 0:
        ended = box.run("convert")
    assert ended.code != 0
    assert ended.message
    expect_nothing_told(box, ended)
