"""The reconciler: for one key it reads what is, has a Plan made, has it carried out, and reports what became of it."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from ..api.trtmodel import TRTModel
from ..domain.observation import Observation, Rejection
from ..domain.plan import Plan, plan, plan_after_fault, plan_unreadable
from ..domain.runtime import Catalogue
from ..domain.stages.deletion import deletes_artifacts
from ..domain.target import Target, target_of
from ..domain.unreadable import UnreadableModel
from .caches import Caches, Key
from .cluster import Cluster
from .execution import About, Executor, WriteFailedError
from .keyed_locks import KeyedLocks
from .metrics import Metrics
from .obstacles import Obstacles
from .ownership import reference_of
from .queue import WorkQueue
from .report import Reporter

TOLD_AFTER = 2
"""Failed writes in a row. Once may be chance; twice is news for who waits, whatever keeps the API server from it."""
MOST_LOOKS = 6
"""In one pass: from a Job's end it takes a record, what serves, and a look that finds nothing to do."""
CONFLICT_TOLD_AFTER = 5
"""The same for a 409: it is chance for as long as a watch may lag behind what others write at the same time."""


class Reconciler:
    """Level-triggered: the same facts lead to the same writes, whatever brought the key up."""

    def __init__(
        self, cluster: Cluster, catalogue: Catalogue, caches: Caches, queue: WorkQueue[Key], metrics: Metrics
    ) -> None:
        self._catalogue = catalogue
        self._caches = caches
        self._queue = queue
        self._executor = Executor(cluster, caches, metrics)
        self._obstacles = Obstacles(cluster, caches)
        self._reporter = Reporter(cluster, caches, metrics)
        self._engines: KeyedLocks[str] = KeyedLocks()
        self._failed_writes: Counter[Key] = Counter()

    async def reconcile(self, key: Key) -> None:
        """Bring one model nearer to what its spec says.

        Raises:
            ApiError: a write or a question failed; the key has to come up again.
            ModelGoneError: there is no such model any more.
        """
        if (unreadable := self._caches.unreadable(key)) is not None:
            await self._tell_unreadable(unreadable)
            return
        model = self._caches.model(key)
        if model is None:
            self.forget(key)
            return
        target = target_of(model, self._catalogue)
        if not isinstance(target, Target):
            await self._look_and_act(model, None)
            return
        # Two models that ask for one engine must not start two Jobs: the second looks after the first has written.
        async with self._engines.alone(f"{model.metadata.namespace}/{target.key.engine}"):
            await self._look_and_act(model, target)

    def forget(self, key: Key) -> None:
        """Forget what was still to be told of a model that is gone."""
        self._reporter.forget(key)
        self._failed_writes.pop(key, None)

    async def tell_fault(self, key: Key, fault: Exception) -> None:
        """Say in a model's status that the operator itself failed at it: whoever waits for it reads no log.

        Raises:
            ApiError: not taken.
            ModelGoneError: there is no such model any more.
        """
        model = self._caches.unreadable(key) or self._caches.model(key)
        if model is not None:
            made = plan_after_fault(model, fault, datetime.now(UTC))
            await self._reporter.report(reference_of(model), model.status, made)

    async def is_gone(self, key: Key) -> bool:
        """Look whether a model that something was not found for is there itself, and forget it if it is not."""
        model = self._caches.model(key) or self._caches.unreadable(key)
        return model is None or await self._obstacles.is_gone(reference_of(model))

    async def _tell_unreadable(self, model: UnreadableModel) -> None:
        """Say in its status that a model cannot be read, and let it go where it is deleted."""
        made = plan_unreadable(model, datetime.now(UTC))
        for patch in made.writes.patches:
            await self._executor.patch(patch)
        await self._reporter.report(model.reference, model.status, made)

    async def _look_and_act(self, model: TRTModel, target: Target | None) -> None:
        """Act until nothing is left to do at once, and say where the model stands then: no state between is told."""
        for _ in range(MOST_LOOKS):
            made, is_settled = await self._act(model, target)
            if is_settled:
                break
            current = self._caches.model(model.key)
            if current is None or current.metadata.uid != model.metadata.uid or self._target(current) != target:
                self._queue.add(model.key)  # it has become another one's, or asks for another engine
                return
            model = current
        else:
            self._queue.add(model.key)
        await self._tell(model, made)

    async def _tell(self, model: TRTModel, made: Plan) -> None:
        """Report what a plan has to say, now or, where it may be over at once, once it has lasted for a moment."""
        again = None if made.look_again_after is None else made.look_again_after.total_seconds()
        if wait := self._reporter.waits(reference_of(model), model.status, made):
            again = wait if again is None else min(wait, again)
        else:
            await self._reporter.report(reference_of(model), model.status, made)
        if again is not None:
            self._queue.add_after(model.key, again)

    def _target(self, model: TRTModel) -> Target | None:
        target = target_of(model, self._catalogue)
        return target if isinstance(target, Target) else None

    async def _act(self, model: TRTModel, target: Target | None) -> tuple[Plan, bool]:
        """Do what has to be done now; returns the plan that is to be told, and whether there is nothing left to do.

        Raises:
            WriteFailedError: a write was not taken, for a reason that may pass; it has been told where it is news.
        """
        self._queue.looking(model.key)
        observation = self._caches.observation(model, target)
        if deletes_artifacts(model):
            observation = await self._obstacles.look_before_deletion(model, observation)
        made = self._plan(model, observation)
        applied = (*made.writes.prerequisites, *made.writes.applies)
        new = [manifest for manifest in applied if observation.child(manifest.kind, manifest.name) is None]
        if new or made.writes.creates:
            await self._obstacles.confirm(reference_of(model))
            foreign, leftovers = await self._obstacles.in_the_way(model, new)
            if foreign or leftovers:
                observation = replace(observation, foreign=foreign, leftovers=leftovers)
                made = self._plan(model, observation)
        try:
            outcome = await self._executor.write(About(model.key, model.metadata.generation), made.writes, observation)
        except WriteFailedError as failed:
            await self._tell_failure(model, observation, failed)
            raise
        self._failed_writes.pop(model.key, None)
        if outcome.rejections or outcome.foreign:
            return self._plan(model, replace(observation, rejections=outcome.rejections, foreign=outcome.foreign)), True
        if outcome.conceded and made.writes.deletes:
            # What a webhook makes of our applies is known only now. What else is new comes up with the next look.
            self._queue.add(model.key)
            return self._plan(model, self._caches.observation(model, target)), True
        # What became of a deleted model's artifacts is said with the last write for it, after which it may be gone.
        return made, model.metadata.deletion_timestamp is not None or not made.writes.are_seen_at_once

    async def _tell_failure(self, model: TRTModel, observation: Observation, failed: WriteFailedError) -> None:
        """Say in the status what the API server answers to a write that fails again and again."""
        self._failed_writes[model.key] += 1
        told_after = CONFLICT_TOLD_AFTER if failed.status == 409 else TOLD_AFTER
        if model.status.observed_generation is None:
            told_after = 1  # nothing has been said of it yet, and the next try may be long in coming
        if self._failed_writes[model.key] >= told_after:
            told = Rejection(failed.reference, failed.message, final=False, failed=True)
            made = self._plan(model, replace(observation, rejections=(told,)))
            await self._reporter.report(reference_of(model), model.status, made)

    def _plan(self, model: TRTModel, observation: Observation) -> Plan:
        return plan(model, self._catalogue, observation, datetime.now(UTC))
