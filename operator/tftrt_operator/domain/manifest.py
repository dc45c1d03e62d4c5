"""A manifest: one object as it will be sent to the API server."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .observation import Reference

MANIFEST_HASH_ANNOTATION = "tftrt.dev/manifest-hash"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A Kubernetes object that must exist. `body` is whole, with apiVersion, kind and metadata."""

    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.body["kind"])

    @property
    def namespace(self) -> str:
        """The object's namespace."""
        return str(self.body["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.body["metadata"]["name"])

    @property
    def reference(self) -> Reference:
        """Which object this is."""
        return Reference(self.kind, self.namespace, self.name)


def digest(value: Any, digits: int) -> str:
    """Return the first hex digits of the SHA-256 of a JSON value, the same for the same value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:digits]


def with_hash(body: Mapping[str, Any]) -> Manifest:
    """Return an applied manifest that carries its own hash, so that a field dropped from it is noticed too."""
    metadata = body["metadata"]
    annotations = {**metadata.get("annotations", {}), MANIFEST_HASH_ANNOTATION: digest(body, 16)}
    return Manifest({**body, "metadata": {**metadata, "annotations": annotations}})
