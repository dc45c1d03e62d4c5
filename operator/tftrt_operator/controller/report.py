"""What users read: a model's status and its Events."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ..api.status import TRTModelStatus
from ..domain.conditions import is_awaited
from ..domain.milestones import milestones
from ..domain.observation import Reference
from ..domain.plan import Event, Plan
from .caches import Caches, Key
from .cluster import ApiError, Cluster
from .events import event_body
from .metrics import Metrics
from .obstacles import ModelGoneError

logger = logging.getLogger(__name__)

SETTLES_SECONDS = 1.0
"""So long a state has to last until it is told, unless it is one that somebody may be waiting for."""
MOST_UNSAID = 8
"""Events of one model that are kept until the API server takes them."""


class Reporter:
    """Writes the status first and the Events after it, which wait until they can be written."""

    def __init__(
        self, cluster: Cluster, caches: Caches, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._caches = caches
        self._metrics = metrics
        self._clock = clock
        self._unsaid: dict[Key, list[Event]] = {}
        self._untold_since: dict[Key, float] = {}

    def waits(self, about: Reference, before: TRTModelStatus, made: Plan) -> float:
        """Return for how many seconds a plan's status need not be told yet; 0 where it is to be reported now.

        A pod that is ready is followed by its Deployment's word on it, and a Job by its pod: most states on the way are
        over in a moment. Only a status that differs is put off, and none twice: what changes meanwhile waits no longer.
        """
        key = (about.namespace, about.name)
        if made.status is None or made.status == before or made.events or is_awaited(before, made.status):
            self._untold_since.pop(key, None)
            return 0.0
        since = self._untold_since.setdefault(key, self._clock())
        left = since + SETTLES_SECONDS - self._clock()
        if left <= 0:
            del self._untold_since[key]
            return 0.0
        return left

    async def report(self, about: Reference, before: TRTModelStatus, made: Plan) -> None:
        """Write what a plan has to say, where it is news.

        Raises:
            ModelGoneError: there is no such model any more.
            ApiError: not taken.
        """
        if made.status is not None and made.status != before:
            status = made.status.model_dump(by_alias=True, exclude_none=True, mode="json")
            self._caches.expect_status(about, status)
            try:
                self._caches.write_through(await self._cluster.apply_status(about, status))
            except ApiError as error:
                if error.status != 404:
                    raise
                self._caches.forget_model((about.namespace, about.name), str(about.uid))
                raise ModelGoneError from error
            for milestone in milestones(before, made.status, datetime.now(UTC)):
                self._metrics.reached(milestone)
        await self._say(about, made.events)

    def forget(self, key: Key) -> None:
        """Forget what was still to be told of a model that is gone."""
        self._unsaid.pop(key, None)
        self._untold_since.pop(key, None)

    async def _say(self, about: Reference, events: tuple[Event, ...]) -> None:
        """Write Events, and those that could not be written before: the status that has the news is there already."""
        key = (about.namespace, about.name)
        left = [*self._unsaid.pop(key, ()), *events]
        while left:
            try:
                await self._cluster.record_event(event_body(about, left[0]))
            except ApiError as error:
                self._unsaid[key] = left[-MOST_UNSAID:]
                if error.status != 403:
                    raise
                # A quota, or a namespace that goes: to try again and again does not help. The next look does.
                logger.info("%s/%s: an Event waits: %s", *key, error)
                return
            left.pop(0)
