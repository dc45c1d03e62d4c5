"""Object stores and web servers through fsspec's implementations, with their many faults told as three."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tftrt_runtime.contract.errors import CertificateNotTrusted, Failure, UsageError, causes
from tftrt_runtime.contract.told_uri import told_uri
from tftrt_runtime.storage.hosts import line_for
from tftrt_runtime.storage.secret import AUTHORITY, HELP, Role

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
    """A place behind a URI: the file system, and the path in it as that spells it (for a web server, the URL).

    `uri` is for words: without the query, by which a pre-signed address is a key. `address` is as it was given.
    """

    uri: str
    filesystem: Any
    path: str
    address: str

    def child(self, relative: str) -> str:
        """The path of something below."""
        return f"{self.path}/{relative}"


def scheme_of(uri: str) -> str:
    """The URI's scheme."""
    return uri.partition("://")[0]


def open_remote(uri: str, role: Role) -> Remote:
    """The place behind a URI, with the credentials of its role.

    Raises:
        UsageError: no such scheme.
        SecretUnfit: the role's Secret does not fit.
        Forbidden, Unavailable: no client could be made.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in (*BUCKETS, *WEB):
        raise UsageError(
            f"{told_uri(uri)!r} cannot be reached: it must begin with pvc://, s3://, gs://, az:// or https://."
        )
    from tftrt_runtime.storage import clients  # takes a while, and claims need none

    with told():
        filesystem = clients.of(uri, role)
    return Remote(told_uri(uri), filesystem, uri if scheme in WEB else rest.rstrip("/"), uri)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raise NotThere, Forbidden or Unavailable for whatever a file system raises.

    FileExistsError is left as it is: it answers an exclusive creation. So is a failure of ours, such as a Secret that
    is not for the host, whatever a library on the way made of it.

    Raises:
        CertificateNotTrusted: that it is so is no answer, and does not pass.
    """
    try:
        yield
    except (FileExistsError, NotThere, Forbidden, Unavailable):
        raise
    except Exception as error:  # each implementation has libraries of its own, and those have theirs
        if ours := next((cause for cause in causes(error) if isinstance(cause, Failure)), None):
            raise ours from None
        if untrusted := _untrusted(error):
            raise untrusted from error
        raise _kind(error)(_words(error)) from error


# How the many file systems call what tells one content of a file from another.
_VERSION_KEYS = (
    "ETag",
    "etag",
    "generation",
    "Content-MD5",
    "Digest",
    "Last-Modified",
    "LastModified",
    "last_modified",
    "updated",
    "size",
)


def version(info: Mapping[str, Any]) -> str:
    """What tells one content of a file from another, without reading it, of what a file system says of the file."""
    return " ".join(f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key) is not None)


def _untrusted(error: Exception) -> CertificateNotTrusted | None:
    """The failure, where a certificate kept a request from its answer."""
    found = list(causes(error))
    faults = [cause for cause in found if isinstance(cause, ssl.SSLCertVerificationError)]
    if not faults:
        return None
    host = next((told for cause in found if (told := _host(cause))), "the server")
    # aiohttp's own error is such a one, too, and says nothing.
    why = next((told for fault in faults if (told := getattr(fault, "verify_message", ""))), "it is not valid")
    return CertificateNotTrusted(
        f"The certificate of {host} is not trusted: {why.rstrip('.')}. Where an authority of your own "
        f"vouches for it, put that into the Secret as {AUTHORITY}, and the host into its key hosts; {HELP}."
    )


def led_to(error: Exception, address: str) -> str:
    """The host that gave this answer, where a redirect of a web server led to another than was asked; else ""."""
    from yarl import URL  # is loaded where there is a client

    for cause in causes(error):
        asked = getattr(getattr(cause, "request_info", None), "real_url", None)
        if isinstance(asked, URL) and scheme_of(address) in WEB and asked.origin() != URL(address).origin():
            return line_for(asked)
    return ""


def _host(error: BaseException) -> str:
    """The host that aiohttp did not connect to, or `requests`, for a Google token; "" where the error tells none."""
    from yarl import URL  # is loaded where there is a client

    host, port, request = (getattr(error, name, None) for name in ("host", "port", "request"))
    try:
        if isinstance(host, str) and isinstance(port, int):
            return line_for(URL.build(scheme="https", host=host, port=port))
        url = getattr(request, "url", None)
        return line_for(URL(url)) if isinstance(url, str) else ""
    except ValueError:
        return ""


def _kind(error: Exception) -> type[Exception]:
    """What a fault amounts to. fsspec's web client makes a FileNotFoundError of everything that is no success."""
    status = next((str(found) for cause in causes(error) if (found := _status(cause))), "")
    if status in {"401", "403"} or isinstance(error, PermissionError) or type(error).__name__ in _CREDENTIAL_FAULTS:
        return Forbidden
    if str(error).startswith("Forbidden: "):  # gcsfs makes a bare OSError of a 403
        return Forbidden
    if status in {"404", "410"} or (isinstance(error, FileNotFoundError) and not status and not _fault(error)):
        return NotThere
    return Unavailable


def _fault(error: Exception) -> BaseException | None:
    """What kept a request from its answer, the most particular of what the libraries on the way made of it."""
    import aiohttp  # is loaded where there is a client

    kinds = (aiohttp.ClientError, TimeoutError, ConnectionError, ssl.SSLError, socket.gaierror)
    faults = [cause for cause in causes(error) if isinstance(cause, kinds)]
    return faults[-1] if faults else None


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
    "CredentialRetrievalError",
}


def _words(error: Exception) -> str:
    """The error's text in one line, without what a URL may hold beyond its path."""
    # fsspec's FileNotFoundError has the address alone.
    telling = next((cause for cause in causes(error) if not isinstance(cause, FileNotFoundError)), error)
    text = (str(telling).splitlines() or [type(telling).__name__])[0].partition("?")[0][:300]
    why = _why(_fault(error))
    return text if why is None else f"{text} ({why})"


def _why(fault: BaseException | None) -> str | None:
    """What kept a request from its answer, where there are plain words for it."""
    import aiohttp  # is loaded where there is a client

    faults: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (TimeoutError, "it timed out"),
        (ConnectionRefusedError, "the connection was refused"),
        (socket.gaierror, "the name of the host is not known"),
        (
            (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionError, ssl.SSLEOFError),
            "the connection broke off",
        ),
    )
    return next((words for kinds, words in faults if isinstance(fault, kinds)), None)
