"""`tftrt delete`: take the artifacts of some fingerprints out of the store.

What it deletes is named by the spec's own types, which cannot lead out of the store. It may be run again at any time:
what is gone already is as it should be.
"""

from __future__ import annotations

from tftrt_runtime.contract.spec import DeleteSpec
from tftrt_runtime.storage import stores


def run(spec: DeleteSpec) -> None:
    """Delete `<store>/<namespace>/<fingerprint>` for every fingerprint.

    Raises:
        StoreUnavailable: the store is not there or cannot be written.
    """
    stores.delete(spec.artifacts, spec.model, spec.fingerprints)
