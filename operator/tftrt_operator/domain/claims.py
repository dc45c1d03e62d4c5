"""Which claims a TRTModel may read and write: what a claim's owner says of it by a label.

A claim without the label may be read and written by every TRTModel of its namespace.
"""

from collections.abc import Iterator, Mapping

from ..api.storage import claim_of, scheme_of
from ..api.trtmodel import TRTModel
from .observation import ClaimAccess, Observation
from .target import Target, read_uris
from .verdict import Verdict, stalled

ACCESS_LABEL = "tftrt.dev/access"


def access_of(labels: Mapping[str, str]) -> ClaimAccess:
    """Return what a claim's labels allow; a value that is none of ours allows nothing."""
    value = labels.get(ACCESS_LABEL, ClaimAccess.READ_WRITE)
    return ClaimAccess(value) if value in list(ClaimAccess) else ClaimAccess.NONE


def claims_of_conversion(model: TRTModel, target: Target) -> dict[str, bool]:
    """Return, by claim that a conversion of the model mounts, whether it is written."""
    return dict.fromkeys(_claims(*read_uris(model)), False) | dict.fromkeys(_claims(target.key.store), True)


def claims_of_server(target: Target) -> dict[str, bool]:
    """Return, by claim that an inference pod mounts, that it is not written."""
    return dict.fromkeys(_claims(target.key.store), False)


def claims_of_cleanup(store: str) -> dict[str, bool]:
    """Return, by claim that is mounted to delete artifacts in a store, that it is written."""
    return dict.fromkeys(_claims(store), True)


def refusal(
    mounted: Mapping[str, bool], observation: Observation, unlabelled: ClaimAccess = ClaimAccess.READ_WRITE
) -> Verdict | None:
    """Return why claims may not be mounted, each with whether it would be written, or None where they may.

    `unlabelled` is what a claim without the label allows.
    """
    for claim, written in mounted.items():
        labelled = observation.claim_access(claim)
        access = labelled or unlabelled
        if access is ClaimAccess.READ_WRITE or (access is ClaimAccess.READ_ONLY and not written):
            continue
        says = f"its label {ACCESS_LABEL} says {labelled}" if labelled else f"it has no label {ACCESS_LABEL}"
        needed = ClaimAccess.READ_WRITE if written else ClaimAccess.READ_ONLY
        return stalled(
            "ClaimForbidden",
            f"PersistentVolumeClaim {claim} would be {'written' if written else 'read'}, but {says}:"
            f" use another claim, or have its owner label it {ACCESS_LABEL}={needed}",
        )
    return None


def _claims(*uris: str) -> Iterator[str]:
    for uri in uris:
        if scheme_of(uri) == "pvc":
            yield claim_of(uri)
