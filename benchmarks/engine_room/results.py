"""What a run comes to: frozen, and as it stands in the file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from .processes import Memory


@dataclass(frozen=True, slots=True)
class Phase:
    """Many models brought one step on, all at once; CPU in seconds from its begin to its end, by process."""

    models: int
    seconds: float
    driver_seconds: float
    """Until the driver's last write was answered."""
    cpu_seconds: Mapping[str, float]

    @property
    def models_per_second(self) -> float:
        """Its rate."""
        return round(self.models / self.seconds, 1)


@dataclass(frozen=True, slots=True)
class Delays:
    """From spec changes to the first writes, in milliseconds; by nearest rank."""

    changes: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Return them for these seconds."""
        ordered = sorted(seconds)

        def rank(share: float) -> float:
            return round(1000 * ordered[max(math.ceil(share * len(ordered)), 1) - 1], 1)

        return cls(len(ordered), rank(0.5), rank(0.99), rank(1.0))


@dataclass(frozen=True, slots=True)
class Start:
    """A start with all models Ready, until it is quiet."""

    seconds: float
    cpu_seconds: float
    requests: Mapping[str, int]
    writes: int
    memory: Memory


@dataclass(frozen=True, slots=True)
class Idle:
    """Minutes in which nothing changes; requests without renewals of Leases and watches that are opened again."""

    minutes: float
    requests: Mapping[str, int]
    watches: int
    cpu_seconds: float

    @property
    def requests_per_minute(self) -> float:
        """Of those that there should be none of."""
        return round(sum(self.requests.values()) / self.minutes, 2)


@dataclass(frozen=True, slots=True)
class Run:
    """A build at a size; what has not been measured yet, or never was, is None."""

    build: str
    commit: str
    models: int
    namespaces: int
    others: int
    load_before: float
    """The machine's load of the minute before, which is none of ours."""
    jobs: Phase | None = None
    """Applied -> all Jobs created."""
    servers: Phase | None = None
    """All Jobs done -> all Deployments, Services and policies created."""
    bare_jobs: Phase | None = None
    """The same writes as one model's in the first phase by a client that decides nothing, once all models are there."""
    bare_servers: Phase | None = None
    """The same in the second phase."""
    bare_writes_a_model: int | None = None
    """In the second phase, as in `writes_a_model_in_second_phase`."""
    writes_a_model_in_second_phase: float | None = None
    cpu_milliseconds_a_model: float | None = None
    """From apply to Ready."""
    cpu_milliseconds_a_model_in_second_phase: float | None = None
    """From the first Job that is done until the operator writes nothing more; rollouts are played after that."""
    writes_a_model: Mapping[str, float] | None = None
    """From apply to Ready, by verb and kind."""
    reads_a_model: Mapping[str, float] | None = None
    """The same of gets and lists."""
    memory: Memory | None = None
    """With all models Ready."""
    start: Start | None = None
    idle: Idle | None = None
    change_when_idle: Delays | None = None
    change_while_others_convert: Delays | None = None
    """Of the changes that came before the last of the others was Ready."""
    change_requests_while_others_convert: Delays | None = None
    """Of the same changes: until each was itself answered, which is no doing of the operator's."""
