"""What is asked of the API server itself before something is made or deleted: the caches may not have it yet."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from ..api import KIND
from ..api.trtmodel import TRTModel
from ..domain.manifest import Manifest
from ..domain.observation import Observation, Reference
from .caches import Caches
from .cluster import ApiError, Cluster
from .ownership import left_by_namesake, owned_by

FRESH_SECONDS = 10.0
"""News of a model that is no older proves it to be there. What is made for one that has gone since goes with it."""


class ModelGoneError(Exception):
    """The model is gone, or another one has its name."""


class Obstacles:
    """Looks for what stands in the way of a plan."""

    def __init__(self, cluster: Cluster, caches: Caches) -> None:
        self._cluster = cluster
        self._caches = caches

    async def confirm(self, about: Reference) -> None:
        """Ask for a model once more before anything is created for it: after a cut watch it may be long gone.

        Raises:
            ModelGoneError: it is gone.
            ApiError: the API server could not say.
        """
        if self._caches.silent_seconds((about.namespace, about.name)) > FRESH_SECONDS:
            await self._ask_for(about)

    async def _ask_for(self, about: Reference) -> None:
        live = await self._cluster.metadata(about)
        if live is None or live["metadata"]["uid"] != about.uid:
            self._caches.forget_model((about.namespace, about.name), str(about.uid))
            raise ModelGoneError

    async def is_gone(self, about: Reference) -> bool:
        """Look whether a model is gone, and forget it if it is; False where the API server could not say."""
        try:
            await self._ask_for(about)
        except ModelGoneError:
            return True
        except ApiError:
            pass  # the next attempt looks again
        return False

    async def in_the_way(
        self, model: TRTModel, manifests: Sequence[Manifest]
    ) -> tuple[tuple[Reference, ...], tuple[Reference, ...]]:
        """Return the objects that exist under our names: somebody else's, and those of a deleted namesake."""
        live = await asyncio.gather(*(self._cluster.metadata(manifest.reference) for manifest in manifests))
        foreign: list[Reference] = []
        leftovers: list[Reference] = []
        for manifest, body in zip(manifests, live, strict=True):
            if body is not None and not owned_by(model, body):
                (leftovers if left_by_namesake(model, body) else foreign).append(manifest.reference)
        return tuple(foreign), tuple(leftovers)

    async def look_before_deletion(self, model: TRTModel, observation: Observation) -> Observation:
        """Return the observation with what else must be known before a deleted model's artifacts go."""
        terminating = await self._terminating(model)
        users = frozenset() if terminating else await self._live_users(model, observation)
        return replace(observation, namespace_terminating=terminating, live_models=users)

    async def _terminating(self, model: TRTModel) -> bool:
        namespace = model.metadata.namespace
        live = await self._cluster.metadata(Reference("Namespace", namespace, namespace))
        return live is None or live["metadata"].get("deletionTimestamp") is not None

    async def _live_users(self, model: TRTModel, observation: Observation) -> frozenset[str]:
        """Ask for the UIDs of the TRTModels that use what this one does, and are not being deleted.

        What we have seen may be less: just after a start, or where one cannot be read.
        """
        owners = [owner.name for record in observation.records for owner in record.owners]
        owners += [owner.name for job in observation.jobs for owner in job.owners]
        others = sorted(set(owners) - {model.metadata.name})
        namespace = model.metadata.namespace
        live = await asyncio.gather(*(self._cluster.metadata(Reference(KIND, namespace, name)) for name in others))
        return frozenset(
            body["metadata"]["uid"] for body in live if body is not None and "deletionTimestamp" not in body["metadata"]
        )
