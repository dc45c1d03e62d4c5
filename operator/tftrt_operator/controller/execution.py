"""From a plan's writes to the API server, and what it made of them."""

import logging
from collections.abc import Awaitable
from dataclasses import dataclass

from ..domain.drift import concession
from ..domain.manifest import Manifest
from ..domain.observation import Observation, Reference, Rejection
from ..domain.step import Patch, Writes
from .caches import Caches, Key
from .cluster import ApiError, Cluster
from .metrics import Metrics
from .ownership import is_meant

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class About:
    """The model that writes are for, as it was read."""

    key: Key
    generation: int


class WriteFailedError(ApiError):
    """The API server did not take a write, for a reason that may pass."""

    def __init__(self, reference: Reference, error: ApiError) -> None:
        super().__init__(error.status, error.reason, error.message)
        self.reference = reference


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan's writes."""

    rejections: tuple[Rejection, ...] = ()
    """Those that the API server refused."""
    foreign: tuple[Reference, ...] = ()
    """Objects in the way of ours."""
    conceded: bool = False
    """Whether it made something else of an apply than it did before."""


class Executor:
    """Makes writes; each is idempotent, and what the API server answers goes into the caches at once."""

    def __init__(self, cluster: Cluster, caches: Caches, metrics: Metrics) -> None:
        self._cluster = cluster
        self._caches = caches
        self._metrics = metrics

    async def write(self, about: About, writes: Writes, observation: Observation) -> Outcome:
        """Make a model's writes, with a line in the log for each.

        What is to go goes before anything new is made, which a quota may have no room for otherwise. Nothing new is
        made after a write that was refused.

        Raises:
            WriteFailedError: a write was not taken, for a reason that may pass.
        """
        for patch in writes.patches:
            if rejection := await self._attempt(about, "Patched", patch.reference, self.patch(patch)):
                return Outcome((rejection,))
        deleted = [await self._attempt(about, "Deleted", gone, self._delete(gone)) for gone in writes.deletes]
        refused = [rejection for rejection in deleted if rejection is not None]
        for manifest in writes.prerequisites:
            if rejection := await self._attempt(
                about, "Applied", manifest.reference, self._apply(about.key, manifest, observation)
            ):
                return Outcome((*refused, rejection))
        for manifest in writes.creates:
            try:
                if rejection := await self._attempt(about, "Created", manifest.reference, self._create(manifest)):
                    return Outcome((*refused, rejection))
            except _InTheWayError:
                return Outcome(tuple(refused), foreign=(manifest.reference,))
        for manifest in writes.applies:
            if rejection := await self._attempt(
                about, "Applied", manifest.reference, self._apply(about.key, manifest, observation)
            ):
                return Outcome((*refused, rejection))
        return Outcome(tuple(refused), conceded=self._caches.concessions(about.key) != observation.concessions)

    async def patch(self, patch: Patch) -> None:
        """Merge a patch into an object.

        Raises:
            ApiError: not taken.
        """
        self._caches.write_through(await self._cluster.patch(patch.reference, patch.body))

    async def _delete(self, reference: Reference) -> None:
        await self._cluster.delete(reference)
        self._caches.forget_deleted(reference)

    async def _attempt(
        self, about: About, action: str, reference: Reference, write: Awaitable[None]
    ) -> Rejection | None:
        """Make a write; returns what the API server answers where it calls it forbidden or invalid."""
        namespace, name = about.key
        # Each a field of a line in JSON, by which logs are searched.
        fields = {"namespace": namespace, "trtmodel": name, "generation": about.generation}
        fields |= {"kind": reference.kind, "object": reference.name}
        try:
            await write
        except ApiError as error:
            self._metrics.refused(reference.kind, error.status)
            refused = {"action": "Refused", "code": error.status} | fields
            logger.warning("%s/%s: %s %s was refused", namespace, name, reference.kind, reference.name, extra=refused)
            if error.status not in (400, 403, 422):
                raise WriteFailedError(reference, error) from error
            return Rejection(reference, error.message, final=error.status != 403)
        wrote = {"action": action} | fields
        logger.info("%s/%s: %s %s %s", namespace, name, action, reference.kind, reference.name, extra=wrote)
        return None

    async def _apply(self, key: Key, manifest: Manifest, observation: Observation) -> None:
        # Over our own object we force: the spec is the source. A new name is taken without force, so that an object
        # which appeared in this very moment is not overwritten.
        force = observation.child(manifest.kind, manifest.name) is not None
        answer = await self._cluster.apply(manifest, force=force)
        self._caches.concede(key, manifest.kind, manifest.name, concession(manifest, answer))
        self._caches.write_through(answer)

    async def _create(self, manifest: Manifest) -> None:
        """Create an object.

        Raises:
            _InTheWayError: its name is taken by one that is none of ours, or cannot be read.
            ApiError: not taken; with status 409 where we have it now, or it has gone: another look tells.
        """
        try:
            self._caches.write_through(await self._cluster.create(manifest))
        except ApiError as error:
            if error.status != 409:
                raise
            live = await self._cluster.get(manifest.reference)
            if live is not None and not (is_meant(manifest, live) and self._caches.write_through(live)):
                raise _InTheWayError from error
            raise


class _InTheWayError(Exception):
    """An object that is not ours has the name of one that we make."""
