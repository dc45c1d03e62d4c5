"""A TRTModel that this operator cannot read: what is said of it, and that its deletion is not held up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..api.status import Condition, ConditionType, TRTModelStatus
from .observation import Reference
from .step import Patch
from .verdict import Verdict, stalled
from .words import printable

KEPT = (ConditionType.CONVERTED, ConditionType.VERIFIED, ConditionType.AVAILABLE)
"""What was true of the last spec that could be read. What serves it serves on."""


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


def unreadable_status(model: UnreadableModel, now: str) -> TRTModelStatus:
    """Return the status: Stalled, and beside it what was true before. `now` is an RFC 3339 time."""
    verdict = model.verdict

    def condition(kind: ConditionType, value: Literal["True", "False"]) -> Condition:
        before = model.status.condition(kind)
        same = before is not None and before.status == value
        return Condition(
            type=kind.value,
            status=value,
            observed_generation=model.generation,
            last_transition_time=before.last_transition_time if before and same else now,
            reason=verdict.reason,
            message=printable(verdict.message),
        )

    kept = (before for kind in KEPT if (before := model.status.condition(kind)) is not None)
    conditions = (condition(ConditionType.READY, "False"), condition(ConditionType.STALLED, "True"), *kept)
    return model.status.model_copy(update={"observed_generation": model.generation, "conditions": conditions})


def release(model: UnreadableModel, finalizer: str) -> Patch | None:
    """Return the write that lets a deleted one go: which artifacts are its own cannot be known any more."""
    if not model.deleting or finalizer not in model.finalizers:
        return None
    kept = [name for name in model.finalizers if name != finalizer]
    return Patch(model.reference, {"metadata": {"finalizers": kept, "resourceVersion": model.resource_version}})
