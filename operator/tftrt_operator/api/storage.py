"""Where files are: the URIs of sources, data and stores, and the Secret that opens them."""

from typing import Annotated, Any

from pydantic import Field

from .schema import rules

# A claim's name is a DNS subdomain; a path's parts may be anything but "..": nothing reaches out of the claim.
CLAIM_URI = r"pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?"
BUCKET_URI = r"(s3|gs|az)://[A-Za-z0-9$]([-A-Za-z0-9._]*[A-Za-z0-9])?(/.*)?"
# A host is a name, an IPv4 address, or an IPv6 address in brackets. That it has no user is said on its own.
HTTP_HOST = r"([A-Za-z0-9_][-A-Za-z0-9._]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
HTTP_URI = rf"https?://([^/?#@]*@)?{HTTP_HOST}/.+"

STORE_PATTERN = rf"^({CLAIM_URI}|{BUCKET_URI})$"
_CLAIM = "pvc://claim/path (a PersistentVolumeClaim in the TRTModel's namespace)"
_BUCKET = "s3://bucket/path, gs://bucket/path, az://container/path"
_INSIDE = (
    "!self.split('/').exists(part, part == '..')",
    "must not contain '..': nothing reaches out of a claim or bucket",
)

_STORE_RULES = rules((f"self.matches('{STORE_PATTERN}')", f"must be one of {_CLAIM}, {_BUCKET}"), _INSIDE)
_SOURCE_RULES = rules(
    (
        f"self.matches(r'^({CLAIM_URI}|{BUCKET_URI}|{HTTP_URI})$')",
        f"must be one of {_CLAIM}, {_BUCKET}, https://host/path",
    ),
    _INSIDE,
    (
        "!self.matches('^https?://[^/]*@')",
        "must not contain a user or a password: put them into a Secret, and its name into secretName",
    ),
)

StoreUri = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=_STORE_RULES)]
"""Where files are written and read."""

SourceUri = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=_SOURCE_RULES)]
"""Where files are read."""

SecretName = Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
"""A Secret of the TRTModel's namespace; empty for none."""


def secret_rules(uri: str) -> tuple[tuple[str, str], ...]:
    """Return the CEL rules of a type that has the field `uri` and a `secretName`."""
    unless = f"!has(self.secretName) || self.secretName == '' || !has(self.{uri}) || !self.{uri}.startsWith"
    return (
        (
            f"{unless}('pvc://')",
            "secretName is for object stores and web servers: a pvc:// URI needs none, drop it",
        ),
        (
            f"{unless}('http://')",
            "secretName needs https://: what a Secret holds never goes over plain http",
        ),
    )


def secret_name(purpose: str) -> Any:
    """Return the field for the Secret of a URI."""
    return Field(
        default="",
        description=f"A Secret of this namespace with the keys to {purpose}; docs/storage.md lists them.",
    )


def scheme_of(uri: str) -> str:
    """Return a URI's scheme."""
    return uri.partition("://")[0]


def claim_of(uri: str) -> str:
    """Return the PersistentVolumeClaim of a `pvc://claim/path` URI."""
    return uri.removeprefix("pvc://").split("/", 1)[0]
