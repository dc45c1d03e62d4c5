"""Which of several replicas acts: the one that holds a Lease (coordination.k8s.io/v1).

After client-go's leaderelection, and stricter where a stalled process or a slow API server could have two of them
write: every request has a time-out, all that is measured is measured by this process's own clock, and a write may
neither begin nor go on after `writes_end`, which is before anybody else can hold the Lease.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..domain.observation import Reference
from .cluster import ApiError, Cluster

logger = logging.getLogger(__name__)

T = TypeVar("T")
LEASE_SECONDS = 10
"""After which, without a sign of the holder, another replica takes the Lease."""
RENEW_SECONDS = 6.0
"""Without a renewal for so long, a holder is none any more. What is left of the Lease is for writes on their way."""
RETRY_SECONDS = 2.0
ATTEMPT_SECONDS = 3.0
"""Of one look at the Lease and of one write of it."""
LONGEST_LEASE_SECONDS = 60
"""What another release may have written into it; more is a mistake, or somebody's who wants nobody to act."""


class LeadershipLostError(Exception):
    """Another replica has acted since. What this one knows and has begun is not to be relied on."""


@dataclass(frozen=True, slots=True)
class Held:
    """A Lease as another one holds it."""

    holder: str
    renewals: str
    """The object's resource version: it changes with each renewal, whatever the clocks of the two machines say."""
    seconds: float


class Leadership:
    """One replica's part in the election.

    Args:
        lease: the Lease's namespace and name; None where there is no other replica, and this one acts at once.
        identity: of this process, and no other that ever was.
    """

    def __init__(
        self,
        cluster: Cluster,
        lease: tuple[str, str] | None,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._reference = None if lease is None else Reference("Lease", *lease)
        self._identity = identity
        self._clock = clock
        self._seen: Held | None = None
        self._seen_since = 0.0
        self._renewed = -math.inf
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why nobody may be acting: the API server's words on the Lease, where this one does not hold it."""
        return "" if self._clock() < self.writes_end else self._trouble

    @property
    def writes_end(self) -> float:
        """Until when, by the monotonic clock, this process may write."""
        return math.inf if self._reference is None else self._renewed + RENEW_SECONDS

    @property
    def holder(self) -> str | None:
        """Who else holds the Lease, as far as is known."""
        return None if self._seen is None else self._seen.holder

    async def gain(self) -> None:
        """Wait until this replica is the one that acts."""
        if self._reference is None:
            return
        while not await self._attempt(self._reference):
            free_in = RETRY_SECONDS
            if self._seen is not None:
                free_in = max(0.1, self._seen_since + self._seen.seconds - self._clock())
            await asyncio.sleep(min(free_in, RETRY_SECONDS))
        logger.info("%s holds the Lease %s/%s", self._identity, self._reference.namespace, self._reference.name)

    async def keep(self) -> None:
        """Renew the Lease for ever. Where that cannot be done in time, nothing is written until it is done again.

        Raises:
            LeadershipLostError: somebody else has had the Lease since.
        """
        if self._reference is None:
            await asyncio.Event().wait()
            return
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if not await self._attempt(self._reference, already_ours=True) and self._seen is not None:
                now = self._seen.holder or "nobody"
                raise LeadershipLostError(f"the Lease {self._reference.name} is not ours any more: {now} holds it")

    async def give_up(self) -> None:
        """Let another replica have the Lease at once. Nothing may be written any more."""
        if self._reference is None or self._clock() >= self.writes_end:
            return
        self._renewed = -math.inf
        try:
            live = await self._within(self._cluster.get(self._reference))
            if live is not None and (live.get("spec") or {}).get("holderIdentity") == self._identity:
                await self._within(self._write(live, {"holderIdentity": "", "leaseDurationSeconds": 1}))
        except ApiError as error:
            logger.warning("the Lease was not given up, and is free in %d s: %s", LEASE_SECONDS, error)

    async def _attempt(self, reference: Reference, *, already_ours: bool = False) -> bool:
        """Take the Lease, or renew it where it is `already_ours`, if that can be done now; whether it was."""
        began = self._clock()
        try:
            live = await self._within(self._cluster.get(reference))
            if live is None:
                await self._within(self._create(reference))
            elif self._may_take(live, already_ours):
                await self._within(self._renew(live))
            else:
                self._trouble = ""
                return False
        except ApiError as error:
            # 409: another replica was quicker, as the next look shows.
            level = logging.DEBUG if error.status == 409 else logging.WARNING
            logger.log(level, "the Lease %s/%s: %s", reference.namespace, reference.name, error)
            self._trouble = "" if error.status == 409 else f"the Lease {reference.namespace}/{reference.name}: {error}"
            return False
        self._trouble = ""
        self._renewed = began  # and not when the answer came: others count from the write at the earliest
        self._seen = None
        return True

    def _may_take(self, live: dict[str, Any], already_ours: bool) -> bool:
        """Whether the Lease is ours, or nobody's, or was not renewed for as long as its holder promised."""
        held = _held(live)
        if held.holder == self._identity:
            return True
        if self._seen != held:
            self._seen, self._seen_since = held, self._clock()
        if already_ours:
            return False
        return not held.holder or self._clock() - self._seen_since >= held.seconds

    async def _create(self, reference: Reference) -> None:
        metadata = {"namespace": reference.namespace, "name": reference.name}
        spec = {**self._spec(), "acquireTime": _now(), "leaseTransitions": 0}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        await self._cluster.create_lease(body)

    async def _renew(self, live: dict[str, Any]) -> None:
        spec = live.get("spec") or {}
        changes = self._spec()
        if spec.get("holderIdentity") != self._identity:
            changes |= {"acquireTime": _now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        await self._write(live, changes)

    def _spec(self) -> dict[str, Any]:
        return {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now()}

    async def _write(self, live: dict[str, Any], spec: dict[str, Any]) -> None:
        """Change what was read, and nothing that came since: its resource version goes with it."""
        await self._cluster.replace_lease({**live, "spec": {**(live.get("spec") or {}), **spec}})

    async def _within(self, request: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await request
        except TimeoutError as error:
            raise ApiError(0, "Timeout", f"no answer within {ATTEMPT_SECONDS:g} s") from error


def _held(live: dict[str, Any]) -> Held:
    spec = live.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if not isinstance(seconds, int) or not 0 < seconds <= LONGEST_LEASE_SECONDS:
        seconds = LEASE_SECONDS
    return Held(str(spec.get("holderIdentity") or ""), str(live["metadata"]["resourceVersion"]), float(seconds))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # MicroTime
