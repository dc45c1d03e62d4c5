"""A step of a plan: writes to make, and where the model stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .manifest import Manifest
from .observation import Reference
from .verdict import Verdict


@dataclass(frozen=True, slots=True)
class Patch:
    """A JSON merge patch of an existing object."""

    reference: Reference
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Writes:
    """What to write, in this order: patches, deletes, prerequisites, creates, applies. Each is idempotent."""

    patches: tuple[Patch, ...] = ()
    deletes: tuple[Reference, ...] = ()
    prerequisites: tuple[Manifest, ...] = ()
    """Applied before anything is created, or applied that they have to be there for."""
    creates: tuple[Manifest, ...] = ()
    applies: tuple[Manifest, ...] = ()

    @property
    def are_seen_at_once(self) -> bool:
        """Whether there are any, and what they bring about is known as soon as they have been answered.

        What is deleted may take its time to go.
        """
        return not self.deletes and any((self.patches, self.prerequisites, self.creates, self.applies))

    def without_new(self) -> "Writes":
        """Return those of objects that are there already: what is left where nothing new may be built."""
        return Writes(patches=self.patches, deletes=self.deletes)

    def __add__(self, other: "Writes") -> "Writes":
        """Return both, one after the other."""
        return Writes(
            self.patches + other.patches,
            self.deletes + other.deletes,
            self.prerequisites + other.prerequisites,
            self.creates + other.creates,
            self.applies + other.applies,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one stage of a model's life."""

    verdict: Verdict
    writes: Writes = Writes()
    look_again_after: timedelta | None = None
    """Where time alone may change the outcome."""
