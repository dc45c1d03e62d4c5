"""Object stores and web servers through fsspec's implementations, with their many faults told as three."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tftrt_runtime.errors import UsageError
from tftrt_runtime.storage import credentials
from tftrt_runtime.storage.credentials import Role

CONNECT_SECONDS = 10
READ_SECONDS = 60
WEB = ("http", "https")
BUCKETS = ("s3", "gs", "az")


class NotThere(Exception):  # noqa: N818 - these are answers of a server, not mistakes of a program
    """No such bucket or key."""


class Forbidden(Exception):  # noqa: N818
    """It may not be read or written with these credentials, or without any."""


class Unavailable(Exception):  # noqa: N818
    """The server could not be reached, or broke off: another attempt may succeed."""


@dataclass(frozen=True)
class Remote:
    """A place behind a URI: the file system, and the path in it as that spells it (for a web server, the URL)."""

    uri: str
    filesystem: Any
    path: str

    def child(self, relative: str) -> str:
        """The path of something below."""
        return f"{self.path}/{relative}"


def scheme_of(uri: str) -> str:
    """The URI's scheme."""
    return uri.partition("://")[0]


def open_remote(uri: str, role: Role) -> Remote:
    """The place behind a URI, with the credentials of its role.

    Raises:
        UsageError: no such scheme, or a Secret that does not fit it.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in (*BUCKETS, *WEB):
        raise UsageError(f"{uri!r} cannot be reached: it must begin with pvc://, s3://, gs://, az:// or https://.")
    options = credentials.options(role, scheme)
    common = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        import s3fs

        config = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS, "retries": {"max_attempts": 1}}
        return Remote(uri, s3fs.S3FileSystem(**options, **common, config_kwargs=config), rest.rstrip("/"))
    if scheme == "gs":
        # Not the class that fsspec names for gs://, which asks gRPC first of what kind a bucket is: where only the
        # JSON interface is reached (a proxy, a firewall, an endpoint of one's own), that hangs.
        from gcsfs.core import GCSFileSystem

        return Remote(uri, GCSFileSystem(**options, **common), rest.rstrip("/"))
    if scheme == "az":
        import adlfs

        timeouts = {"connection_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        return Remote(uri, adlfs.AzureBlobFileSystem(**options, **common, **timeouts), rest.rstrip("/"))
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    return Remote(uri, HTTPFileSystem(**options, **common, client_kwargs={"timeout": timeout}), uri)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raise NotThere, Forbidden or Unavailable for whatever a file system raises.

    FileExistsError is left as it is: it answers an exclusive creation.
    """
    try:
        yield
    except (FileExistsError, UsageError, NotThere, Forbidden, Unavailable):
        raise
    except Exception as error:  # each implementation has libraries of its own, and those have theirs
        raise _kind(error)(_words(error)) from error


def _kind(error: Exception) -> type[Exception]:
    """What a fault amounts to. fsspec's web client makes a FileNotFoundError of all answers that are no success."""
    status = next((str(found) for cause in _chain(error) if (found := _status(cause))), "")
    if status in {"401", "403"} or isinstance(error, PermissionError) or type(error).__name__ in _CREDENTIAL_FAULTS:
        return Forbidden
    if str(error).startswith("Forbidden: "):  # gcsfs makes a bare OSError of a 403
        return Forbidden
    if status in {"404", "410"} or (isinstance(error, FileNotFoundError) and not status):
        return NotThere
    return Unavailable


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> object:
    """The status of the HTTP answer behind an error: aiohttp's, azure-core's and gcsfs' names for it."""
    return getattr(error, "status", None) or getattr(error, "status_code", None) or getattr(error, "code", None)


# Raised before a request is made: botocore's, azure-core's and google-auth's.
_CREDENTIAL_FAULTS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ClientAuthenticationError",
    "DefaultCredentialsError",
    "RefreshError",
}


def _words(error: Exception) -> str:
    """The error's text in one line, without what a URL may hold beyond its path."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.partition("?")[0][:300]
