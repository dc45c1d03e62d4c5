"""What the tests put into keys and queries, to find out where it comes to light."""

from __future__ import annotations

import base64

ACCOUNT_KEY = base64.b64encode(b"planted-account-key").decode()
PLANTED = (b"planted", ACCOUNT_KEY.encode(), b"PRIVATE KEY")


def leaked(content: bytes) -> list[bytes]:
    """The places at which something planted is told."""
    return [content[max(at - 80, 0) : at + 40] for word in PLANTED if (at := content.find(word)) >= 0]
