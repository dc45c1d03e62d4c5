"""Where the artifacts of one fingerprint are kept: a claim or a bucket, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tftrt_runtime.artifact import File, Manifest
from tftrt_runtime.spec import Artifacts, ModelName
from tftrt_runtime.storage.remote import scheme_of

MakeManifest = Callable[[str, tuple[File, ...]], Manifest]
"""From the name of the build's folder, and its files."""


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
            ArtifactCorrupt: it cannot be read.
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


def open_store(artifacts: Artifacts, model: ModelName, fingerprint: str) -> Store:
    """The store behind `artifacts.uri`.

    Raises:
        UsageError: no such scheme, or a Secret that does not fit it.
    """
    if scheme_of(artifacts.uri) == "pvc":
        from tftrt_runtime.storage.claim_store import ClaimStore

        return ClaimStore(artifacts.uri, model.namespace, fingerprint)
    from tftrt_runtime.storage.bucket_store import BucketStore

    return BucketStore(f"{artifacts.uri.rstrip('/')}/{model.namespace}/{fingerprint}")


def delete(artifacts: Artifacts, model: ModelName, fingerprints: Sequence[str]) -> None:
    """Delete the artifacts of these fingerprints; what is gone already is as it should be.

    Raises:
        StoreUnavailable: the store cannot be reached or written.
    """
    if scheme_of(artifacts.uri) == "pvc":
        from tftrt_runtime.storage import claim_store

        claim_store.delete(artifacts.uri, model.namespace, fingerprints)
        return
    from tftrt_runtime.storage.bucket_store import BucketStore

    for fingerprint in fingerprints:
        BucketStore(f"{artifacts.uri.rstrip('/')}/{model.namespace}/{fingerprint}").delete()
