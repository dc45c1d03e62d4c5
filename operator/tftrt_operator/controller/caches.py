"""What exists: the TRTModels and everything that we made for them, and which models an object is about."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
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
from .nesting import MOST_LEVELS_OF_A_SPEC, is_nested_deeper

logger = logging.getLogger(__name__)

Key = tuple[str, str]
Informers = tuple[Informer[Any], ...]
"""One for each place that is watched."""
PLAIN_CHILDREN = ("Service", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler")


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
        self._seen: dict[Key, tuple[str, int]] = {}
        """UID and resource version of each TRTModel, whether it can be read or not."""
        self._heard: dict[Key, float] = {}
        """When there was news of each TRTModel last, by the monotonic clock."""
        self._models: dict[Key, TRTModel] = {}
        self._unreadable: dict[Key, UnreadableModel] = {}
        self._expected: dict[Key, tuple[str, TRTModelStatus]] = {}
        self._needs: dict[Key, tuple[Hashable, ...]] = {}
        """What each model needs that is not its own: its engine, and claims."""
        self._models_by_need: dict[Hashable, dict[Key, None]] = {}
        self._concessions: dict[Key, dict[tuple[str, str], Concession]] = {}

        def informers(kind: str, parse_body: Callable[[Mapping[str, Any]], Any]) -> Informers:
            return tuple(
                Informer(cluster, kind, namespace, names.MANAGED_SELECTOR, parse_body, _index, self._changed)
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

    async def wait_until_synced(self, namespace: str) -> None:
        """Wait until every kind has been listed once where a model is: before that, what exists would look missing."""
        for informer in self.informers:
            if informer.covers(namespace):
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
        return self._models.get(key)

    def seen_models(self, namespace: str | None = None) -> dict[Key, tuple[str, int]]:
        """Return UID and resource version of each TRTModel of a namespace or of all, as it was seen last."""
        return {key: seen for key, seen in self._seen.items() if namespace in (None, key[0])}

    def has_seen(self, key: Key, uid: str, version: int) -> bool:
        """Return whether a TRTModel has been seen as it was at a version, or later."""
        seen = self._seen.get(key)
        return seen is not None and seen[0] == uid and seen[1] >= version

    def silent_seconds(self, key: Key) -> float:
        """Return for how long there has been no news of a TRTModel."""
        return time.monotonic() - self._heard.get(key, float("-inf"))

    def standings(self) -> Mapping[Standing, int]:
        """Return how many TRTModels stand how, by their status as it was seen last."""
        statuses = [model.status for model in self._models.values()]
        statuses += [model.status for model in self._unreadable.values()]
        return Counter(standing_of(status) for status in statuses)

    def unreadable(self, key: Key) -> UnreadableModel | None:
        """Return the TRTModel of that name where it cannot be read, or None."""
        return self._unreadable.get(key)

    def see_model(self, body: Mapping[str, Any]) -> None:
        """Take in a TRTModel as the API server gives it, unless what we have is newer."""
        metadata = body["metadata"]
        key, uid, version = (metadata["namespace"], metadata["name"]), metadata["uid"], int(metadata["resourceVersion"])
        _, seen_version = self._seen.get(key, ("", 0))
        # Each UID's events are in order, and a namesake's may come late: versions are of one store, and only grow.
        if seen_version >= version:
            return
        self._seen[key] = uid, version
        self._heard[key] = time.monotonic()
        self.newest_version = max(self.newest_version, version)
        before, unreadable = self._models.pop(key, None), self._unreadable.pop(key, None)
        self._forget_needs(key)
        try:
            if is_nested_deeper(body.get("spec"), MOST_LEVELS_OF_A_SPEC):
                raise ValueError(f"it is nested more than {MOST_LEVELS_OF_A_SPEC} levels deep")
            model = parse_trtmodel(body)
            target = target_of(model, self._catalogue)
        except Exception as error:  # whatever it is, it is this model's own trouble, and is told there
            self._see_unreadable(unreadable_model(body, parse.why_unreadable(error), parse_status(body)), unreadable)
            return
        self._models[key] = model
        if isinstance(target, Target):
            namespace = model.metadata.namespace
            mounted = claims_of_conversion(model, target)
            needs = ("engine", namespace, target.key.engine), *(("claim", namespace, claim) for claim in mounted)
            self._needs[key] = needs
            for need in needs:
                self._models_by_need.setdefault(need, {})[key] = None
        if before is None or not self._is_own_status(before, model):
            self._enqueue(key)

    def _see_unreadable(self, model: UnreadableModel, before: UnreadableModel | None) -> None:
        """Keep a TRTModel that cannot be read. To see our own status come back is no news."""
        self._unreadable[model.key] = model
        if before is None or replace(before, status=model.status, resource_version=model.resource_version) != model:
            logger.warning("TRTModel %s/%s cannot be read: %s", *model.key, model.why)
            self._enqueue(model.key)

    def forget_model(self, key: Key, uid: str) -> None:
        """Drop a TRTModel that is gone, unless a new one has its name."""
        if self._seen.get(key, ("", 0))[0] != uid:
            return
        self._forget_needs(key)
        for table in (self._seen, self._heard, self._expected, self._models, self._unreadable, self._concessions):
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

    def _is_own_status(self, before: TRTModel, model: TRTModel) -> bool:
        """Return whether nothing has changed but the status, to what we wrote.

        A refusal's message may differ each time: were its own status news, a model would be looked at without end.
        """
        version = {"resource_version": model.metadata.resource_version}
        metadata = before.metadata.model_copy(update=version)
        same = before.model_copy(update={"status": model.status, "metadata": metadata}) == model
        return same and self._expected.get(model.key) == (model.metadata.uid, model.status)

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
            if self._seen.get((metadata["namespace"], metadata["name"]), ("", 0))[0] == metadata["uid"]:
                self.see_model(body)
            return True
        informers = self._informers_of(body["kind"], body["metadata"]["namespace"])
        return any(informer.write_through(body) for informer in informers)

    def forget_deleted(self, reference: Reference) -> None:
        """Drop what we have deleted: its watch may lag, and what it said would be taken for true."""
        for informer in self._informers_of(reference.kind, reference.namespace):
            if reference.uid is not None:
                informer.forget(reference.uid)

    def expect_status(self, about: Reference, status: TRTModelStatus) -> None:
        """Say what status is about to be written: to see it come back is no news."""
        self._expected[about.namespace, about.name] = (str(about.uid), status)

    def _changed(self, keys: Iterable[Hashable]) -> None:
        concerned: set[Key] = set()
        for key in keys:
            match key:
                case ("owner", namespace, name, _) | ("instance", namespace, name):
                    concerned.add((str(namespace), str(name)))
                case ("engine" | "claim", *_):
                    concerned.update(self._models_by_need.get(key, ()))
        for model in concerned:
            if model in self._models:
                self._enqueue(model)

    def _forget_needs(self, key: Key) -> None:
        for need in self._needs.pop(key, ()):
            self._models_by_need[need].pop(key, None)
            if not self._models_by_need[need]:
                del self._models_by_need[need]

    def _informers_of(self, kind: str, namespace: str) -> Informers:
        return tuple(one for one in self.informers if one.kind == kind and one.covers(namespace))


def _index_claim(body: Mapping[str, Any]) -> Iterable[Hashable]:
    yield "claim", body["metadata"]["namespace"], body["metadata"]["name"]


def _find(informers: Informers, key: Hashable) -> list[Any]:
    return [found for informer in informers for found in informer.find(key)]


def _index(body: Mapping[str, Any]) -> Iterable[Hashable]:
    namespace = body["metadata"]["namespace"]
    labels = parse.labels_of(body)
    for owner in parse.owners_of(body):
        yield "owner", namespace, owner.name, owner.uid
    if names.INSTANCE in labels:
        yield "instance", namespace, labels[names.INSTANCE]
    if names.ENGINE in labels:
        yield "engine", namespace, labels[names.ENGINE]
    for engine in parse.engines_deleted(body):
        yield "engine", namespace, engine
    kind, uid = parse.controller_of(body)
    if kind == "Job":
        yield "job", namespace, uid
