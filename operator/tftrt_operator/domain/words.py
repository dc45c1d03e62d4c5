"""Words of others in a status: bounded and printable, whoever wrote them.

They come from containers, schedulers, webhooks and API servers, which repeat what users wrote; they stand in terminals,
in Events and on pages of other programs.
"""

import re

MESSAGE_CHARACTERS = 2000
"""Of a condition's message. Kubernetes takes 32,768; nobody reads them, and each look writes them again."""
QUOTED_CHARACTERS = 1000
_MARKS = str.maketrans("“”", '""')
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")


def printable(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """Return the text on one line, without control characters, and cut at a word where it is longer than `limit`."""
    # Far more than can be shown need not be looked at.
    line = text[: 4 * limit]
    if not line.isprintable():
        line = "".join(one if one.isprintable() else " " for one in line)
    line = " ".join(line.split())
    if len(line) <= limit:
        return line
    cut = line[: limit - 2]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > limit // 2 else cut) + " …"


def quote(text: str, limit: int = QUOTED_CHARACTERS) -> str:
    """Return somebody else's words as such: printable, bounded, between marks that do not occur in them."""
    return "“" + printable(text.translate(_MARKS), limit) + "”"


def reason_or(reason: str, other: str) -> str:
    """Return the reason where it is one in CamelCase, and the other one where it is anything else."""
    return reason if _REASON.fullmatch(reason) else other
