"""The reconciler: one key at a time it reads what is, has a Plan made, and carries it out."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime

from ..api import KIND
from ..api.status import TRTModelStatus
from ..api.trtmodel import TRTModel
from ..domain.deletion import deletes_artifacts
from ..domain.manifest import Manifest
from ..domain.observation import Observation, Reference, Rejection
from ..domain.plan import Event, Plan, plan, plan_unreadable
from ..domain.runtime import Catalogue
from ..domain.step import Patch
from ..domain.target import Target, target_of
from ..domain.unreadable import UnreadableModel
from .cluster import ApiError, Cluster
from .events import event_body
from .keyed_locks import KeyedLocks
from .observed import Key, Observed
from .ownership import is_meant, left_by_namesake, owned_by
from .queue import WorkQueue

logger = logging.getLogger(__name__)

WORKERS = 64
"""They wait for the API server nearly all the time."""
WORKERS_OF_A_NAMESPACE = 8
MOST_UNSAID = 8
"""Events of one model that are kept until the API server takes them."""


class _WriteFailedError(Exception):
    """The API server did not take a write, for a reason that may pass."""

    def __init__(self, reference: Reference, error: ApiError) -> None:
        super().__init__(str(error))
        self.reference = reference
        self.error = error


class _ModelGoneError(Exception):
    """The model is gone, or another one has its name."""


class Reconciler:
    """Level-triggered: the same facts lead to the same writes, whatever brought the key up."""

    def __init__(self, cluster: Cluster, catalogue: Catalogue) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(lambda key: key[0], WORKERS_OF_A_NAMESPACE)
        self.observed = Observed(cluster, catalogue, self.queue.add)
        self._cluster = cluster
        self._catalogue = catalogue
        self._unsaid: dict[Key, list[Event]] = {}
        self._engines: KeyedLocks[str] = KeyedLocks()

    async def run(self) -> None:
        """Watch and reconcile, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self.observed.informers:
                tasks.create_task(informer.run(), name=f"watch {informer.kind}")
            await self.observed.wait_until_synced()
            for number in range(WORKERS):
                tasks.create_task(self._work(), name=f"worker {number}")

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._reconcile(key)
                self.queue.forget(key)
            except _ModelGoneError:
                self.queue.forget(key)
                self._unsaid.pop(key, None)
            except ApiError as error:
                if error.status == 404 and await self._is_gone(key):
                    self.queue.forget(key)
                    continue
                level = logging.DEBUG if error.status == 409 else logging.WARNING
                logger.log(level, "%s/%s: %s; again in %.1f s", *key, error, self.queue.retry(key))
            except Exception:
                logger.exception("%s/%s: again in %.1f s", *key, self.queue.retry(key))
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        if (unreadable := self.observed.unreadable(key)) is not None:
            await self._tell_unreadable(unreadable)
            return
        model = self.observed.model(key)
        if model is None:
            self._unsaid.pop(key, None)
            return
        target = target_of(model, self._catalogue)
        if not isinstance(target, Target):
            await self._look_and_act(model, None)
            return
        # Two models that ask for one engine must not start two Jobs: the second looks after the first has written.
        async with self._engines.alone(f"{model.metadata.namespace}/{target.key.engine}"):
            await self._look_and_act(model, target)

    async def _tell_unreadable(self, model: UnreadableModel) -> None:
        """Say in its status that a model cannot be read, and let it go where it is deleted."""
        made = plan_unreadable(model, datetime.now(UTC))
        for patch in made.writes.patches:
            await self._patch(patch)
        await self._report(model.reference, model.status, made)

    async def _look_and_act(self, model: TRTModel, target: Target | None) -> None:
        observation = self.observed.observation(model, target)
        if deletes_artifacts(model):
            terminating = await self._terminating(model)
            users = frozenset() if terminating else await self._live_users(model, observation)
            observation = replace(observation, namespace_terminating=terminating, live_models=users)
        made = self._plan(model, observation)
        new = [manifest for manifest in made.writes.applies if observation.child(manifest.kind) is None]
        if new or made.writes.creates:
            await self._confirm(model)
            foreign, leftovers = await self._in_the_way(model, new)
            if foreign or leftovers:
                observation = replace(observation, foreign=foreign, leftovers=leftovers)
                made = self._plan(model, observation)
        try:
            obstacles = await self._write(model, made, observation)
        except _WriteFailedError as failed:
            # Once may be chance. Twice in a row is news for who waits for it, whatever keeps the API server from it.
            if self.queue.has_failed(model.key):
                told = Rejection(failed.reference, failed.error.message, final=False, failed=True)
                made = self._plan(model, replace(observation, rejections=(told,)))
                await self._report(_reference(model), model.status, made)
            raise failed.error from failed
        if obstacles:
            observation = replace(
                observation,
                rejections=tuple(obstacle for obstacle in obstacles if isinstance(obstacle, Rejection)),
                foreign=tuple(obstacle for obstacle in obstacles if isinstance(obstacle, Reference)),
            )
            made = self._plan(model, observation)
        await self._report(_reference(model), model.status, made)
        if made.look_again_after is not None:
            self.queue.add_after(model.key, made.look_again_after.total_seconds())

    def _plan(self, model: TRTModel, observation: Observation) -> Plan:
        return plan(model, self._catalogue, observation, datetime.now(UTC))

    async def _confirm(self, model: TRTModel) -> None:
        """Read the model once more before anything is created for it: after a cut watch it may be long gone."""
        live = await self._cluster.get(_reference(model))
        if live is None or live["metadata"]["uid"] != model.metadata.uid:
            self.observed.forget_model(model.key, model.metadata.uid)
            raise _ModelGoneError

    async def _is_gone(self, key: Key) -> bool:
        """Look whether a model that something was not found for is there itself, and forget it if it is not."""
        model = self.observed.model(key)
        if model is None:
            return True
        try:
            await self._confirm(model)
        except _ModelGoneError:
            return True
        except ApiError:
            pass  # not known: the next attempt looks again
        return False

    async def _terminating(self, model: TRTModel) -> bool:
        namespace = model.metadata.namespace
        live = await self._cluster.get(Reference("Namespace", namespace, namespace))
        return live is None or live["metadata"].get("deletionTimestamp") is not None

    async def _live_users(self, model: TRTModel, observation: Observation) -> frozenset[str]:
        """Ask for the UIDs of the TRTModels that use what this one does, and are not being deleted.

        What we have seen may be less: just after a start, or where one cannot be read.
        """
        owners = [owner.name for record in observation.records for owner in record.owners]
        owners += [owner.name for job in observation.jobs for owner in job.owners]
        others = sorted(set(owners) - {model.metadata.name})
        namespace = model.metadata.namespace
        live = await asyncio.gather(*(self._cluster.get(Reference(KIND, namespace, name)) for name in others))
        return frozenset(
            body["metadata"]["uid"] for body in live if body is not None and "deletionTimestamp" not in body["metadata"]
        )

    async def _in_the_way(
        self, model: TRTModel, manifests: list[Manifest]
    ) -> tuple[tuple[Reference, ...], tuple[Reference, ...]]:
        """Return the objects that exist under our names: somebody else's, and those of a deleted namesake."""
        live = await asyncio.gather(*(self._cluster.get(manifest.reference) for manifest in manifests))
        foreign: list[Reference] = []
        leftovers: list[Reference] = []
        for manifest, body in zip(manifests, live, strict=True):
            if body is not None and not owned_by(model, body):
                (leftovers if left_by_namesake(model, body) else foreign).append(manifest.reference)
        return tuple(foreign), tuple(leftovers)

    async def _write(self, made_for: TRTModel, made: Plan, observation: Observation) -> list[Rejection | Reference]:
        """Make the plan's writes. Returns what the API server refused, and the objects in the way of ours.

        What is to go goes before anything new is made, which a quota may have no room for otherwise.
        """
        obstacles: list[Rejection | Reference] = []

        async def attempt(reference: Reference, write: Awaitable[Reference | None]) -> bool:
            try:
                obstacle: Rejection | Reference | None = await write
            except ApiError as error:
                if error.status not in (400, 403, 422):
                    raise _WriteFailedError(reference, error) from error
                obstacle = Rejection(reference, error.message, final=error.status != 403)
            if obstacle is not None:
                obstacles.append(obstacle)
            else:
                logger.info("%s/%s: wrote %s %s", *made_for.key, reference.kind, reference.name)
            return obstacle is None

        for patch in made.writes.patches:
            if not await attempt(patch.reference, self._patch(patch)):
                return obstacles
        for reference in made.writes.deletes:
            await attempt(reference, self._cluster.delete(reference))
        for manifest in made.writes.creates:
            if not await attempt(manifest.reference, self._create(manifest)):
                return obstacles
        for manifest in made.writes.applies:
            # Over our own object we force: the spec is the source. A new name is taken without force, so that
            # an object which appeared in this very moment is not overwritten.
            force = observation.child(manifest.kind) is not None
            if not await attempt(manifest.reference, self._apply(manifest, force=force)):
                return obstacles
        return obstacles

    async def _patch(self, patch: Patch) -> None:
        self.observed.write_through(await self._cluster.patch(patch.reference, patch.body))

    async def _apply(self, manifest: Manifest, *, force: bool) -> None:
        self.observed.write_through(await self._cluster.apply(manifest, force=force))

    async def _create(self, manifest: Manifest) -> Reference | None:
        """Create an object; returns the one in its way, if that is none of ours or cannot be read."""
        try:
            self.observed.write_through(await self._cluster.create(manifest))
        except ApiError as error:
            if error.status != 409:
                raise
            live = await self._cluster.get(manifest.reference)
            if live is not None and not (is_meant(manifest, live) and self.observed.write_through(live)):
                return manifest.reference
            raise  # we have it now, or it has gone: another look tells
        return None

    async def _report(self, about: Reference, before: TRTModelStatus, made: Plan) -> None:
        if made.status is not None and made.status != before:
            status = made.status.model_dump(by_alias=True, exclude_none=True, mode="json")
            self.observed.expect_status(about, made.status)
            try:
                self.observed.write_through(await self._cluster.apply_status(about, status))
            except ApiError as error:
                if error.status != 404:
                    raise
                self.observed.forget_model((about.namespace, about.name), str(about.uid))
                raise _ModelGoneError from error
        await self._say(about, made.events)

    async def _say(self, about: Reference, events: tuple[Event, ...]) -> None:
        """Write Events, and those that could not be written before: the status that has the news is there already."""
        key = (about.namespace, about.name)
        left = [*self._unsaid.pop(key, ()), *events]
        while left:
            try:
                await self._cluster.record_event(event_body(about, left[0]))
            except ApiError:
                self._unsaid[key] = left[-MOST_UNSAID:]
                raise
            left.pop(0)


def _reference(model: TRTModel) -> Reference:
    return Reference(KIND, model.metadata.namespace, model.metadata.name, model.metadata.uid)
