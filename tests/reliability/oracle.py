"""Is the end of a run the one that the same scenario has without a fault, and was nothing said that was not so?"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .api import Json
from .world import KINDS, Scene

COMPARED = tuple(kind for kind in KINDS if kind != "Pod")
"""All that the operator writes but Events, of which a fault that users should know of makes one more."""
_OF_THE_SERVER = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RUN = re.compile(r"(-[0-9a-f]{8})-[0-9a-f]{4}(?![0-9a-f])")
_CLEANUP = re.compile(r"-cleanup-[0-9a-f]{8}")
"""What a Job's name ends with: the engine, and a hash of its pod template, which has the namespace in it."""
_DIGEST = re.compile(r'("tftrt\.dev/(?:manifest-hash|template)": )"[0-9a-f]+"')
"""Of what has the owner's UID in it."""


@dataclass(frozen=True, slots=True)
class End:
    """What a run has led to."""

    objects: tuple[str, ...]
    """Each as JSON, without what differs from run to run."""
    jobs: int
    """How many Jobs there ever were."""
    told: frozenset[str]
    """What models were said to be, less that they are on their way."""


def end_of(scene: Scene, alike: Sequence[str]) -> End:
    """Return what a scene has come to."""
    who = _who(scene)
    found = [(kind, body) for kind in COMPARED for body in scene.of(kind) if not (alike and _is_of_jobs(kind, body))]
    objects = sorted(_normal(scene, kind, body, alike, who) for kind, body in found)
    return End(tuple(objects), len(scene.made["Job"]), frozenset(_told(scene, alike)))


def _is_of_jobs(kind: str, body: Json) -> bool:
    """Whether it is the NetworkPolicy of a model's Jobs: of several models those have one that came before its end."""
    return kind == "NetworkPolicy" and str(body["metadata"]["name"]).endswith(".jobs")


def differences(wanted: End, found: End) -> list[str]:
    """Say in what an end is another one; nothing where it is the same."""
    said = []
    missing = Counter(wanted.objects) - Counter(found.objects)
    more = Counter(found.objects) - Counter(wanted.objects)
    if missing or more:
        said += [_difference(list(missing.elements()), list(more.elements()))]
    if wanted.jobs != found.jobs:
        said.append(f"{found.jobs} Jobs were made instead of {wanted.jobs}")
    said += [f"said, and not so: {what}" for what in sorted(found.told - wanted.told)]
    return said


def untrue(scene: Scene) -> list[str]:
    """Say what the status of each model says that is not so, as far as what is there tells."""
    return [f"{model['metadata']['name']}: {what}" for model in scene.of("TRTModel") for what in _untrue(scene, model)]


def _untrue(scene: Scene, model: Json) -> Iterator[str]:
    metadata, status = model["metadata"], model.get("status", {})
    if status.get("observedGeneration") != metadata["generation"]:
        yield f"generation {metadata['generation']}, of which {status.get('observedGeneration')} was observed"
    told = {one["type"]: one["status"] for one in status.get("conditions", ())}
    if told.get("Reconciling") == told.get("Stalled") == "True":
        yield "both Reconciling and Stalled"
    server = scene.find("Deployment", metadata["name"])
    counts = (server or {}).get("status", {})
    available = counts.get("availableReplicas", 0)
    if (told.get("Available") == "True") != bool(available):
        yield f"Available is {told.get('Available')}, and {available} replicas are"
    if told.get("Ready") != "True":
        return
    serving = model["spec"].get("serving", {})
    wanted = 1 if serving.get("autoscaling") else serving.get("replicas", 1)
    if available < wanted:
        yield f"Ready, and {available} of {wanted} replicas are available"
    engine = (server or {}).get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
    if status.get("fingerprint") != engine.get("tftrt.dev/fingerprint"):
        yield f"Ready with engine {status.get('fingerprint')}, and {engine.get('tftrt.dev/fingerprint')} is served"
    batch = model["spec"].get("conversion", {}).get("maxBatchSize", 1)
    task = [
        json.loads(text)
        for text in (
            (server or {}).get("spec", {}).get("template", {}).get("metadata", {}).get("annotations") or {}
        ).values()
        if text.startswith("{")
    ]
    if task and not any(f'"{batch}"' in text or str(batch) in text for text in map(json.dumps, task)):
        yield f"Ready, and its server does not know of batches of {batch}"


def _told(scene: Scene, alike: Sequence[str]) -> Iterator[str]:
    """Yield, for each generation of each model, that it was said to be Ready, or not to become so, and why."""
    uids = list(scene.made["TRTModel"])
    for name, statuses in scene.told.items():
        who = "twin" if name in alike else name
        for status in statuses:
            for one in status.get("conditions", ()):
                if one["status"] != "True" or one["type"] not in ("Ready", "Stalled"):
                    continue
                which = f"{who} {uids.index(status['uid']) if not alike else ''}".rstrip()
                yield f"{which}, generation {one.get('observedGeneration')}: {one['type']} {one['reason']}"


def _normal(scene: Scene, kind: str, body: Mapping[str, Any], alike: Sequence[str], who: Mapping[str, str]) -> str:
    metadata = {name: value for name, value in body["metadata"].items() if name not in _OF_THE_SERVER}
    annotations = metadata.pop("annotations", {})
    metadata["annotations"] = {name: value for name, value in annotations.items() if name != POKE}
    owners = metadata.pop("ownerReferences", ())
    shown = {**body, "kind": kind, "metadata": {**metadata, "ownerReferences": owners}}
    text = json.dumps(shown, sort_keys=True)
    text = text.replace(scene.namespace, "NAMESPACE")
    text = _UID.sub(lambda found: who.get(found[0], "nobody"), text)
    for name in alike:
        text = text.replace(name, "twin")
    text = _TIME.sub("TIME", text)
    text = _CLEANUP.sub("-cleanup-RUN", text)
    text = _DIGEST.sub(r'\1"DIGEST"', _RUN.sub(r"\1-RUN", text))
    found = json.loads(text)
    if owners:
        found["metadata"]["ownerReferences"].sort(key=json.dumps)
    if kind == "Deployment":
        found.get("status", {}).pop("observedGeneration", None)  # how many changes it took is no matter
    if kind == "Service":
        for name in ("clusterIP", "clusterIPs"):
            found["spec"].pop(name, None)
    return json.dumps(found, sort_keys=True)


def _who(scene: Scene) -> dict[str, str]:
    """Return whose UID each is: of objects of one name, which one."""
    counts: Counter[tuple[str, str]] = Counter()
    said = {}
    for uid, key in scene.uids.items():
        said[uid] = f"{'/'.join(key)}/{counts[key]}"
        counts[key] += 1
    return said


POKE = "tftrt.test/poke"
"""An annotation of TRTModels that means nothing."""


def _difference(missing: list[str], more: list[str]) -> str:
    """Say in words in what objects differ: field by field where there is one instead of another."""
    said = []
    rest = list(more)
    for one in missing:
        wanted = json.loads(one)
        name = (wanted["kind"], wanted["metadata"]["name"])
        other = next((text for text in rest if _name(text) == name), None)
        if other is None:
            said.append(f"{' '.join(name)} is missing")
            continue
        rest.remove(other)
        fields = "; ".join(_fields("", wanted, json.loads(other)))
        said.append(f"{' '.join(name)}: {fields[:600]}")
    said += [f"{' '.join(_name(one))} is there" for one in rest]
    return "; ".join(said)


def _name(text: str) -> tuple[str, str]:
    body = json.loads(text)
    return body["kind"], body["metadata"]["name"]


def _fields(path: str, wanted: Any, found: Any) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted({*wanted, *found}):
            yield from _fields(f"{path}.{name}", wanted.get(name), found.get(name))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _fields(f"{path}[{number}]", one, other)
    elif wanted != found:
        yield f"{path} is {json.dumps(found)[:200]} and not {json.dumps(wanted)[:200]}"
