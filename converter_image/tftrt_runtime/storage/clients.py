"""A client of each kind of store, whose requests all pass our guard.

Each implementation of fsspec has a library of its own below it, and each of those its own way to be told of sessions,
authorities and redirects.
"""

from __future__ import annotations

import os
from typing import Any

from yarl import URL

from tftrt_runtime.contract.errors import SecretUnfit, SourceNotFound
from tftrt_runtime.contract.told_uri import told_uri
from tftrt_runtime.storage import credentials, transport
from tftrt_runtime.storage.secret import HELP, Role, Secret, read
from tftrt_runtime.storage.transport import StoreGuard, WebGuard

CONNECT_SECONDS = 10
READ_SECONDS = 60

_COMMON = {"skip_instance_cache": True, "use_listings_cache": False}


def of(uri: str, role: Role) -> Any:
    """The file system that a URI is in, with the credentials of its role.

    Raises:
        SecretUnfit: the role's Secret does not fit.
        SourceNotFound: it is no URI of a web server.
    """
    # Libraries that know of proxies look for a .netrc as well, and send what it says; a Secret is the only way here.
    os.environ["NETRC"] = os.devnull
    scheme, _, rest = uri.partition("://")
    secret = read(role, scheme)
    options = credentials.options(secret, role, scheme) | _COMMON
    if scheme in ("http", "https"):
        try:
            address = URL(uri)
        except ValueError as error:
            raise SourceNotFound(f"{told_uri(uri)} is no address of a web server: correct the URI.") from error
        return _web(secret, address, options)
    guard = StoreGuard(secret, rest.partition("/")[0])
    return {"s3": _s3, "gs": _gs, "az": _az}[scheme](secret, guard, options)


def _web(secret: Secret | None, address: URL, options: dict[str, Any]) -> Any:
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    guard = WebGuard(secret, address)

    async def client(**more: Any) -> aiohttp.ClientSession:
        return transport.session(secret, guard, timeout=timeout, **more)

    return HTTPFileSystem(**options, get_client=client)


def _s3(secret: Secret | None, guard: StoreGuard, options: dict[str, Any]) -> Any:
    import aiobotocore.session
    import s3fs
    from aiobotocore.httpsession import AIOHTTPSession

    class Direct:
        """A session that follows no redirect: botocore does itself, and signs anew."""

        def __init__(self, session: Any) -> None:
            self._session = session

        def request(self, method: str, **arguments: Any) -> Any:
            return self._session.request(method, allow_redirects=False, **arguments)

    class Guarded(AIOHTTPSession):  # type: ignore[misc]
        async def send(self, request: Any) -> Any:
            guard.expect(URL(request.url, encoded=True))
            return await super().send(request)

        async def _get_session(self, proxy_url: Any) -> Any:
            return Direct(await super()._get_session(proxy_url))

    if secret is not None:
        # What profiles of the environment say is not of this Secret: keys, commands that give some, endpoints.
        options["session"] = aiobotocore.session.AioSession()
        for name, value in (("profile", None), ("config_file", os.devnull), ("credentials_file", os.devnull)):
            # Not the session's own, for which None is "as the environment has it".
            options["session"].get_component("config_store").set_config_variable(name, value)
        if secret.authority is not None:
            options["client_kwargs"] = options["client_kwargs"] | {"verify": str(secret.authority)}
    config = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "retries": {"max_attempts": 1},
        "http_session_cls": Guarded,
    }
    return s3fs.S3FileSystem(**options, config_kwargs=config)


def _gs(secret: Secret | None, guard: StoreGuard, options: dict[str, Any]) -> Any:
    # Not the class that fsspec names for gs://, which asks gRPC first of what kind a bucket is: where only the
    # JSON interface is reached (a proxy, a firewall, an endpoint of one's own), that hangs.
    from gcsfs.core import GCSFileSystem

    if isinstance(options.get("token"), dict):
        assert secret is not None, "a key comes from a Secret"
        options["token"] = _google_account(secret, guard, options["token"])
    return GCSFileSystem(**options, session_kwargs=transport.session_arguments(secret, guard))


def _google_account(secret: Secret, guard: StoreGuard, key: dict[str, Any]) -> Any:
    """A service account whose key is shown to a `token_uri` that the Secret names, and to no other."""
    import requests
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account

    class Guarded(requests.Session):
        def send(self, request: requests.PreparedRequest, **arguments: Any) -> requests.Response:
            guard.expect(URL(request.url or "", encoded=True))
            if secret.authority is not None:
                arguments["verify"] = str(secret.authority)
            return super().send(request, **arguments | {"allow_redirects": False})

    class Account(service_account.Credentials):  # type: ignore[misc]
        def refresh(self, _request: Any) -> None:
            with Guarded() as session:
                super().refresh(Request(session))

    try:
        scopes = ["https://www.googleapis.com/auth/devstorage.full_control"]
        return Account.from_service_account_info(key, scopes=scopes)
    except ValueError as error:
        raise SecretUnfit(
            f"key.json in the Secret for the {secret.role} is no service account's key; {HELP}."
        ) from error


def _az(secret: Secret | None, guard: StoreGuard, options: dict[str, Any]) -> Any:
    from adlfs import AzureBlobFileSystem
    from aiohttp import DummyCookieJar
    from azure.core.credentials import AzureSasCredential
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.storage.blob.aio import BlobServiceClient
    from fsspec.asyn import get_loop, sync

    async def made() -> Any:
        # As the transport would make it itself: it undoes encodings where they are to be undone.
        return transport.session(secret, guard, cookie_jar=DummyCookieJar(), auto_decompress=False)

    class Guarded(AzureBlobFileSystem):  # type: ignore[misc]
        def do_connect(self) -> None:
            if secret is not None:
                # adlfs takes from the environment what it is not given.
                names = ("connection_string", "account_key", "sas_token")
                self.connection_string, self.account_key, self.sas_token = map(options.get, names)
            arguments = {
                "transport": AioHttpTransport(
                    session=sync(get_loop(), made), connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS
                ),
                "permit_redirects": False,
            }
            try:
                if self.connection_string is not None:
                    self.service_client = BlobServiceClient.from_connection_string(self.connection_string, **arguments)
                else:
                    account_url = f"https://{self.account_name}.blob.core.windows.net"
                    signature = AzureSasCredential(self.sas_token.lstrip("?")) if self.sas_token else None
                    credential = self.account_key or signature or self.credential
                    self.service_client = BlobServiceClient(account_url, credential=credential, **arguments)
            except ValueError as error:
                raise SecretUnfit(
                    f"The keys to az://{guard.bucket} are none that Azure's client reads; {HELP}."
                ) from error

    timeouts = {"connection_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    return Guarded(**options, **timeouts)
