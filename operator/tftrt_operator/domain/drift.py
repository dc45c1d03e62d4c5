"""Does a live object still say what its manifest says?

What the API server adds (defaults, status, other managers' fields) is no drift; what it leaves out because it is empty
is none either. A field that was dropped from the manifest shows in the hash that the manifest carries.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..api.quantity import quantity_value
from .manifest import Manifest

# Where Kubernetes writes quantities its own way: 1000m becomes 1. Anywhere else text is compared as text.
QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "target"})
# By what an item of a list is found, since webhooks may have added others: what Kubernetes merges these lists by.
KEYS = {"volumeMounts": ("mountPath",), "ports": ("containerPort", "port")}


def has_drifted(manifest: Manifest, live: Mapping[str, Any]) -> bool:
    """Return whether the manifest has to be applied again over the live object."""
    return any(not _contains(live.get(part), manifest.body[part]) for part in manifest.body if part != "status")


def _contains(live: Any, wanted: Any, field: str = "", *, quantities: bool = False) -> bool:
    if not wanted:  # the API server drops false, 0, "", {} and [] where they are the zero value
        return not live
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _contains(live.get(key), value, key, quantities=quantities or key in QUANTITIES)
            for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(live, Sequence) and _lists_match(live, wanted, field)
    return bool(live == wanted) or (quantities and _same_quantity(live, wanted))


def _lists_match(live: Sequence[Any], wanted: Sequence[Any], field: str) -> bool:
    """Items with a name (containers, volumes, environment) are found by it: webhooks may have added others."""
    for key in KEYS.get(field, ("name", "uid")):
        if all(isinstance(item, Mapping) and key in item for item in wanted):
            by_key = {item[key]: item for item in live if isinstance(item, Mapping) and key in item}
            return all(_contains(by_key.get(item[key]), item) for item in wanted)
    return len(live) == len(wanted) and all(_contains(*pair) for pair in zip(live, wanted, strict=True))


def _same_quantity(live: Any, wanted: Any) -> bool:
    """The API server writes quantities its own way: 1000m becomes 1."""
    try:
        return quantity_value(str(live)) == quantity_value(str(wanted))
    except ValueError:
        return False
