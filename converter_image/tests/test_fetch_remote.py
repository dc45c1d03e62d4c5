"""Sources and data from object stores and web servers."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.authority import Authority
from tests.box import Box
from tests.object_store import BUCKET, KEYS, ObjectStore, WebServer, basic, secret
from tftrt_runtime.contract.errors import SourceUnavailable
from tftrt_runtime.fetching.trees import open_tree
from tftrt_runtime.storage import clients

PIECE = 16 << 20  # of a download


@pytest.fixture
def source(box: Box) -> Path:
    """A model in a claim, with a file that is fetched in pieces."""
    folder = box.pvc / "models" / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"model")
    (folder / "empty").write_bytes(b"")
    (folder / "variables" / "variables.data").write_bytes(os.urandom(2 * PIECE + 5))
    return folder


def fetched(box: Box, uri: str | None = None, **source: Any) -> dict[str, Any]:
    box.spec["source"] = {**box.spec["source"], **({"uri": uri} if uri else {}), **source}
    ended = box.run("fetch")
    assert ended.code == 0, ended.log
    return dict(json.loads((box.workspace / "fetch.json").read_text()))


def tarred(folder: Path, top: str = "", compression: str = "gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(None, f"w:{compression}", stream) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname=top or ".")
    return stream.getvalue()


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    return stream.getvalue()


def test_a_model_has_one_digest_wherever_it_lies(box: Box, source: Path, s3: ObjectStore) -> None:
    in_a_claim = fetched(box)
    s3.upload(source, "models/3")
    s3.put("models/3/variables/", b"")  # as a console shows a folder
    s3.secret(box, "source")
    assert fetched(box, f"s3://{BUCKET}/models/3") == in_a_claim
    assert fetched(box, f"s3://{BUCKET}/models/3/") == in_a_claim
    for name, content in (("model.tar.gz", tarred(source, "model-3")), ("m.tar", tarred(source, compression=""))):
        s3.put(name, content)
        assert fetched(box, f"s3://{BUCKET}/{name}")["sourceDigest"] == in_a_claim["sourceDigest"]
    shutil.rmtree(box.secrets)
    with WebServer(zipped(source)).running("model.zip") as server:
        assert fetched(box, server.url)["sourceDigest"] == in_a_claim["sourceDigest"]
    (box.pvc / "models" / "model.tgz").write_bytes(tarred(source))
    assert fetched(box, "pvc://models/model.tgz")["sourceDigest"] == in_a_claim["sourceDigest"]


def test_a_download_that_breaks_off_goes_on_where_it_ended(box: Box, source: Path) -> None:
    expected = fetched(box)["sourceDigest"]
    content = tarred(source, compression="")
    with WebServer(content, breaks=2).running("model.tar") as server:
        assert fetched(box, server.url)["sourceDigest"] == expected
        starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in server.requests]
        assert starts[0] == 1, "does the server know ranges?"
        assert starts[1:4] == [0, 0, 0], "the piece that broke is asked for again"
        assert starts[4:] == [PIECE, 2 * PIECE], "and no other one is"


def test_a_server_that_knows_no_ranges_is_asked_again_from_the_start(box: Box, source: Path) -> None:
    expected = fetched(box)["sourceDigest"]
    with WebServer(tarred(source), ranges=False, breaks=2).running("model.tar.gz") as server:
        assert fetched(box, server.url)["sourceDigest"] == expected
        assert set(server.requests) == {"whole"}
        assert server.breaks == 0


@pytest.mark.parametrize(("ranges", "tls"), [(True, False), (False, True)])
def test_a_server_that_always_breaks_off_is_a_passing_fault_and_that_is_told(
    box: Box, source: Path, authority: Authority, ranges: bool, tls: bool
) -> None:
    of_tls = authority if tls else None
    with WebServer(tarred(source), breaks=1000, ranges=ranges, authority=of_tls).running("model.tar.gz") as server:
        if tls:
            secret(box, "source", {"hosts": server.host, "ca.crt": authority.text})
        box.spec["source"]["uri"] = server.url
        ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (36, "SourceUnavailable"), ended.log
    assert ended.message.startswith(f"{server.url} could not be fetched: ")
    assert "(the connection broke off)" in ended.message
    assert not (box.workspace / "fetch.json").exists()


@pytest.mark.parametrize(
    ("host", "words"),
    [("127.0.0.1:9", "the connection was refused"), ("nothing.invalid", "the name of the host is not known")],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_is_not_reached_is_a_passing_fault_and_why_is_told(
    box: Box, scheme: str, host: str, words: str
) -> None:
    box.spec["source"]["uri"] = f"{scheme}://{host}/model.zip"
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (36, "SourceUnavailable"), ended.log
    assert ended.message.startswith(f"{scheme}://{host}/model.zip could not be fetched: ")
    assert words in ended.message


def test_a_proxy_that_is_not_reached_is_a_passing_fault(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    box.spec["source"]["uri"] = "https://models.example.com/model.zip"
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (36, "SourceUnavailable"), ended.log
    assert "the connection was refused" in ended.message


def test_a_server_that_does_not_answer_is_a_passing_fault(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "READ_SECONDS", 0.2)
    monkeypatch.setenv("TFTRT_SECRETS", str(box.secrets))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}/model.zip"
        with pytest.raises(SourceUnavailable, match="it timed out"):
            open_tree(uri, "source")


def untrusted(host: str) -> str:
    return f"The certificate of {host} is not trusted: unable to get local issuer certificate."


def test_a_server_that_nobody_vouches_for_is_for_the_user_to_mend(box: Box, source: Path, authority: Authority) -> None:
    with WebServer(tarred(source), authority=authority).running("model.tar.gz") as server:
        box.spec["source"]["uri"] = server.url
        ended = box.run("fetch")
        assert (ended.code, ended.termination["reason"]) == (27, "CertificateNotTrusted"), ended.log
        assert ended.message.startswith(untrusted(server.host))
        assert "into the Secret as ca.crt" in ended.message
        assert "Trying again" not in ended.log


def test_an_object_store_that_nobody_vouches_for_is_as_well(box: Box, source: Path, s3: ObjectStore) -> None:
    box.spec["source"]["uri"] = f"s3://{BUCKET}/model"
    place = s3.place(s3.endpoint)
    secret(box, "source", KEYS | {name: place[name] for name in ("AWS_ENDPOINT_URL", "hosts")})
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (27, "CertificateNotTrusted"), ended.log
    assert ended.message.startswith(untrusted(place["hosts"]))
    assert "Trying again" not in ended.log


def test_a_secret_may_hold_an_authority_alone(box: Box, source: Path, authority: Authority, s3: ObjectStore) -> None:
    expected = fetched(box)["sourceDigest"]
    with WebServer(tarred(source), authority=authority).running("model.tar.gz") as server:
        secret(box, "source", {"hosts": server.host, "ca.crt": authority.text})
        assert fetched(box, server.url)["sourceDigest"] == expected
    s3.upload(source, "model")
    for key in s3.keys("model"):
        s3.client.put_object_acl(Bucket=BUCKET, Key=key, ACL="public-read")
    secret(box, "source", s3.place(s3.endpoint))
    assert fetched(box, f"s3://{BUCKET}/model")["sourceDigest"] == expected


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_answer_that_another_attempt_may_not_get_is_a_passing_fault(
    box: Box, authority: Authority, status: int
) -> None:
    with WebServer(b"", refuses=status, authority=authority).running("model.zip") as server:
        secret(box, "source", {"hosts": server.host, "ca.crt": authority.text})
        box.spec["source"]["uri"] = server.url
        ended = box.run("fetch")
        assert (ended.code, ended.termination["reason"]) == (36, "SourceUnavailable"), ended.log
        assert ended.message.startswith(f"{server.url} could not be fetched: {status}")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_whose_credentials_were_used(box: Box, authority: Authority, status: int) -> None:
    def told(uri: str) -> str:
        box.spec["source"]["uri"] = uri
        ended = box.run("fetch")
        assert (ended.code, ended.termination["reason"]) == (11, "SourceNotFound"), ended.log
        assert ended.message.startswith(f"{uri.partition('?')[0]} may not be read: {status}")
        assert "planted" not in ended.message
        return ended.message

    with WebServer(b"", refuses=status).running("model.zip") as server:
        assert "without credentials: name a Secret with username, password, token in spec.source.secretName" in told(
            server.url
        )
        signed = told(f"{server.url}?X-Amz-Signature=planted&X-Amz-Date=planted")
        assert "with the signature in its query, which may have expired: sign it anew" in signed
    with WebServer(b"", refuses=status, authority=authority).running("model.zip") as server:
        keys = {"username": "planted", "password": "planted", "hosts": server.host, "ca.crt": authority.text}
        secret(box, "source", keys)
        assert "with username, password of the Secret for the source" in told(server.url)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_a_server_does_not_have_is_not_found(
    box: Box, authority: Authority, status: int, tls: bool
) -> None:
    with WebServer(b"", refuses=status, authority=authority if tls else None).running("model.zip") as server:
        if tls:
            secret(box, "source", {"hosts": server.host, "ca.crt": authority.text})
        box.spec["source"]["uri"] = server.url
        ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (11, "SourceNotFound"), ended.log
    assert ended.message.startswith(f"{server.url} was not found: ")
    assert "Correct the URI, or upload the files." in ended.message


@pytest.mark.parametrize("keys", [{"username": "me", "password": "secret"}, {"token": "secret"}])
def test_a_web_server_is_told_who_asks_and_the_keys_are_told_to_nobody(
    box: Box, source: Path, authority: Authority, keys: dict[str, str]
) -> None:
    wanted = f"Bearer {keys['token']}" if "token" in keys else basic("me", "secret")
    with WebServer(tarred(source), authorization=wanted, authority=authority).running("model.tar.gz") as server:
        secret(box, "source", keys | {"hosts": server.host, "ca.crt": authority.text})
        box.spec["source"]["uri"] = server.url
        ended = box.run("fetch")
        assert ended.code == 0, ended.log
        assert "secret" not in ended.log.replace(str(box.secrets), "")
        secret(box, "source", dict.fromkeys(keys, "wrong"))
        ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (11, "SourceNotFound")
    assert f"with {', '.join(keys)} of the Secret for the source" in ended.message


def test_a_refusal_of_another_host_is_told_to_have_had_no_credentials(box: Box, authority: Authority) -> None:
    with (
        WebServer(b"", refuses=403, authority=authority).running("elsewhere") as elsewhere,
        WebServer(b"", leads_to=f"{elsewhere.url}?sig=planted", authority=authority).running("model.zip") as server,
    ):
        secret(box, "source", {"token": "secret", "hosts": server.host, "ca.crt": authority.text})
        box.spec["source"]["uri"] = server.url
        ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (11, "SourceNotFound"), ended.log
    assert f"It leads to {elsewhere.host}, which got no credentials" in ended.message
    assert "planted" not in ended.message


def test_what_is_not_there_is_told_apart_from_what_cannot_be_reached(box: Box, s3: ObjectStore) -> None:
    s3.secret(box, "source")
    for uri in ("s3://no-such-bucket/model", f"s3://{BUCKET}/no-such-key"):
        box.spec["source"]["uri"] = uri
        ended = box.run("fetch")
        assert (ended.code, ended.termination["reason"]) == (11, "SourceNotFound")
        assert uri in ended.message
    secret(box, "source", {"AWS_ENDPOINT_URL": "https://127.0.0.1:9", "hosts": "127.0.0.1:9"})
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (36, "SourceUnavailable")


def test_a_secret_that_opens_nothing_is_told_with_its_keys(box: Box) -> None:
    box.spec["source"]["uri"] = f"s3://{BUCKET}/model"
    secret(box, "source", {"accessKey": "x"})
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (26, "SecretUnfit")
    assert "accessKey" in ended.message
    assert "AWS_ACCESS_KEY_ID" in ended.message
    secret(box, "source", {"AWS_ACCESS_KEY_ID": "x"})
    assert "has no AWS_SECRET_ACCESS_KEY" in box.run("fetch").message


def test_a_pinned_digest_that_differs_ends_with_both(box: Box, source: Path) -> None:
    found = fetched(box)["sourceDigest"]
    assert fetched(box, digest=found)["sourceDigest"] == found
    other = "sha256:" + "0" * 64
    box.spec["source"]["digest"] = other
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (12, "DigestMismatch")
    assert found in ended.message
    assert other in ended.message


def evil(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, 0 if kind != tarfile.REGTYPE else 4
        archive.addfile(member, io.BytesIO(b"evil"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (evil("../../outside"), "'../../outside', which leads out of it"),
        (evil("/etc/outside"), "'/etc/outside', which leads out of it"),
        (evil("link", tarfile.SYMTYPE, "/etc/passwd"), "link, which is a link or a device"),
        (evil("hard", tarfile.LNKTYPE, "saved_model.pb"), "hard, which is a link or a device"),
        (evil("device", tarfile.CHRTYPE), "device, which is a link or a device"),
        (evil("model.h5"), "there is no saved_model.pb"),
        (b"no archive at all", "no archive that can be read"),
        (evil("saved_model.pb")[:600], "no archive that can be read"),
    ],
)
def test_an_archive_that_is_no_model_is_refused_and_nothing_of_it_lies_elsewhere(
    box: Box, content: bytes, words: str
) -> None:
    (box.pvc / "models").mkdir()
    (box.pvc / "models" / "model.tar").write_bytes(content)
    box.spec["source"]["uri"] = "pvc://models/model.tar"
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert words in ended.message
    assert not list(box.root.rglob("outside"))
    assert sorted(path.name for path in box.workspace.iterdir()) == []


def test_more_than_the_limit_is_never_written(box: Box, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "variables" / "variables.data").write_bytes(bytes(3 * PIECE))
    bomb = tarred(source)
    assert len(bomb) < PIECE // 8
    monkeypatch.setenv("TFTRT_MAX_SOURCE_BYTES", str(PIECE))
    with WebServer(bomb).running("model.tar.gz") as server:
        for uri in ("pvc://models/model", server.url):
            box.spec["source"]["uri"] = uri
            ended = box.run("fetch")
            assert (ended.code, ended.termination["reason"]) == (25, "SourceTooLarge")
            assert f"{PIECE} bytes, which is the limit" in ended.message
            assert not list(box.workspace.rglob("saved_model.pb"))


@pytest.fixture
def small_disk(box: Box) -> Iterator[None]:
    """A workspace with 70 MiB, all but 6 of which are kept for other steps."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a disk of a few megabytes")
    box.workspace.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=70m", "tmpfs", box.workspace], check=True)
    yield
    subprocess.run(["umount", box.workspace], check=True)


def test_a_source_that_the_disk_cannot_hold_is_told_before_it_is_fetched(
    box: Box, source: Path, small_disk: None
) -> None:
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (25, "SourceTooLarge")
    assert "free for it on this node" in ended.message
    assert not list(box.workspace.rglob("*.pb"))


def test_a_frozen_graph_is_a_file_or_the_only_one_in_a_folder(box: Box, s3: ObjectStore) -> None:
    s3.secret(box, "source")
    s3.put("graphs/frozen.pb", b"graph")
    s3.put("graphs/labels.txt", b"cat")
    graph = {"format": "FrozenGraph", "inputs": ["a:0"], "outputs": ["b:0"]}
    of_the_file = fetched(box, f"s3://{BUCKET}/graphs/frozen.pb", **graph)
    assert (box.workspace / "source" / "graph.pb").read_bytes() == b"graph"
    assert fetched(box, f"s3://{BUCKET}/graphs") == of_the_file
    s3.put("graphs/other.pb", b"graph")
    ended = box.run("fetch")
    assert (ended.code, ended.termination["reason"]) == (13, "NotAModel")
    assert "frozen.pb, other.pb" in ended.message
    s3.put("saved/saved_model.pb", b"model")
    box.spec["source"]["uri"] = f"s3://{BUCKET}/saved"
    assert "set spec.source.format to SavedModel" in box.run("fetch").message


@pytest.mark.parametrize("role", ["calibration", "verification"])
def test_an_authority_of_ones_own_opens_data_as_well(
    box: Box, source: Path, authority: Authority, s3: ObjectStore, role: str
) -> None:
    """From a web server and from a bucket; without it neither is trusted."""

    def name(uri: str) -> None:
        if role == "calibration":
            given = {"uri": uri, "samples": 8, "batchSize": 1}
            box.spec["conversion"] |= {"precision": "INT8", "calibration": given}
        else:
            box.spec["verification"] = {"uri": uri}

    s3.put("data/samples.npz", b"samples")
    with WebServer(b"samples", authority=authority).running("samples.npz") as server:
        of_the_server = {"token": "any", "hosts": server.host, "ca.crt": authority.text}
        of_the_bucket = KEYS | s3.place(s3.endpoint)
        for uri, keys in ((server.url, of_the_server), (f"s3://{BUCKET}/data", of_the_bucket)):
            name(uri)
            secret(box, role, {key: value for key, value in keys.items() if key != "ca.crt"})
            ended = box.run("fetch")
            assert (ended.code, ended.termination["reason"]) == (27, "CertificateNotTrusted"), ended.log
            secret(box, role, keys)
            fetched(box)
            assert (box.workspace / role / "samples.npz").read_bytes() == b"samples"
            shutil.rmtree(box.secrets)


def test_data_is_fetched_beside_the_source_with_keys_of_its_own(box: Box, source: Path, s3: ObjectStore) -> None:
    s3.put("calibration/a.npz", b"a")
    s3.put("calibration/b.npz", b"b")
    s3.secret(box, "calibration")
    box.spec["conversion"] |= {
        "precision": "INT8",
        "calibration": {"uri": f"s3://{BUCKET}/calibration", "samples": 8, "batchSize": 1},
    }
    with WebServer(b"samples").running("held-out.npz") as server:
        box.spec["verification"] = {"uri": server.url}
        found = fetched(box)
    assert (box.workspace / "calibration" / "b.npz").read_bytes() == b"b"
    assert (box.workspace / "verification" / "held-out.npz").read_bytes() == b"samples"
    assert len({found["sourceDigest"], found["calibrationDigest"], found["verificationDigest"]}) == 3
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in (box.workspace / "fetch.json").read_text()
