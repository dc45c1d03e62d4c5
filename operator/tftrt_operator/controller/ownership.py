"""Which object is a model, and whose is a live object of one of our names?"""

from collections.abc import Mapping
from typing import Any

from ..api import KIND
from ..api.trtmodel import TRTModel
from ..domain.manifest import Manifest
from ..domain.manifests import names
from ..domain.observation import Reference
from ..domain.unreadable import UnreadableModel


def reference_of(model: TRTModel | UnreadableModel) -> Reference:
    """Return which object a model is."""
    if isinstance(model, UnreadableModel):
        return model.reference
    return Reference(KIND, model.metadata.namespace, model.metadata.name, model.metadata.uid)


def owned_by(model: TRTModel, body: Mapping[str, Any]) -> bool:
    """Return whether the model controls an object."""
    owners = body["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == model.metadata.uid and owner.get("controller") for owner in owners)


def left_by_namesake(model: TRTModel, body: Mapping[str, Any]) -> bool:
    """Return whether an object is of a deleted TRTModel of this name, and about to go."""
    owners = body["metadata"].get("ownerReferences") or ()
    return _made_by_us(body) and any(
        owner["kind"] == KIND and owner["name"] == model.metadata.name and owner["uid"] != model.metadata.uid
        for owner in owners
    )


def is_meant(manifest: Manifest, live: Mapping[str, Any]) -> bool:
    """Return whether a live object is what the manifest would have made, and not one that has our label only.

    A record is evidence for whoever asks for its engine; everything else goes by the owner that we would have given it.
    """
    ours, theirs = manifest.body["metadata"], live["metadata"]
    if not _made_by_us(live):
        return False
    if manifest.kind == "ConfigMap":
        return bool(ours["labels"][names.ENGINE] == (theirs.get("labels") or {}).get(names.ENGINE))
    wanted = {owner["uid"] for owner in ours.get("ownerReferences") or ()}
    return not wanted or bool(wanted & {owner["uid"] for owner in theirs.get("ownerReferences") or ()})


def _made_by_us(body: Mapping[str, Any]) -> bool:
    return (body["metadata"].get("labels") or {}).get(names.MANAGED_BY) == names.OPERATOR
