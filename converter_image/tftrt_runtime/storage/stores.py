"""Which store is behind a URI."""

from __future__ import annotations

from collections.abc import Sequence

from tftrt_runtime.contract.spec import Artifacts, ModelName
from tftrt_runtime.storage.remote import scheme_of
from tftrt_runtime.storage.store import Store, uri_of


def open_store(artifacts: Artifacts, model: ModelName, fingerprint: str) -> Store:
    """The store behind `artifacts.uri`.

    Raises:
        UsageError: no such scheme.
        SecretUnfit: the Secret for the artifacts does not fit it.
    """
    if scheme_of(artifacts.uri) == "pvc":
        from tftrt_runtime.storage.claim_store import ClaimStore

        return ClaimStore(artifacts.uri, model.namespace, fingerprint)
    from tftrt_runtime.storage.bucket_store import BucketStore

    return BucketStore(uri_of(artifacts.uri, model.namespace, fingerprint))


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
        BucketStore(uri_of(artifacts.uri, model.namespace, fingerprint)).delete()
