"""What exists: the TRTModels and everything that we made for them, and which models an object is about."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from sys import intern
from typing import Any

from ..api import KIND
from ..api.status import TRTModelStatus
from ..api.trtmodel import TRTModel
from ..api.written import parse_status, parse_trtmodel
from ..domain.claims import ACCESS_LABEL, claims_of_cleanup, claims_of_conversion
from ..domain.conditions import standing_of
from ..domain.manifests import names
from ..domain.observation import (
    Concession,
    Observation,
    ObservedChild,
    ObservedClaim,
    ObservedDeployment,
    ObservedJob,
    Reference,
)
from ..domain.runtime import Catalogue
from ..domain.target import Target, target_of
from ..domain.unreadable import UnreadableModel, unreadable_model
from ..domain.verdict import Standing
from . import parse
from .cluster import EVERYWHERE, Cluster, Namespaces
from .informer import Informer
from .nesting import MOST_LEVELS_OF_A_SPEC, is_nested_deeper, loads
from .packed import fingerprint_of, pack

logger = logging.getLogger(__name__)

Key = tuple[str, str]
Informers = tuple[Informer[Any], ...]
"""One for each place that is watched."""
MOST_PARSED = 64
"""TRTModels that are kept as they were parsed, which takes ten times the memory of their text: one for each worker."""
LISTS_AT_A_TIME = 2
_NOT_ASKED = ("resourceVersion", "managedFields")
"""Metadata that change with each write, and that nobody asks for anything by."""
PLAIN_CHILDREN = ("Service", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A TRTModel as it was seen last."""

    uid: str
    version: int
    when: float
    """By the monotonic clock."""
    standing: Standing
    text: bytes = b""
    """All that is read of it, "" where it cannot be read."""
    asked: bytes = b""
    """A fingerprint of all of it but its status."""
    said: bytes = b""
    """A fingerprint of its status."""


class Caches:
    """Caches of all that the operator decides from. `enqueue` is called with the key of every model concerned."""

    def __init__(
        self,
        cluster: Cluster,
        catalogue: Catalogue,
        enqueue: Callable[[Key], None],
        namespaces: Namespaces = EVERYWHERE,
    ) -> None:
        self._catalogue = catalogue
        self._enqueue = enqueue
        self.newest_version = 0
        """Of all TRTModels that were ever seen."""
        self._seen: dict[Key, _Seen] = {}
        self._parsed: OrderedDict[Key, TRTModel] = OrderedDict()
        """Those that were looked at last."""
        self._unreadable: dict[Key, UnreadableModel] = {}
        self._expected: dict[Key, tuple[str, bytes]] = {}
        """UID of each TRTModel, and the fingerprint of the status that we wrote last."""
        self._needs: dict[Key, tuple[Hashable, ...]] = {}
        """What each model needs that is not its own: its engine, and claims."""
        self._models_by_need: dict[Hashable, dict[Key, None]] = {}
        self._concessions: dict[Key, dict[tuple[str, str], Concession]] = {}

        turn = asyncio.Semaphore(LISTS_AT_A_TIME)

        def informers(kind: str, parse_body: Callable[[Mapping[str, Any]], Any]) -> Informers:
            return tuple(
                Informer(
                    cluster,
                    kind,
                    namespace,
                    names.MANAGED_SELECTOR,
                    parse_body,
                    _index,
                    self._changed,
                    self._gone,
                    turn,
                )
                for namespace in namespaces
            )

        self._jobs = informers("Job", parse.parse_job)
        self._pods = informers("Pod", parse.parse_pod)
        self._records = informers("ConfigMap", parse.parse_config_map)
        self._deployments = informers("Deployment", parse.parse_deployment)
        self._children = tuple(one for kind in PLAIN_CHILDREN for one in informers(kind, parse.parse_child))
        self._claims: Informers = tuple(
            Informer(
                cluster,
                "PersistentVolumeClaim",
                namespace,
                ACCESS_LABEL,
                parse.parse_claim,
                _index_claim,
                self._changed,
                turn=turn,
            )
            for namespace in namespaces
        )
        self.informers = (
            *self._jobs,
            *self._pods,
            *self._records,
            *self._deployments,
            *self._children,
            *self._claims,
        )

    async def wait_until_synced(self, namespace: str | None) -> None:
        """Wait until every kind has been listed once where a model is: before that, what exists would look missing.

        Args:
            namespace: the model's; None for all.
        """
        for informer in self.informers:
            if namespace is None or informer.covers(namespace):
                await informer.synced.wait()

    @property
    def unseen(self) -> list[str]:
        """What has not been listed yet, of all kinds of ours."""
        return [informer.what for informer in self.informers if not informer.synced.is_set()]

    def silence_seconds(self) -> float:
        """Return for how long the quietest watch has had neither an event nor a bookmark."""
        return time.monotonic() - min(informer.last_heard for informer in self.informers)

    def model(self, key: Key) -> TRTModel | None:
        """Return the TRTModel, or None."""
        found = self._parsed.get(key)
        if found is None and (seen := self._seen.get(key)) is not None and seen.text:
            found = parse_trtmodel(loads(seen.text))
            self._keep(key, found)
        elif found is not None:
            self._parsed.move_to_end(key)
        return found

    def _keep(self, key: Key, model: TRTModel) -> None:
        self._parsed[key] = model
        self._parsed.move_to_end(key)
        if len(self._parsed) > MOST_PARSED:
            self._parsed.popitem(last=False)

    def seen_models(self, namespace: str | None = None) -> dict[Key, tuple[str, int]]:
        """Return UID and resource version of each TRTModel of a namespace or of all, as it was seen last."""
        return {key: (seen.uid, seen.version) for key, seen in self._seen.items() if namespace in (None, key[0])}

    def has_seen(self, key: Key, uid: str, version: int) -> bool:
        """Return whether a TRTModel has been seen as it was at a version, or later."""
        seen = self._seen.get(key)
        return seen is not None and seen.uid == uid and seen.version >= version

    def silent_seconds(self, key: Key) -> float:
        """Return for how long there has been no news of a TRTModel."""
        seen = self._seen.get(key)
        return time.monotonic() - (float("-inf") if seen is None else seen.when)

    def standings(self) -> Mapping[Standing, int]:
        """Return how many TRTModels stand how, by their status as it was seen last."""
        return Counter(seen.standing for seen in self._seen.values())

    def unreadable(self, key: Key) -> UnreadableModel | None:
        """Return the TRTModel of that name where it cannot be read, or None."""
        return self._unreadable.get(key)

    def see_model(self, body: Mapping[str, Any], *, is_answer: bool = False) -> None:
        """Take in a TRTModel as the API server gives it, unless what we have is newer.

        Args:
            body: the object.
            is_answer: whether it is what a write of its status was answered with.
        """
        metadata = body["metadata"]
        key, uid, version = (metadata["namespace"], metadata["name"]), metadata["uid"], int(metadata["resourceVersion"])
        before = self._seen.get(key)
        # Each UID's events are in order, and a namesake's may come late: versions are of one store, and only grow.
        if before is not None and before.version >= version:
            return
        self.newest_version = max(self.newest_version, version)
        status = parse_status(body)
        seen = self._seen[key] = _seen(body, uid, version, standing_of(status))
        if before is not None and before.uid == uid and seen.asked and before.asked == seen.asked and before.text:
            if key in self._parsed:
                self._parsed[key] = _with_status(self._parsed[key], status, metadata["resourceVersion"])
            if not (is_answer or seen.said == before.said or self._expected.get(key) == (uid, seen.said)):
                self._enqueue(key)
            return
        self._see_another(key, body, seen)

    def _see_another(self, key: Key, body: Mapping[str, Any], seen: _Seen) -> None:
        """Take in a TRTModel of which more than the status is new."""
        unreadable = self._unreadable.pop(key, None)
        self._parsed.pop(key, None)
        self._forget_needs(key)
        try:
            if is_nested_deeper(body.get("spec"), MOST_LEVELS_OF_A_SPEC):
                raise ValueError(f"it is nested more than {MOST_LEVELS_OF_A_SPEC} levels deep")
            model = parse_trtmodel(body)
            target = target_of(model, self._catalogue)
        except Exception as error:  # whatever it is, it is this model's own trouble, and is told there
            self._seen[key] = replace(seen, text=b"", asked=b"")
            self._see_unreadable(unreadable_model(body, parse.why_unreadable(error), parse_status(body)), unreadable)
            return
        self._keep(key, model)
        if isinstance(target, Target):
            namespace = model.metadata.namespace
            mounted = claims_of_conversion(model, target)
            needs = ("engine", namespace, target.key.engine), *(("claim", namespace, claim) for claim in mounted)
            self._needs[key] = needs
            for need in needs:
                self._models_by_need.setdefault(need, {})[key] = None
        self._enqueue(key)

    def _see_unreadable(self, model: UnreadableModel, before: UnreadableModel | None) -> None:
        """Keep a TRTModel that cannot be read. To see our own status come back is no news."""
        self._unreadable[model.key] = model
        if before is None or replace(before, status=model.status, resource_version=model.resource_version) != model:
            logger.warning("TRTModel %s/%s cannot be read: %s", *model.key, model.why)
            self._enqueue(model.key)

    def forget_model(self, key: Key, uid: str) -> None:
        """Drop a TRTModel that is gone, unless a new one has its name."""
        if (seen := self._seen.get(key)) is None or seen.uid != uid:
            return
        self._forget_needs(key)
        for table in (self._seen, self._expected, self._parsed, self._unreadable, self._concessions):
            table.pop(key, None)

    def concede(self, key: Key, kind: str, name: str, conceded: Concession | None) -> None:
        """Keep what the API server made of the last apply of a model's child, or that it took it as it was."""
        if conceded is not None:
            self._concessions.setdefault(key, {})[kind, name] = conceded
        elif key in self._concessions:
            self._concessions[key].pop((kind, name), None)

    def concessions(self, key: Key) -> dict[tuple[str, str], Concession]:
        """Return, by kind and name of a child, what the API server made of an apply where that is not what we sent."""
        return dict(self._concessions.get(key, {}))

    def observation(self, model: TRTModel, target: Target | None) -> Observation:
        """Return everything that exists for a model and for the engine that it asks for."""
        namespace, name = model.key
        owner = ("owner", namespace, name, model.metadata.uid)
        jobs = {job.uid: job for job in _find(self._jobs, owner)}
        jobs |= {job.uid: job for job in _find(self._jobs, ("instance", namespace, name))}
        records = {record.name: record for record in _find(self._records, owner)}
        # Others' records of the same engines: who uses an engine must be known before it is deleted.
        engines = {record.record.key.engine for record in records.values()}
        engines |= {job.engine for job in jobs.values() if job.engine}
        for engine in engines | ({target.key.engine} if target is not None else set()):
            jobs |= {job.uid: job for job in _find(self._jobs, ("engine", namespace, engine))}
            records |= {r.name: r for r in _find(self._records, ("engine", namespace, engine))}
        pods = {pod.name: pod for pod in _find(self._pods, ("instance", namespace, name))}
        for job in jobs.values():
            pods |= {pod.name: pod for pod in _find(self._pods, ("job", namespace, job.uid))}
        deployments: list[ObservedDeployment] = _find(self._deployments, owner)
        deployment = next((item for item in deployments if item.child.name == name), None)
        children: list[ObservedChild] = _find(self._children, owner)
        if deployment is not None:
            children.append(deployment.child)
        return Observation(
            jobs=tuple(jobs.values()),
            pods=tuple(pods.values()),
            records=tuple(records.values()),
            deployment=deployment,
            claims=self._labelled_claims(
                model, [record.record.key.store for record in records.values()], jobs.values()
            ),
            children=tuple(child for child in children if child.name in (name, names.jobs_policy_name(model))),
            concessions=self.concessions(model.key),
        )

    def _labelled_claims(
        self, model: TRTModel, stores: list[str], jobs: Iterable[ObservedJob]
    ) -> tuple[ObservedClaim, ...]:
        """Return the claims that the model names, and those of stores that it has been published in, with a label."""
        namespace = model.metadata.namespace
        needs = dict.fromkeys(self._needs.get(model.key, ()))
        for store in (*stores, *(job.store for job in jobs)):
            needs |= dict.fromkeys(("claim", namespace, claim) for claim in claims_of_cleanup(store))
        return tuple(claim for need in needs for claim in _find(self._claims, need))

    def write_through(self, body: Mapping[str, Any]) -> bool:
        """Take in the API server's answer to one of our writes. Returns whether it can be read."""
        if body["kind"] == KIND:
            metadata = body["metadata"]
            # An answer may come after the news that the model is gone: it brings none back.
            seen = self._seen.get((metadata["namespace"], metadata["name"]))
            if seen is not None and seen.uid == metadata["uid"]:
                self.see_model(body, is_answer=True)
            return True
        informers = self._informers_of(body["kind"], body["metadata"]["namespace"])
        return any(informer.write_through(body) for informer in informers)

    def forget_deleted(self, reference: Reference) -> None:
        """Drop what we have deleted: its watch may lag, and what it said would be taken for true."""
        for informer in self._informers_of(reference.kind, reference.namespace):
            if reference.uid is not None:
                informer.forget(reference.uid)

    def expect_status(self, about: Reference, status: Mapping[str, Any]) -> None:
        """Say what status is about to be written: to see it come back is no news.

        A refusal's message may differ each time: were its own status news, a model would be looked at without end.
        """
        self._expected[about.namespace, about.name] = (str(about.uid), fingerprint_of(status))

    def _gone(self, keys: Iterable[Hashable]) -> None:
        """Look at models of whose own something has gone: with one of them, perhaps, which we have not heard of yet."""
        for key in keys:
            match key:
                case ("owner", namespace, name, uid):
                    seen = self._seen.get((str(namespace), str(name)))
                    if seen is not None and seen.uid == uid:
                        self._seen[str(namespace), str(name)] = replace(seen, when=float("-inf"))
        self._changed(keys)

    def _changed(self, keys: Iterable[Hashable]) -> None:
        concerned: set[Key] = set()
        for key in keys:
            match key:
                case ("owner", namespace, name, _) | ("instance", namespace, name):
                    concerned.add((str(namespace), str(name)))
                case ("engine" | "claim", *_):
                    concerned.update(self._models_by_need.get(key, ()))
        for model in concerned:
            if model in self._seen and model not in self._unreadable:
                self._enqueue(model)

    def _forget_needs(self, key: Key) -> None:
        for need in self._needs.pop(key, ()):
            self._models_by_need[need].pop(key, None)
            if not self._models_by_need[need]:
                del self._models_by_need[need]

    def _informers_of(self, kind: str, namespace: str) -> Informers:
        return tuple(one for one in self.informers if one.kind == kind and one.covers(namespace))


def _seen(body: Mapping[str, Any], uid: str, version: int, standing: Standing) -> _Seen:
    """Return what is kept of a TRTModel; its text is "" where it is nested too deep to be written as such."""
    metadata = {name: part for name, part in body["metadata"].items() if name not in _NOT_ASKED}
    status = body.get("status") or {}
    parts = {"metadata": metadata, "spec": body.get("spec")}
    try:
        asked, said = fingerprint_of(parts), fingerprint_of(status)
        metadata["resourceVersion"] = body["metadata"]["resourceVersion"]
        text = pack(parts | {"status": status})
    except (TypeError, ValueError, RecursionError):
        return _Seen(uid, version, time.monotonic(), standing)
    return _Seen(uid, version, time.monotonic(), standing, text, asked, said)


def _with_status(model: TRTModel, status: TRTModelStatus, resource_version: str) -> TRTModel:
    """Return the model with another status, and the very same spec."""
    metadata = model.metadata.model_copy(update={"resource_version": resource_version})
    return model.model_copy(update={"status": status, "metadata": metadata})


def _index_claim(body: Mapping[str, Any]) -> Iterable[Hashable]:
    yield "claim", body["metadata"]["namespace"], body["metadata"]["name"]


def _find(informers: Informers, key: Hashable) -> list[Any]:
    return [found for informer in informers for found in informer.find(key)]


def _index(body: Mapping[str, Any]) -> Iterable[Hashable]:
    namespace = intern(body["metadata"]["namespace"])
    labels = parse.labels_of(body)
    for owner in parse.owners_of(body):
        yield "owner", namespace, owner.name, owner.uid
    if names.INSTANCE in labels:
        yield "instance", namespace, intern(labels[names.INSTANCE])
    if names.ENGINE in labels:
        yield "engine", namespace, intern(labels[names.ENGINE])
    for engine in parse.engines_deleted(body):
        yield "engine", namespace, engine
    kind, uid = parse.controller_of(body)
    if kind == "Job":
        yield "job", namespace, uid
