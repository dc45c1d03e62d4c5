"""Where a Secret goes: to the hosts that it names, over TLS, and nowhere else. Each server here tells what came."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.authority import Authority
from tests.box import FINGERPRINT, Box
from tests.forward_proxy import ForwardProxy
from tests.object_store import WebServer, secret
from tests.planted import ACCOUNT_KEY, leaked
from tests.test_bucket_store import pull, run
from tests.test_publish import DIGEST, prepare
from tftrt_runtime.contract.errors import CertificateNotTrusted, Failure, NotAModel, SecretUnfit, SourceNotFound
from tftrt_runtime.contract.told_uri import told_text
from tftrt_runtime.fetching.trees import open_tree

MODEL = "model.tar"
IDENTITY = {"authorization", "cookie", "x-amz-security-token", "x-amz-date", "x-ms-date"}


def account(token_uri: str) -> str:
    """A Google service account's key."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    named = {"client_email": "me@project.example", "token_uri": token_uri, "private_key": pem}
    return json.dumps({"type": "service_account", "private_key_id": "1", "project_id": "project"} | named)


def amazon(server: WebServer) -> tuple[str, dict[str, str]]:
    keys = {"AWS_ACCESS_KEY_ID": "planted-id", "AWS_SECRET_ACCESS_KEY": "planted-key", "AWS_SESSION_TOKEN": "planted"}
    return "s3://bucket/model", keys | {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.base}


def google(server: WebServer) -> tuple[str, dict[str, str]]:
    return "gs://bucket/model", {"GOOGLE_ENDPOINT_URL": server.base, "key.json": account(f"{server.base}/token")}


def azure(server: WebServer) -> tuple[str, dict[str, str]]:
    text = f"AccountName=account;AccountKey={ACCOUNT_KEY};BlobEndpoint={server.base}/account"
    return "az://bucket/model", {"AZURE_STORAGE_CONNECTION_STRING": text}


def signed_azure(server: WebServer) -> tuple[str, dict[str, str]]:
    text = f"BlobEndpoint={server.base}/account;SharedAccessSignature=sv=2021-06-08&sig=planted-signature"
    return "az://bucket/model", {"AZURE_STORAGE_CONNECTION_STRING": text}


def bearer(server: WebServer) -> tuple[str, dict[str, str]]:
    return server.url, {"token": "planted-token"}


def password(server: WebServer) -> tuple[str, dict[str, str]]:
    return server.url, {"username": "planted-user", "password": "planted-password"}


Asked = Callable[[str, dict[str, str]], Failure]
Kind = Callable[[WebServer], tuple[str, dict[str, str]]]
every_kind = pytest.mark.parametrize("kind", [amazon, google, azure, signed_azure, bearer, password])


@pytest.fixture
def server(authority: Authority) -> Iterator[WebServer]:
    """A server over TLS that answers whatever it is asked, with a token for a Google account."""
    answer = json.dumps({"access_token": "planted-token", "expires_in": 3600}).encode()
    with WebServer(answer, authority=authority).running(MODEL) as made:
        yield made


@pytest.fixture
def elsewhere(authority: Authority) -> Iterator[WebServer]:
    """Another one."""
    with WebServer(b"{}", authority=authority).running(MODEL) as made:
        yield made


@pytest.fixture
def asked(box: Box, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A function that asks for a URI with a Secret, as `tftrt fetch` does; how it failed, for nothing is there."""
    monkeypatch.setenv("TFTRT_SECRETS", str(box.secrets))
    # Google's client tries again for half a minute and Azure's for two, whatever the answer.
    monkeypatch.setattr("gcsfs.retry.is_retriable", lambda _error: False)
    monkeypatch.setattr(
        "azure.storage.blob._shared.policies_async.ExponentialRetry.get_backoff_time", lambda *_arguments: 0
    )

    def ask(uri: str, keys: dict[str, str]) -> Failure:
        shutil.rmtree(box.secrets, ignore_errors=True)
        secret(box, "source", keys)
        with pytest.raises(Failure) as failed:
            # A web server answers, but that is no archive.
            raise NotAModel(open_tree(uri, "source").uri)
        return failed.value

    return ask


def identities(server: WebServer) -> list[str]:
    """What came that says who asks."""
    return [name for headers in server.headers for name in headers if name in IDENTITY]


@every_kind
def test_a_host_that_the_secret_does_not_name_is_never_asked(
    asked: Asked, authority: Authority, server: WebServer, kind: Kind
) -> None:
    uri, keys = kind(server)
    for named in ({}, {"hosts": "models.example.com"}, {"hosts": "127.0.0.1"}, {"hosts": "*.0.0.1"}):
        failure = asked(uri, keys | {"ca.crt": authority.text} | named)
        assert isinstance(failure, SecretUnfit)
        assert "The Secret for the source" in failure.message
        assert f"add the line {server.host} to its key hosts" in failure.message
    assert server.headers == []


@every_kind
def test_a_secret_never_goes_over_plain_http(asked: Asked, kind: Kind) -> None:
    with WebServer(b"{}").running(MODEL) as server:
        uri, keys = kind(server)
        failure = asked(uri, keys | {"hosts": server.host})
    assert isinstance(failure, SecretUnfit)
    assert f"would go to {server.host} over plain http" in failure.message
    assert server.headers == []


@every_kind
def test_a_host_that_is_named_gets_it(asked: Asked, authority: Authority, server: WebServer, kind: Kind) -> None:
    uri, keys = kind(server)
    server.refuses = None if kind is google else 404
    asked(uri, keys | {"hosts": server.host, "ca.crt": authority.text})
    assert identities(server) or any("sig=planted-signature" in path for path in server.paths)


@every_kind
def test_it_is_reached_through_the_proxy_of_the_environment(
    asked: Asked, authority: Authority, server: WebServer, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, keys = kind(server)
    server.refuses = None if kind is google else 404
    with ForwardProxy().running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        asked(uri, keys | {"hosts": server.host, "ca.crt": authority.text})
        assert set(proxy.asked_for) == {server.host}
        assert server.headers
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        proxy.asked_for.clear()
        asked(uri, keys | {"hosts": server.host, "ca.crt": authority.text})
        assert proxy.asked_for == []


@every_kind
def test_a_host_that_another_authority_vouches_for_gets_nothing(
    asked: Asked, server: WebServer, kind: Kind, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    uri, keys = kind(server)
    for more in ({}, {"ca.crt": Authority(tmp_path / "other").text}):
        failure = asked(uri, keys | {"hosts": server.host} | more)
        assert isinstance(failure, CertificateNotTrusted)
        assert f"The certificate of {server.host} is not trusted" in failure.message
        assert "ca.crt" in failure.message
    assert server.headers == []


def test_amazons_hosts_are_named_by_the_endpoint_that_is_in_their_names(asked: Asked) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-central-1"}
    assert "add the line bucket.s3.eu-central-1.amazonaws.com" in asked("s3://bucket/model", keys).message


def test_an_azure_accounts_host_is_asked_for_as_well(asked: Asked) -> None:
    keys = {"AZURE_STORAGE_ACCOUNT": "account"}
    for more in ({"AZURE_STORAGE_KEY": ACCOUNT_KEY}, {"AZURE_STORAGE_SAS_TOKEN": "?sv=2021-06-08&sig=planted"}):
        assert "add the line account.blob.core.windows.net" in asked("az://bucket/model", keys | more).message


def test_where_googles_token_comes_from_is_asked_for_as_well(
    asked: Asked, authority: Authority, server: WebServer, elsewhere: WebServer
) -> None:
    uri, keys = google(server)
    keys |= {"key.json": account(f"{elsewhere.base}/token"), "hosts": server.host, "ca.crt": authority.text}
    failure = asked(uri, keys)
    assert isinstance(failure, SecretUnfit)
    assert f"add the line {elsewhere.host}" in failure.message
    assert server.headers == elsewhere.headers == []


@pytest.mark.parametrize("step", ["lookup", "publish", "pull", "delete"])
def test_each_step_that_opens_the_store_asks_whom_the_secret_is_for(box: Box, server: WebServer, step: str) -> None:
    _, keys = amazon(server)
    prepare(box, DIGEST)
    box.spec["artifacts"] = {"uri": "s3://bucket/tftrt"}
    secret(box, "artifacts", keys)
    if step == "pull":
        ended = pull(box, f"s3://bucket/tftrt/default/{FINGERPRINT}/cpu")
    elif step == "delete":
        task = {"version": 1, "model": box.spec["model"], "artifacts": box.spec["artifacts"]}
        ended = run(box, "delete", task | {"fingerprints": [FINGERPRINT]})
    else:
        ended = box.run(step)
    assert (ended.code, ended.termination["reason"]) == (26, "SecretUnfit"), ended.log
    assert f"The Secret for the artifacts says of no host that it is for it, and so is not shown to {server.host}" in (
        ended.message
    )
    assert server.headers == []


@every_kind
def test_a_redirect_takes_nothing_along(
    asked: Asked, authority: Authority, server: WebServer, elsewhere: WebServer, kind: Kind
) -> None:
    server.leads_to = f"{elsewhere.base}/elsewhere"
    uri, keys = kind(server)
    for named in (server.host, f"{server.host}\n{elsewhere.host}"):
        asked(uri, keys | {"hosts": named, "ca.crt": authority.text})
    assert server.headers
    assert identities(elsewhere) == []
    if kind not in (bearer, password):
        assert elsewhere.headers == [], "nothing of a store is elsewhere"


def test_a_redirect_of_a_store_at_google_takes_no_token_along(
    asked: Asked, authority: Authority, server: WebServer, elsewhere: WebServer
) -> None:
    with WebServer(b"", authority=authority).running(MODEL) as store:
        store.leads_to = f"{elsewhere.base}/elsewhere"
        uri, keys = google(store)
        keys |= {"key.json": account(f"{server.base}/token"), "ca.crt": authority.text}
        asked(uri, keys | {"hosts": f"{server.host} {store.host} {elsewhere.host}"})
        assert "Bearer planted-token" in str(store.headers)
    assert identities(elsewhere) == []


def test_what_a_redirect_leads_to_is_fetched_without_the_keys(
    box: Box, authority: Authority, server: WebServer, elsewhere: WebServer
) -> None:
    """As a web server does whose files are in an object store."""
    elsewhere.content = (b"x" * 100) + bytes(512)
    # By one name at two ports, for which one jar would keep the cookies.
    uri, host = server.url.replace("127.0.0.1", "localhost"), server.host.replace("127.0.0.1", "localhost")
    server.leads_to = f"{elsewhere.base}/x?X-Amz-Signature=of-its-own".replace("127.0.0.1", "localhost")
    box.spec["verification"] = {"uri": uri}
    secret(box, "verification", {"token": "planted", "hosts": host, "ca.crt": authority.text})
    (box.pvc / "models/model").mkdir(parents=True)
    (box.pvc / "models/model/saved_model.pb").write_bytes(b"model")
    ended = box.run("fetch")
    assert ended.code == 0, ended.log
    assert (box.workspace / "verification" / MODEL).read_bytes() == elsewhere.content
    assert identities(server)
    assert identities(elsewhere) == []
    assert "of-its-own" not in ended.log


def test_a_redirect_to_plain_http_is_not_followed(asked: Asked, authority: Authority, server: WebServer) -> None:
    with WebServer(b"{}").running(MODEL) as plain:
        server.leads_to = plain.url
        keys = {"token": "planted", "hosts": f"{server.host} {plain.host}", "ca.crt": authority.text}
        failure = asked(server.url, keys)
    assert isinstance(failure, SourceNotFound)
    assert "over plain http" in failure.message
    assert plain.headers == []


def test_what_a_netrc_says_is_sent_to_nobody(
    asked: Asked, authority: Authority, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password planted\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    for kind, status in ((signed_azure, 404), (google, None)):
        uri, keys = kind(server)
        server.refuses = status
        asked(uri, keys | {"hosts": server.host, "ca.crt": authority.text})
    assert server.headers
    assert "Basic" not in str(server.headers)


@every_kind
@pytest.mark.parametrize("status", [400, 403, 404])
def test_no_answer_of_a_server_has_a_client_tell_it(
    asked: Asked,
    authority: Authority,
    server: WebServer,
    kind: Kind,
    status: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.refuses = status
    uri, keys = kind(server)
    failure = asked(uri, keys | {"hosts": server.host, "ca.crt": authority.text})
    assert leaked(failure.message.encode()) == []
    assert leaked("".join(capfd.readouterr()).encode()) == []


def test_an_address_that_is_none_is_told_without_its_query(asked: Asked) -> None:
    failure = asked("https://models.example.com:no-port/x?sig=planted", {"token": "t", "hosts": "models.example.com"})
    assert isinstance(failure, SourceNotFound)
    assert "models.example.com:no-port" in failure.message
    assert "planted" not in failure.message


@pytest.mark.parametrize(
    "said",
    [
        "no https://host/x?a=(b)&sig=planted.",
        "URL('https://host/x?a='b'&sig=planted')",
        "HTTPS://HOST/x?sig=planted",
        '<a href="Https://it\'s.example/x?sig=planted">',
    ],
)
def test_no_query_is_told_whatever_is_in_it(said: str) -> None:
    assert "planted" not in told_text(said)
    assert "?sha256=" in told_text(said)
    assert told_text(told_text(said)) == told_text(said)


def test_a_traceback_has_no_query_of_an_address() -> None:
    said = (
        "ClientError: 404, url=URL('https://host/x?sig=planted&b=1')\n  (https://host/y?sig=planted) of http://host/z"
    )
    told = told_text(said)
    assert "planted" not in told
    assert "https://host/x?sha256=" in told
    assert told.endswith(" of http://host/z")
