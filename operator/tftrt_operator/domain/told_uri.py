"""A URI as it may be told to anyone: in statuses, Events and records."""

import hashlib
import re

DIGITS = 16
_TOLD = re.compile(rf"sha256=[0-9a-f]{{{DIGITS}}}")


def told_uri(uri: str) -> str:
    """Return the URI with a digest in place of its query, which is a key where the address is a pre-signed one.

    Other data is still told from the same. Object stores and claims have no queries; what is told already stays. The
    converter has the same function (`tftrt_runtime/contract/told_uri.py`): what both of them tell is compared.
    """
    address, mark, query = uri.partition("?")
    if not mark or not uri.lower().startswith(("http://", "https://")) or _TOLD.fullmatch(query):
        return uri
    return f"{address}?sha256={hashlib.sha256(query.encode()).hexdigest()[:DIGITS]}"
