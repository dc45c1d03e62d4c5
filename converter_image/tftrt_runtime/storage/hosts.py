"""The hosts that a Secret may be shown to, as its own key `hosts` names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yarl import URL

HTTPS_PORT = 443

_LABEL = r"[a-z0-9]([-a-z0-9_]*[a-z0-9])?"
_ENTRY = re.compile(
    rf"((?P<below>\*\.)(?P<domain>{_LABEL}(\.{_LABEL})+)|(?P<host>{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\]))"
    r"\.?(:(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Entry:
    """A host, or all that are below a domain, at one port."""

    name: str
    below: bool
    port: int

    def covers(self, host: str, port: int) -> bool:
        """Whether it names this one."""
        return port == self.port and (host.endswith(f".{self.name}") if self.below else host == self.name)


def parse(text: str) -> tuple[Entry, ...]:
    """The entries of a key `hosts`: one a line, or with commas or spaces between them.

    Raises:
        ValueError: one is none; it says which one, and not what is in it, for it may be a key in the wrong place.
    """
    return tuple(_entry(word, position) for position, word in enumerate(re.split(r"[\s,]+", text.strip()), 1) if word)


def _entry(word: str, position: int) -> Entry:
    found = _ENTRY.fullmatch(word.lower())
    if found is None:
        raise ValueError(
            f"entry {position} of `hosts` is none: each is a host, host:port or *.domain, where the domain has at "
            "least two labels"
        )
    name = found["domain"] or found["host"].strip("[]")
    return Entry(name, found["below"] is not None, int(found["port"] or HTTPS_PORT))


def is_named(url: URL, entries: Sequence[Entry], bucket: str | None) -> bool:
    """Whether the URL's host is among those named, or is one's name for this bucket (`bucket.s3.example.com`)."""
    host, port = _host(url), url.port or 0
    hosts = [host]
    if bucket is not None and host.startswith(f"{bucket}."):
        hosts.append(host.removeprefix(f"{bucket}."))
    return any(entry.covers(one, port) for entry in entries for one in hosts)


def _host(url: URL) -> str:
    """The URL's host, as entries have it: a dot at the end of a name says only that it is whole."""
    return (url.raw_host or "").lower().removesuffix(".")


def line_for(url: URL) -> str:
    """The line of `hosts` that names the URL's host and port."""
    host = _host(url)
    host = f"[{host}]" if ":" in host else host
    return host if url.port == HTTPS_PORT else f"{host}:{url.port}"
