"""What exists, as the domain sees it: parsed once from the API server's objects by `controller/parse.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..api.trtmodel import OwnerReference
from .record import EngineRecord


@dataclass(frozen=True, slots=True)
class Reference:
    """Which object: enough to address it."""

    kind: str
    namespace: str
    name: str
    uid: str | None = None


class JobState(StrEnum):
    """Where a Job is in its life."""

    LIVE = "Live"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A Job of ours."""

    name: str
    uid: str
    resource_version: str
    engine: str
    evidence: str
    fingerprint: str
    component: str
    owners: tuple[OwnerReference, ...]
    state: JobState
    instance: str = ""
    """The name of the model that it was made for; others may wait for it."""
    failed_attempts: int = 0
    suspended: bool = False
    queue: str = ""
    """Kueue's LocalQueue, if any."""
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    has_deadline: bool = False
    """Whether it was told to end: conversion Jobs have no deadline as a whole before."""
    deleting: bool = False
    created_at: str = ""
    store: str = ""
    """Where a conversion publishes."""
    secret_name: str = ""
    """The Secret that it publishes with, if any."""
    deletes: tuple[str, ...] = ()
    """The engines whose artifacts it deletes, each as `EngineKey.engine`."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How a container ended."""

    container: str
    exit_code: int
    reason: str
    message: str
    finished_at: str


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """A Pod of one of our Jobs or Deployments."""

    name: str
    created_at: str
    controller: tuple[str, str]
    """Kind and UID of what runs it: a Job, or a Deployment's ReplicaSet; anyone may give a pod labels."""
    instance: str
    component: str
    fingerprint: str
    phase: str
    template: str = ""
    """The digest of the pod template that an inference pod is of."""
    memory_fraction: str | None = None
    """The share of device memory that an inference pod was told to take."""
    ready: bool = False
    """Whether it gets requests: a pod that is being deleted does not."""
    reason: str = ""
    """Why the pod as a whole has failed, where it was not a container of its own accord: Evicted, for one."""
    message: str = ""
    unschedulable: str = ""
    waiting: str = ""
    started: bool = False
    """Whether any of its containers has ever run."""
    publishing: bool = False
    """Whether its container that writes to the store has ever run."""
    deleting: bool = False
    terminations: tuple[Termination, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedRecord:
    """An engine record and who uses it."""

    name: str
    resource_version: str
    owners: tuple[OwnerReference, ...]
    record: EngineRecord
    uid: str | None = None
    created_at: str = ""


class ClaimAccess(StrEnum):
    """What TRTModels may do with a claim. The values are those of its label `tftrt.dev/access`."""

    NONE = "None"
    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"


@dataclass(frozen=True, slots=True)
class ObservedClaim:
    """A PersistentVolumeClaim whose owner says what may be done with it."""

    name: str
    access: ClaimAccess


@dataclass(frozen=True, slots=True)
class ObservedCondition:
    """A condition in another object's status."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ObservedChild:
    """A live object that we apply: Deployment, Service, NetworkPolicy and so on."""

    kind: str
    name: str
    uid: str
    resource_version: str
    owners: tuple[OwnerReference, ...]
    body: Mapping[str, Any]
    deleting: bool = False
    scaling_active: ObservedCondition | None = None
    """What an autoscaler says of itself: whether it knows how many there should be, and can set that number."""


@dataclass(frozen=True, slots=True)
class Concession:
    """What the API server answered to an apply where that is not what was applied: a mutating webhook changed it."""

    manifest: str
    """A digest of what was applied."""
    deviations: frozenset[tuple[str, str]]
    """Each the path of a field, and a digest of its value."""


@dataclass(frozen=True, slots=True)
class ObservedDeployment:
    """The live Deployment of a model: the object, and what its controller says of it."""

    child: ObservedChild
    fingerprint: str
    memory_fraction: str | None
    generation: int
    observed_generation: int
    replicas: int
    current_replicas: int
    updated_replicas: int
    ready_replicas: int
    available_replicas: int
    progressing_reason: str = ""
    progressing_message: str = ""
    replica_failure: str = ""
    """Why its pods cannot be created: a quota, a policy or a webhook that refuses them."""
    replicas_managers: tuple[str, ...] = ()
    retry: str = ""
    """The value of the retry annotation that was heeded last."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A write that the API server refused; `final` where the same write can never succeed.

    `failed` where it was no refusal of what was asked: a webhook that is down, a timeout, a server in trouble.
    """

    reference: Reference
    message: str
    final: bool
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that exists for one TRTModel, and for the engine that its spec asks for."""

    jobs: tuple[ObservedJob, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    records: tuple[ObservedRecord, ...] = ()
    deployment: ObservedDeployment | None = None
    children: tuple[ObservedChild, ...] = ()
    claims: tuple[ObservedClaim, ...] = ()
    """Of those that the model names, the ones that have the label."""
    concessions: Mapping[tuple[str, str], Concession] = field(default_factory=dict)
    """By kind and name of our child, where a webhook changed what we applied."""
    foreign: tuple[Reference, ...] = ()
    """Objects of our names that belong to somebody else."""
    leftovers: tuple[Reference, ...] = ()
    """Objects of our names that a deleted namesake has left, and that the garbage collector is about to delete."""
    rejections: tuple[Rejection, ...] = ()
    live_models: frozenset[str] = frozenset()
    """UIDs of the namespace's TRTModels that are not being deleted; looked up only while this one is."""
    namespace_terminating: bool = False

    def record(self, name: str) -> ObservedRecord | None:
        """Return the record of that name, or None."""
        return next((record for record in self.records if record.name == name), None)

    def claim_access(self, name: str) -> ClaimAccess | None:
        """Return what the label of the claim of that name allows, or None where it has none."""
        return next((claim.access for claim in self.claims if claim.name == name), None)

    def child(self, kind: str, name: str | None = None) -> ObservedChild | None:
        """Return our live object of that kind, or None. Of kinds that a model has two of, the name says which."""
        return next((child for child in self.children if child.kind == kind and name in (None, child.name)), None)
