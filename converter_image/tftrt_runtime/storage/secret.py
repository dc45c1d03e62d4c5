"""The Secret for a URI, mounted as a folder with one file a key.

    <TFTRT_SECRETS>/<role>/<key>        TFTRT_SECRETS is /mnt/secrets unless it is set

Whoever may create a TRTModel may name any Secret of the namespace beside any URI, so the Secret itself has to say for
whom it is: its key `hosts`. What is read here goes into a client's arguments and nowhere else: not into the
environment, which child processes inherit.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tftrt_runtime.contract.errors import SecretUnfit
from tftrt_runtime.storage import hosts

if TYPE_CHECKING:
    from yarl import URL

DEFAULT_ROOT = "/mnt/secrets"
HOSTS = "hosts"
AUTHORITY = "ca.crt"
HELP = "see docs/storage.md"

# What Kubernetes puts into a Secret of the type `kubernetes.io/service-account-token`.
_SERVICE_ACCOUNT_KEYS = {"token", "namespace", "ca.crt"}
_SERVICE_ACCOUNT = "system:serviceaccount:"

Role = Literal["source", "calibration", "verification", "artifacts"]
Keys = Mapping[str, str]

KNOWN: dict[str, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"),
    "gs": ("key.json", "GOOGLE_ENDPOINT_URL"),
    "az": (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCOUNT",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
    ),
    "http": ("username", "password", "token"),
}
KNOWN["https"] = KNOWN["http"]


@dataclass(frozen=True)
class Secret:
    """What a role's Secret has for a scheme, for whom, and the file with the authority that vouches for them."""

    role: Role
    keys: Keys
    hosts: tuple[hosts.Entry, ...]
    authority: Path | None

    def expect_for(self, url: URL, bucket: str | None = None) -> None:
        """Hold that a request with these keys may go there. `bucket`: may be a part of the host's name.

        Raises:
            SecretUnfit: the Secret does not name the host, or anyone on the way could read the keys.
        """
        host = hosts.line_for(url)
        if url.scheme != "https":
            raise SecretUnfit(
                f"The Secret for the {self.role} would go to {host} over plain http, where anyone on the way can read "
                f"it: use https, with {AUTHORITY} in the Secret for an authority of your own; {HELP}."
            )
        if not hosts.is_named(url, self.hosts, bucket):
            why = "is not for" if self.hosts else "says of no host that it is for it, and so is not shown to"
            raise SecretUnfit(
                f"The Secret for the {self.role} {why} {host}: if that host may have its keys, add the line {host} to "
                f"its key {HOSTS}; {HELP}."
            )


def read(role: Role, scheme: str) -> Secret | None:
    """The role's Secret as far as it is for a scheme; None where none is mounted.

    Raises:
        SecretUnfit: it has no key that the scheme knows, or is a ServiceAccount's token, or a key cannot be read.
    """
    folder = Path(os.environ.get("TFTRT_SECRETS", DEFAULT_ROOT), role)
    if not folder.is_dir():
        return None
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    keys = {name: _text(folder / name, role) for name in KNOWN[scheme] if name in there}
    if there >= _SERVICE_ACCOUNT_KEYS or any(map(_is_of_a_service_account, keys.values())):
        raise SecretUnfit(
            f"The Secret for the {role} is a ServiceAccount's token, which is for the API server and nobody else: make "
            f"one with the store's own keys; {HELP}."
        )
    if not keys and AUTHORITY not in there:
        raise SecretUnfit(
            f"The Secret for the {role} has {', '.join(sorted(there)) or 'nothing'}, and {scheme}:// takes "
            f"{', '.join(KNOWN[scheme])}; {HELP}."
        )
    try:
        named = hosts.parse(_text(folder / HOSTS, role)) if HOSTS in there else ()
    except ValueError as error:
        raise SecretUnfit(f"The Secret for the {role}: {error}; {HELP}.") from error
    return Secret(role, keys, named, _authority(folder / AUTHORITY, role) if AUTHORITY in there else None)


def _text(path: Path, role: Role) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretUnfit(f"{path.name} in the Secret for the {role} cannot be read as text; {HELP}.") from error


def _authority(path: Path, role: Role) -> Path:
    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ValueError) as error:  # what is no certificate is an SSLError, which is an OSError
        raise SecretUnfit(f"{path.name} in the Secret for the {role} is no certificate in PEM; {HELP}.") from error
    return path


def _is_of_a_service_account(value: str) -> bool:
    """Whether it is a JWT that Kubernetes gave to a ServiceAccount."""
    parts = value.split(".")
    if len(parts) != 3:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(claims, dict) and str(claims.get("sub", "")).startswith(_SERVICE_ACCOUNT)
