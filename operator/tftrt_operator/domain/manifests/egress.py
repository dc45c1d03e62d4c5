"""What a pod may reach: by port, since a NetworkPolicy knows no names and the addresses of a store change."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from ...api.storage import scheme_of

HTTPS = 443


def egress(uris: Iterable[str], more: Iterable[int]) -> list[dict[str, Any]]:
    """Return the rules of a pod that reaches these URIs, maybe through more ports; none where all are claims.

    A claim is a volume that the kubelet mounts: such a pod needs no way out, not even to ask for a name.
    """
    ports = {port for uri in uris for port in _ports(uri)}
    if not ports:
        return []
    dns = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return [{"ports": dns + [{"port": port, "protocol": "TCP"} for port in sorted(ports | set(more))]}]


def _ports(uri: str) -> set[int]:
    match scheme_of(uri):
        case "pvc":
            return set()
        case "http" | "https":
            # Also HTTPS' own: it is where a web server redirects to.
            return {_port(uri), HTTPS}
        case _:
            return {HTTPS}


def _port(uri: str) -> int:
    """Return the port of a web address, that of HTTPS where it is none: the fetching container says what is wrong."""
    try:
        address = urlsplit(uri)
        return address.port or (80 if address.scheme == "http" else HTTPS)
    except ValueError:
        return HTTPS
