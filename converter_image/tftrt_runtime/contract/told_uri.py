"""A URI as it may be told to anyone: in logs, messages, reports and manifests."""

import hashlib
import re

DIGITS = 16
_TOLD = re.compile(rf"sha256=[0-9a-f]{{{DIGITS}}}")
_TOLD_IN_TEXT = re.compile(rf"{_TOLD.pattern}[)'\]}}.,:;]*")
# A query may hold nearly anything, also what ends a call or a sentence.
_ADDRESS = re.compile(r"https?://[^\s\"<?]+\?([^\s\"<]+)", re.IGNORECASE)


def told_uri(uri: str) -> str:
    """The URI with a digest in place of its query, which is a key where the address is a pre-signed one.

    Other data is still told from the same. Object stores and claims have no queries; what is told already stays. The
    operator has the same function (`domain/told_uri.py`), for it compares what both of them tell.
    """
    address, mark, query = uri.partition("?")
    if not mark or not uri.lower().startswith(("http://", "https://")) or _TOLD.fullmatch(query):
        return uri
    return f"{address}?sha256={hashlib.sha256(query.encode()).hexdigest()[:DIGITS]}"


def told_text(text: str) -> str:
    """What a library says, such as a traceback, without the queries of the addresses in it."""
    return _ADDRESS.sub(lambda found: found[0] if _TOLD_IN_TEXT.fullmatch(found[1]) else told_uri(found[0]), text)
