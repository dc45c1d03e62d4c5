"""What a Secret says of who asks a store, and whom."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tftrt_runtime.contract.errors import SecretUnfit, SourceNotFound, StoreUnavailable
from tftrt_runtime.fetching import trees
from tftrt_runtime.storage import credentials, remote, secret
from tftrt_runtime.storage.bucket_store import BucketStore


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the store's Secret; the environment knows no account."""
    monkeypatch.setenv("TFTRT_SECRETS", str(tmp_path))
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "artifacts"


def put(folder: Path, **keys: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, value in keys.items():
        (folder / name).write_text(f"{value}\n")


def options(scheme: str) -> dict[str, Any]:
    return credentials.options(secret.read("artifacts", scheme), "artifacts", scheme)


def token(claims: dict[str, object]) -> str:
    """A JWT."""
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"signature"))


def test_an_azure_uri_without_an_account_is_refused_in_words(mounted: Path) -> None:
    with pytest.raises(SecretUnfit, match="give the artifacts a Secret with at least AZURE_STORAGE_ACCOUNT"):
        options("az")
    put(mounted, AZURE_STORAGE_KEY="YS1rZXk=")
    with pytest.raises(SecretUnfit, match="has no AZURE_STORAGE_ACCOUNT"):
        options("az")


def test_an_azure_account_is_named_by_the_secret_or_by_the_nodes_environment(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "of-the-node")
    assert options("az")["account_name"] == "of-the-node"
    put(mounted, AZURE_STORAGE_ACCOUNT="of-the-secret")
    assert options("az")["account_name"] == "of-the-secret"


def test_half_of_a_pair_of_keys_is_refused(mounted: Path) -> None:
    put(mounted, AWS_ACCESS_KEY_ID="an-id")
    with pytest.raises(SecretUnfit, match="has no AWS_SECRET_ACCESS_KEY"):
        options("s3")


def test_a_secret_of_other_keys_names_those_that_there_are(mounted: Path) -> None:
    put(mounted, **{"password.txt": "x"})
    with pytest.raises(SecretUnfit, match=r"has password\.txt, and gs:// takes key\.json"):
        secret.read("artifacts", "gs")


@pytest.mark.parametrize("value", ["no JSON", "[]", '{"type": "authorized_user"', "7"])
def test_a_google_key_that_is_none_is_refused_and_not_repeated(mounted: Path, value: str) -> None:
    put(mounted, **{"key.json": value})
    with pytest.raises(SecretUnfit, match=r"key\.json in the Secret for the artifacts is no service account's") as told:
        options("gs")
    assert value not in str(told.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"token": "any", "namespace": "default", "ca.crt": "any"},
        {"token": token({"sub": "system:serviceaccount:default:default"})},
        {"username": "me", "password": token({"sub": "system:serviceaccount:kube-system:admin"})},
    ],
)
def test_a_service_accounts_token_is_no_credential_whatever_hosts_says(mounted: Path, keys: dict[str, str]) -> None:
    put(mounted, hosts="models.example.com", **keys)
    with pytest.raises(SecretUnfit, match="is a ServiceAccount's token"):
        secret.read("artifacts", "https")


@pytest.mark.parametrize(
    "value", [token({"sub": "a-user"}), "a.b.c", "no-jwt", token({"aud": "system:serviceaccount:"})]
)
def test_any_other_token_is_one(mounted: Path, value: str) -> None:
    put(mounted, hosts="models.example.com", token=value)
    assert options("https")["headers"]["Authorization"] == f"Bearer {value}"


def test_an_authority_that_is_none_and_hosts_that_are_none_are_refused_and_not_repeated(mounted: Path) -> None:
    put(mounted, hosts="models.example.com", token="a", **{"ca.crt": "planted"})
    with pytest.raises(SecretUnfit, match=r"ca\.crt in the Secret for the artifacts is no certificate") as told:
        secret.read("artifacts", "https")
    assert "planted" not in str(told.value)
    (mounted / "ca.crt").unlink()
    put(mounted, hosts="*")
    with pytest.raises(SecretUnfit, match="entry 1 of `hosts` is none"):
        secret.read("artifacts", "https")


@pytest.fixture
def environments(mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the environment's own program for credentials leaves, if anyone asks it for some; it gives none."""
    asked, program = tmp_path / "asked", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {asked}\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "config").write_text(f"[profile of-the-node]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "of-the-node")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    return asked


@pytest.mark.parametrize("keys", [{}, {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}])
@pytest.mark.parametrize("profile", ["of-the-node", "nobody-has-it"])
def test_with_a_secret_nothing_of_the_environments_profile_is_asked_for(
    environments: Path, mounted: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], profile: str
) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)
    put(mounted, AWS_ENDPOINT_URL="https://127.0.0.1:9", hosts="127.0.0.1:9", **keys)
    with pytest.raises(remote.Unavailable, match="refused"), remote.told():
        remote.open_remote("s3://bucket/model", "artifacts").filesystem.find("bucket/model")
    assert not environments.exists()


def test_a_profile_of_the_environment_that_gives_nothing_is_told(environments: Path) -> None:
    with pytest.raises(SourceNotFound, match="s3://bucket/model may not be read"):
        trees.open_tree("s3://bucket/model", "source")
    with pytest.raises(StoreUnavailable, match="s3://bucket/tftrt"):
        BucketStore("s3://bucket/tftrt")
    assert environments.exists()


def test_what_the_environment_says_of_azure_does_not_win_over_a_secret(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = "AccountName=ofthenode;AccountKey=dGhlaXJz;EndpointSuffix=core.windows.net"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", theirs)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "dGhlaXJz")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sig=theirs")
    put(mounted, AZURE_STORAGE_ACCOUNT="ofthesecret", AZURE_STORAGE_SAS_TOKEN="sig=ours")
    client = remote.open_remote("az://bucket/tftrt", "artifacts").filesystem
    assert client.service_client.account_name == "ofthesecret"
    assert (client.connection_string, client.account_key, client.sas_token) == (None, None, "sig=ours")


@pytest.mark.parametrize(
    ("uri", "keys", "told"),
    [
        ("s3://bucket/model", {"AWS_ENDPOINT_URL": "https://127.0.0.1:9"}, "without credentials: the Secret"),
        ("az://bucket/model", {"AZURE_STORAGE_ACCOUNT": "account"}, "with what the node's environment grants"),
        ("az://bucket/model", {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "YQ=="}, "with AZURE_STORAGE_KEY of"),
        ("gs://bucket/model", {"key.json": "{}", "GOOGLE_ENDPOINT_URL": "https://127.0.0.1:9"}, "with key.json of the"),
        ("gs://bucket/model", {}, "with what the node's environment grants"),
        ("https://models.example.com/x", {"token": "a"}, "with token of the Secret for the artifacts: check them"),
        (
            "https://models.example.com/x?version=1",
            {},
            "without credentials: name a Secret with username, password, to",
        ),
        ("https://models.example.com/x?sv=1&sig=a", {}, "with the signature in its query, which may have expired"),
    ],
)
def test_a_refusal_is_told_with_whose_credentials_were_used(
    mounted: Path, uri: str, keys: dict[str, str], told: str
) -> None:
    if keys:
        put(mounted, **keys)
    said = credentials.whose(secret.read("artifacts", uri.partition("://")[0]), "artifacts", uri)
    assert said.startswith(f"It was asked for {told}")
    assert "docs/storage.md" in said


def test_an_s3_uri_without_a_secret_is_asked_for_as_whom_the_environment_says(
    mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert "without credentials: name a Secret" in credentials.whose(None, "source", "s3://bucket/model")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    assert "with what the node's environment grants" in credentials.whose(None, "source", "s3://bucket/model")
