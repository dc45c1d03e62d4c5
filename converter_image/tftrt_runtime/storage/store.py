"""Where the artifacts of one fingerprint are kept: what a claim and a bucket have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tftrt_runtime.contract.artifact import File, Manifest

MakeManifest = Callable[[str, tuple[File, ...]], Manifest]
"""From the name of the build's folder, and its files."""


def uri_of(store: str, namespace: str, fingerprint: str) -> str:
    """Where in a store the artifacts of one fingerprint are, each below its product."""
    return f"{store.rstrip('/')}/{namespace}/{fingerprint}"


class Store(Protocol):
    """The artifacts of one fingerprint: `<store>/<namespace>/<fingerprint>/<product>/`.

    Every method raises StoreUnavailable where the store cannot be reached, read or written.
    """

    def uri(self, product: str) -> str:
        """The URI of a product's artifact."""
        ...

    def manifests(self) -> dict[str, bytes]:
        """The text of every manifest that there is, by product."""
        ...

    def manifest(self, product: str) -> Manifest | None:
        """A product's manifest, or None.

        Raises:
            ArtifactCorrupt: it cannot be read, or is another artifact's.
        """
        ...

    def publish(self, artifact: Path, build: str, product: str, make_manifest: MakeManifest) -> None:
        """Write the build, and then its manifest, exclusively; another writer's manifest that is there first stays."""
        ...

    def clear(self, build: str, product: str, manifest: Manifest) -> None:
        """Delete what attempts of this build that were killed left, now that the manifest names another's files."""
        ...

    def bring(self, product: str, manifest: Manifest, target: Path) -> None:
        """Copy the artifact to `target`, in the store's own layout, its manifest last."""
        ...
