"""Where does a live object not say what its manifest says?

What the API server adds (defaults, status, other managers' fields) is no drift; what it leaves out because it is empty
is none either. A field that was dropped from the manifest shows in the hash that the manifest carries. What a mutating
webhook makes of an apply is no drift: it is known from the API server's answer, and conceded.

The spec of a NetworkPolicy is compared whole. The API server adds nothing to one that says its policyTypes and its
ports' protocols, as ours do, and there what is added opens or closes: `{}` among the rules lets everybody in.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..api.quantity import quantity_value
from .manifest import Manifest, digest
from .observation import Concession

# Where Kubernetes writes quantities its own way: 1000m becomes 1. Anywhere else text is compared as text.
QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "target"})
# By what an item of a list is found, since webhooks may have added others: what is unique in lists that Kubernetes
# merges.
KEYS = {"volumeMounts": ("mountPath",), "ports": ("containerPort", "name")}
WHOLE = frozenset({("NetworkPolicy", "spec")})


def drift(manifest: Manifest, live: Mapping[str, Any], conceded: Concession | None = None) -> frozenset[str]:
    """Return the paths of the fields that have to be applied again over the live object."""
    found = frozenset(_deviations_of(manifest, live))
    if found and conceded is not None and conceded.manifest == _digest(manifest):
        found -= conceded.deviations
    return frozenset(path for path, _ in found)


def concession(manifest: Manifest, answer: Mapping[str, Any]) -> Concession | None:
    """Return where the API server's answer to an apply is not what was applied, or None where it is."""
    found = frozenset(_deviations_of(manifest, answer))
    return Concession(_digest(manifest), found) if found else None


def _digest(manifest: Manifest) -> str:
    return digest(manifest.body, 16)


def _deviations_of(manifest: Manifest, live: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the path of each field that is not as the manifest says, with a digest of what it is."""
    live = dict(live.items())  # it may be kept as text, which is parsed once
    for part, wanted in manifest.body.items():
        if (manifest.kind, part) in WHOLE:
            yield from _differences(live.get(part), wanted, part)
        elif part != "status":
            yield from _deviations(live.get(part), wanted, part, part)


def _differences(live: Any, wanted: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each value that is not the same, or that only one of both has. An empty list is as none."""
    if live == wanted:
        return
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key in sorted({*live, *wanted}):
            yield from _differences(live.get(key, []), wanted.get(key, []), f"{path}.{key}")
    elif _is_list(wanted) and _is_list(live):
        for place in range(max(len(live), len(wanted))):
            yield from _differences(_at(live, place), _at(wanted, place), f"{path}[{place}]")
    else:
        yield path, _digest_of(live)


def _deviations(
    live: Any, wanted: Any, path: str, field: str, *, quantities: bool = False
) -> Iterator[tuple[str, str]]:
    if live == wanted:  # most parts are, and are compared at once; what has defaults in it is looked into
        return
    if isinstance(wanted, dict) and wanted and isinstance(live, dict):
        for key, value in wanted.items():
            within = quantities or key in QUANTITIES
            yield from _deviations(live.get(key), value, f"{path}.{key}", key, quantities=within)
    elif _is_list(wanted) and wanted and _is_list(live):
        for part, mine, theirs in _pairs(live, wanted, field):
            yield from _deviations(theirs, mine, f"{path}[{part}]", "")
    elif not _is_same(live, wanted, quantities=quantities):
        yield path, _digest_of(live)


def _digest_of(live: Any) -> str:
    return digest(json.dumps(live, sort_keys=True, default=str), 16)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_same(live: Any, wanted: Any, *, quantities: bool) -> bool:
    if not wanted:  # the API server drops false, 0, "", {} and [] where they are the zero value
        return not live
    return bool(live == wanted) or (quantities and _same_quantity(live, wanted))


def _pairs(live: Sequence[Any], wanted: Sequence[Any], field: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield each wanted item with the live one, and what it is called by.

    Items with a name (containers, volumes, environment) are found by it: webhooks may have added others. Those of any
    other list have their place in it, and there may be no more of them.
    """
    for key in KEYS.get(field, ("name", "uid")):
        if all(isinstance(item, dict) and key in item for item in wanted):
            by_key = {item[key]: item for item in live if isinstance(item, dict) and key in item}
            yield from ((str(item[key]), item, by_key.get(item[key])) for item in wanted)
            return
    for place in range(max(len(live), len(wanted))):
        yield str(place), _at(wanted, place), _at(live, place)


def _at(items: Sequence[Any], place: int) -> Any:
    return items[place] if place < len(items) else None


def _same_quantity(live: Any, wanted: Any) -> bool:
    """The API server writes quantities its own way: 1000m becomes 1."""
    try:
        return quantity_value(str(live)) == quantity_value(str(wanted))
    except ValueError:
        return False
