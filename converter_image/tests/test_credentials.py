"""What a Secret says of who asks a store, and whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tftrt_runtime.errors import UsageError
from tftrt_runtime.storage import credentials


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the store's Secret; the environment knows no account."""
    monkeypatch.setenv("TFTRT_SECRETS", str(tmp_path))
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "artifacts"


def test_an_azure_uri_without_an_account_is_refused_in_words(secret: Path) -> None:
    with pytest.raises(UsageError, match="give the artifacts a Secret with at least AZURE_STORAGE_ACCOUNT"):
        credentials.options("artifacts", "az")
    secret.mkdir()
    (secret / "AZURE_STORAGE_KEY").write_text("a-key")
    with pytest.raises(UsageError, match="has no AZURE_STORAGE_ACCOUNT"):
        credentials.options("artifacts", "az")


def test_an_azure_account_is_named_by_the_secret_or_by_the_nodes_environment(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "of-the-node")
    assert credentials.options("artifacts", "az")["account_name"] == "of-the-node"
    secret.mkdir()
    (secret / "AZURE_STORAGE_ACCOUNT").write_text("of-the-secret\n")
    assert credentials.options("artifacts", "az")["account_name"] == "of-the-secret"


def test_half_of_a_pair_of_keys_is_refused(secret: Path) -> None:
    secret.mkdir()
    (secret / "AWS_ACCESS_KEY_ID").write_text("an-id")
    with pytest.raises(UsageError, match="has no AWS_SECRET_ACCESS_KEY"):
        credentials.options("artifacts", "s3")


def test_a_secret_of_other_keys_names_those_that_there_are(secret: Path) -> None:
    secret.mkdir()
    (secret / "password.txt").write_text("x")
    with pytest.raises(UsageError, match=r"has password\.txt, and gs:// takes key\.json"):
        credentials.options("artifacts", "gs")
