"""A TRTModel that this operator cannot read: what is said of it, and that its deletion is not held up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..api.status import TRTModelStatus
from .observation import Reference
from .stages.deletion import FINALIZER, set_finalizers
from .step import Writes
from .verdict import Verdict, stalled
from .words import printable


@dataclass(frozen=True, slots=True)
class UnreadableModel:
    """An object of the kind TRTModel whose spec breaks a rule: one of before the rule, or of another version."""

    reference: Reference
    generation: int
    finalizers: tuple[str, ...]
    resource_version: str
    deleting: bool
    why: str
    status: TRTModelStatus

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.reference.namespace, self.reference.name

    @property
    def verdict(self) -> Verdict:
        """What users read."""
        return stalled(
            "SpecUnreadable",
            f"this operator cannot read the spec, and does nothing for it until it is corrected: {self.why}",
        )


def unreadable_model(body: Mapping[str, Any], why: str, status: TRTModelStatus) -> UnreadableModel:
    """Return what can be known of such an object: the API server itself vouches for its metadata."""
    metadata = body["metadata"]
    return UnreadableModel(
        reference=Reference("TRTModel", metadata["namespace"], metadata["name"], metadata["uid"]),
        generation=metadata.get("generation", 0),
        finalizers=tuple(metadata.get("finalizers") or ()),
        resource_version=metadata["resourceVersion"],
        deleting="deletionTimestamp" in metadata,
        why=printable(why, 1000),
        status=status,
    )


def release(model: UnreadableModel) -> Writes:
    """Return the write that lets a deleted one go: which artifacts are its own cannot be known any more."""
    if FINALIZER not in model.finalizers:
        return Writes()
    kept = [name for name in model.finalizers if name != FINALIZER]
    return Writes(patches=(set_finalizers(model.reference, model.resource_version, kept),))
