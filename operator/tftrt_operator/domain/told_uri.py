"""A URI as it may be told to anyone: in statuses, Events and records."""

import hashlib
import re
from urllib.parse import unquote

DIGITS = 16
_TOLD = re.compile(rf"sha256=[0-9a-f]{{{DIGITS}}}")

# A store's way to sign an address: parameters that are always there, and those that belong to it. None of them says
# which file it is, unlike a version, and all of them are others when the address is signed again.
_WAYS_TO_SIGN = tuple(
    (frozenset(always.split()), frozenset(f"{always} {more}".split()))
    for always, more in (
        (
            "x-amz-signature",
            "x-amz-algorithm x-amz-content-sha256 x-amz-credential x-amz-date x-amz-expires x-amz-security-token"
            " x-amz-signedheaders",
        ),
        (
            "x-goog-signature",
            "x-goog-algorithm x-goog-credential x-goog-date x-goog-expires x-goog-signedheaders",
        ),
        (
            "x-oss-signature",
            "x-oss-additional-headers x-oss-credential x-oss-date x-oss-expires x-oss-security-token"
            " x-oss-signature-version",
        ),
        (
            "q-signature",
            "q-ak q-header-list q-key-time q-sign-algorithm q-sign-time q-url-param-list x-cos-security-token",
        ),
        # Azure's shared access signature, which always says the version of its form.
        (
            "sig sv",
            "saoid scid sdd se ses si sip ske skoid sks skt sktid skv sp spr sr srt ss st suoid",
        ),
        # The older form of Amazon, Google, Alibaba, Huawei, and that of CloudFront.
        *(
            (f"signature {key}", "expires hash-algorithm policy security-token x-amz-security-token")
            for key in ("awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "accesskeyid", "key-pair-id")
        ),
    )
)


def unsigned(uri: str) -> str:
    """Return the URI without what a pre-signed address is signed with: signed again, it is the same file's.

    What else is in a query stays, for it may say which file is meant.
    """
    address, mark, query = uri.partition("?")
    if not mark or not uri.lower().startswith(("http://", "https://")):
        return uri
    parts = query.split("&")
    names = {_name(part) for part in parts}
    signing = frozenset[str]().union(*(every for always, every in _WAYS_TO_SIGN if always <= names))
    left = "&".join(part for part in parts if _name(part) not in signing)
    return uri if not signing else f"{address}?{left}" if left else address


def told_uri(uri: str) -> str:
    """Return the URI with nothing of what it is signed with, and a digest in place of what else is in its query.

    That may be a key, too, and other data is still told from the same. Object stores and claims have no queries; what
    is told already stays. The converter has the same functions (`tftrt_runtime/contract/told_uri.py`): what both of
    them tell is compared.
    """
    uri = unsigned(uri)
    address, mark, query = uri.partition("?")
    if not mark or not uri.lower().startswith(("http://", "https://")) or _TOLD.fullmatch(query):
        return uri
    return f"{address}?sha256={hashlib.sha256(query.encode()).hexdigest()[:DIGITS]}"


def _name(part: str) -> str:
    """Return the name of a parameter, as all spellings of it have it."""
    return unquote(part.partition("=")[0]).lower()
