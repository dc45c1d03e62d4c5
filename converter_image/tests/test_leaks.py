"""What opens a store is told to nobody: planted in each key and each query, and searched for in all that is written."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.authority import Authority
from tests.box import Box, Ended
from tests.object_store import BUCKET, ObjectStore, WebServer, secret
from tests.planted import ACCOUNT_KEY, leaked
from tests.test_fetch_remote import zipped
from tftrt_runtime.contract.errors import SecretUnfit
from tftrt_runtime.fetching.trees import open_tree
from tftrt_runtime.storage.secret import KNOWN

S3_KEYS = {"AWS_ACCESS_KEY_ID": "planted-id", "AWS_SECRET_ACCESS_KEY": "planted-key", "AWS_REGION": "us-east-1"}


def expect_nothing_told(box: Box, ended: Ended) -> None:
    """Look through the streams, the termination message, and all that lies in the workspace and in claims."""
    assert leaked(ended.log.encode()) == []
    assert leaked(ended.output.encode()) == []
    own = {box.root / "spec.json", *box.secrets.rglob("*")}
    for path in box.root.rglob("*"):
        if path.is_file() and path not in own:
            assert leaked(path.read_bytes()) == [], path


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
    web.content = zipped(models / "cnn")
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
            assert ended.termination["verification"]["uri"] == f"{data.base}/held-out.npz"
            assert not (box.workspace / "published").exists() or not list((box.workspace / "published").iterdir())
            # The same data: an address with another signature.
            box.spec["verification"] = {"uri": signed(data, "held-out.npz").replace("signature&", "signature-again&")}
        # The same artifact on other data.
        box.spec["verification"] = {"uri": signed(data, "held-out.npz") + "&of=planted-other"}
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
    if fault in (not_reached, not_trusted):
        expected = "SourceUnavailable" if fault is not_reached else "CertificateNotTrusted"
        assert ended.termination["reason"] == expected
    expect_nothing_told(box, ended)


PLACES = {
    "s3": ("s3://bucket/model", S3_KEYS | {"AWS_ENDPOINT_URL": "https://127.0.0.1:9"}),
    "gs": ("gs://bucket/model", {"GOOGLE_ENDPOINT_URL": "https://127.0.0.1:9"}),
    "az": ("az://bucket/model", {"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": ACCOUNT_KEY}),
    "https": ("https://127.0.0.1:9/model.zip", {"username": "planted", "password": "planted"}),
}
BAD_URLS = (
    "planted",
    "ftp://planted",
    "https://127.0.0.1:planted",
    "https://me:planted@127.0.0.1:9",
    "https://127.0.0.1:9?sig=planted",
    "https://127.0.0.1:9/#planted",
)
BAD_WORDS = ("planted key", "planted\nkey", "plantéd-planted")
BAD = {
    "AWS_ACCESS_KEY_ID": BAD_WORDS,
    "AWS_SECRET_ACCESS_KEY": BAD_WORDS,
    "AWS_SESSION_TOKEN": BAD_WORDS,
    "AWS_REGION": ("planted region", "planted/key", "planted.attacker.example", ""),
    "AWS_ENDPOINT_URL": BAD_URLS,
    "GOOGLE_ENDPOINT_URL": BAD_URLS,
    "key.json": (
        "planted",
        '{"client_email": "a", "private_key": "planted", "token_uri": "https://127.0.0.1:9/token"}',
        '{"client_email": "a", "private_key": "a", "token_uri": "planted"}',
        '{"client_email": "a", "private_key": ["planted"], "token_uri": "https://127.0.0.1:9/token"}',
    ),
    "AZURE_STORAGE_CONNECTION_STRING": (
        "planted",
        "AccountName=account;AccountKey=planted",
        "AccountName=planted account;AccountKey=YQ==",
        *(f"AccountName=account;AccountKey=YQ==;BlobEndpoint={url}" for url in BAD_URLS),
    ),
    "AZURE_STORAGE_ACCOUNT": ("planted account", "planted/account", "planted@attacker.example"),
    "AZURE_STORAGE_KEY": ("planted", "planted key", "plantéd"),
    "AZURE_STORAGE_SAS_TOKEN": BAD_WORDS,
    "token": BAD_WORDS,
}


@pytest.mark.parametrize(("scheme", "name"), [(scheme, name) for scheme in PLACES for name in KNOWN[scheme]])
def test_a_key_that_cannot_be_read_is_named_and_nothing_of_it_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], scheme: str, name: str
) -> None:
    monkeypatch.setenv("TFTRT_SECRETS", str(tmp_path / "secrets"))
    uri, good = PLACES[scheme]
    for value in BAD.get(name, ()):
        folder = tmp_path / "secrets" / "source"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for key, text in (good | {"hosts": "127.0.0.1:9 account.blob.core.windows.net", name: value}).items():
            (folder / key).write_text(text)
        with pytest.raises(SecretUnfit, match=re.escape(name)) as failed:
            open_tree(uri, "source")
        assert leaked(failed.value.message.encode()) == []
    assert leaked("".join(capfd.readouterr()).encode()) == []
    assert name in BAD or name in ("username", "password"), "which may be any text"
