"""From the API server's objects to the domain's observations: the one place where their JSON is read."""

import json
import re
from collections.abc import Mapping
from sys import intern
from typing import Any
from weakref import WeakValueDictionary

from pydantic import ValidationError

from ..api import GROUP, KIND
from ..api.trtmodel import RETRY_ANNOTATION, OwnerReference
from ..domain.claims import access_of
from ..domain.manifests import names
from ..domain.manifests.pods import ARTIFACTS_SECRET_VOLUME
from ..domain.observation import (
    JobState,
    ObservedChild,
    ObservedClaim,
    ObservedCondition,
    ObservedDeployment,
    ObservedJob,
    ObservedPod,
    ObservedRecord,
    Termination,
)
from ..domain.record import RECORD_KEY, misfit, parse_record
from .packed import Packed

Json = Mapping[str, Any]
_OWNERS: WeakValueDictionary[tuple[tuple[str, Any], ...], OwnerReference] = WeakValueDictionary()
_FRACTION = re.compile(r"0[.][0-9]{1,16}|1([.]0{1,16})?")


def why_unreadable(error: Exception) -> str:
    """Return what is wrong with an object, by field where that is known."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
    return f"{type(error).__name__}: {error}"


def labels_of(body: Json) -> Mapping[str, str]:
    """Return an object's labels."""
    return body["metadata"].get("labels") or {}


def owners_of(body: Json) -> tuple[OwnerReference, ...]:
    """Return the TRTModels that own an object, by whichever version of the API (docs/api-versions.md)."""
    references = body["metadata"].get("ownerReferences") or ()
    return tuple(_owner(item) for item in references if _is_trtmodel(item))


def _owner(reference: Json) -> OwnerReference:
    """Return an owner; all that a model owns has the same one."""
    key = tuple(sorted(reference.items()))
    if (known := _OWNERS.get(key)) is None:
        known = _OWNERS[key] = OwnerReference.model_validate(reference)
    return known


def controller_of(body: Json) -> tuple[str, str]:
    """Return kind and UID of the object that controls this one; both "" where none does."""
    references = body["metadata"].get("ownerReferences") or ()
    return next(
        ((intern(item["kind"]), intern(item["uid"])) for item in references if item.get("controller")), ("", "")
    )


def _is_trtmodel(reference: Json) -> bool:
    return bool(reference["kind"] == KIND and reference["apiVersion"].partition("/")[0] == GROUP)


# Names, UIDs and labels are interned: what belongs to one model has many of them in common.


def parse_job(body: Json) -> ObservedJob:
    """Parse a Job. It is over when its Complete or Failed condition is true, not when its pods are."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    true = _true_conditions(status)
    state: JobState = JobState.LIVE
    end: Json = {}
    if "Complete" in true:
        state, end = JobState.SUCCEEDED, true["Complete"]
    elif "Failed" in true:
        state, end = JobState.FAILED, true["Failed"]
    labels = labels_of(body)
    store, secret_name = _store(spec["template"])
    return ObservedJob(
        name=intern(metadata["name"]),
        uid=intern(metadata["uid"]),
        resource_version=metadata["resourceVersion"],
        engine=intern(labels.get(names.ENGINE, "")),
        evidence=intern(labels.get(names.EVIDENCE, "")),
        fingerprint=intern(labels.get(names.FINGERPRINT, "")),
        component=intern(labels.get(names.COMPONENT, "")),
        instance=intern(labels.get(names.INSTANCE, "")),
        owners=owners_of(body),
        state=state,
        failed_attempts=status.get("failed") or 0,
        suspended=bool(spec.get("suspend")),
        queue=labels.get(names.QUEUE, ""),
        reason=end.get("reason", ""),
        message=end.get("message", ""),
        started_at=status.get("startTime"),
        finished_at=end.get("lastTransitionTime"),
        has_deadline=spec.get("activeDeadlineSeconds") is not None,
        deleting="deletionTimestamp" in metadata,
        created_at=metadata["creationTimestamp"],
        deletes=engines_deleted(body),
        store=store,
        secret_name=secret_name,
    )


def _store(template: Json) -> tuple[str, str]:
    """Return the store that a Job's task names, and the Secret for it; "" for what is not there."""
    uri = (_task(template.get("metadata") or {}).get("artifacts") or {}).get("uri")
    volumes = template["spec"].get("volumes") or ()
    secret = next((volume.get("secret") or {} for volume in volumes if volume["name"] == ARTIFACTS_SECRET_VOLUME), {})
    return uri if isinstance(uri, str) else "", secret.get("secretName", "")


def _true_conditions(status: Json) -> dict[str, Json]:
    return {item["type"]: item for item in status.get("conditions") or () if item["status"] == "True"}


def engines_deleted(body: Json) -> tuple[str, ...]:
    """Return the engines whose artifacts a cleanup Job deletes."""
    listed = (body["metadata"].get("annotations") or {}).get(names.DELETES, "")
    return tuple(engine for engine in listed.split(",") if engine)


def parse_pod(body: Json) -> ObservedPod:
    """Parse a Pod: why it does not start, whether it answers, and how it and its containers ended."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = labels_of(body)
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return ObservedPod(
        name=intern(metadata["name"]),
        created_at=metadata["creationTimestamp"],
        controller=controller_of(body),
        instance=intern(labels.get(names.INSTANCE, "")),
        component=intern(labels.get(names.COMPONENT, "")),
        fingerprint=intern(labels.get(names.FINGERPRINT, "")),
        phase=intern(status.get("phase", "")),
        template=(metadata.get("annotations") or {}).get(names.TEMPLATE, ""),
        memory_fraction=_memory_fraction(metadata),
        ready="deletionTimestamp" not in metadata and "Ready" in _true_conditions(status),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        unschedulable=_unschedulable(status),
        started=any(_has_started(container) for container in containers),
        publishing=any(container["name"] == "publish" and _has_started(container) for container in containers),
        deleting="deletionTimestamp" in metadata,
        waiting=next((text for container in containers if (text := _waiting(container))), ""),
        terminations=tuple(end for container in containers if (end := _termination(container)) is not None),
    )


def _unschedulable(status: Json) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return str(condition.get("message", "Unschedulable"))
    return ""


def _waiting(container: Json) -> str:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in ("", "PodInitializing", "ContainerCreating"):
        return ""
    return f"container {container['name']}: {reason} {waiting.get('message', '')}".strip()


def _has_started(container: Json) -> bool:
    states = [container.get("state") or {}, container.get("lastState") or {}]
    return any("running" in state or "terminated" in state for state in states)


def _termination(container: Json) -> Termination | None:
    for state in ("state", "lastState"):
        ended = (container.get(state) or {}).get("terminated")
        if ended:
            return Termination(
                container=container["name"],
                exit_code=ended.get("exitCode", 0),
                reason=ended.get("reason", ""),
                message=ended.get("message", ""),
                finished_at=ended.get("finishedAt") or "",
            )
    return None


def parse_config_map(body: Json) -> ObservedRecord:
    """Parse an engine record.

    Raises:
        ValueError: it is none, or does not fit what it is called: anyone who may write ConfigMaps may have written it.
    """
    metadata = body["metadata"]
    record = parse_record((body.get("data") or {}).get(RECORD_KEY, "{}"))
    if why := misfit(record, metadata["namespace"], metadata["name"]):
        raise ValueError(why)
    return ObservedRecord(
        name=metadata["name"],
        resource_version=metadata["resourceVersion"],
        owners=owners_of(body),
        record=record,
        uid=metadata["uid"],
        created_at=metadata["creationTimestamp"],
    )


def parse_claim(body: Json) -> ObservedClaim:
    """Parse a PersistentVolumeClaim: what its owner lets TRTModels do with it."""
    return ObservedClaim(body["metadata"]["name"], access_of(labels_of(body)))


def parse_child(body: Json) -> ObservedChild:
    """Parse an object that we apply, less what the drift check has no use for."""
    metadata = body["metadata"]
    kept = {
        key: metadata[key]
        for key in ("name", "namespace", "labels", "annotations", "ownerReferences")
        if key in metadata
    }
    return ObservedChild(
        kind=body["kind"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owners=owners_of(body),
        body=Packed(
            {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": kept, "spec": body.get("spec") or {}}
        ),
        deleting="deletionTimestamp" in metadata,
        scaling_active=_scaling_active(body) if body["kind"] == "HorizontalPodAutoscaler" else None,
    )


def _scaling_active(body: Json) -> ObservedCondition | None:
    """Return what hinders an autoscaler, else that nothing does; None where it has not said yet."""
    told = {item["type"]: item for item in (body.get("status") or {}).get("conditions") or ()}
    told = {kind: told[kind] for kind in ("AbleToScale", "ScalingActive") if kind in told}
    hindrance = next((item for item in told.values() if item["status"] == "False"), told.get("ScalingActive"))
    if hindrance is None:
        return None
    return ObservedCondition(hindrance["status"], hindrance.get("reason", ""), hindrance.get("message", ""))


def parse_deployment(body: Json) -> ObservedDeployment:
    """Parse a Deployment with what its controller says of the rollout."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    progressing: Json = next((item for item in status.get("conditions") or () if item["type"] == "Progressing"), {})
    annotations = metadata.get("annotations") or {}
    replica_failure = _true_conditions(status).get("ReplicaFailure", {})
    return ObservedDeployment(
        child=parse_child(body),
        fingerprint=annotations.get(names.FINGERPRINT, ""),
        memory_fraction=_memory_fraction(spec["template"].get("metadata") or {}),
        generation=metadata.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        replicas=spec.get("replicas", 1),
        current_replicas=status.get("replicas", 0),
        updated_replicas=status.get("updatedReplicas", 0),
        ready_replicas=status.get("readyReplicas", 0),
        available_replicas=status.get("availableReplicas", 0),
        progressing_reason=progressing.get("reason", ""),
        progressing_message=progressing.get("message", ""),
        replica_failure=replica_failure.get("message", ""),
        replicas_managers=_replicas_managers(metadata),
        retry=annotations.get(RETRY_ANNOTATION, ""),
    )


def _memory_fraction(metadata: Json) -> str | None:
    """Return the share of device memory that a server's task names, or None: anyone may write the annotation."""
    fraction = _task(metadata).get("memoryFraction")
    return fraction if isinstance(fraction, str) and _FRACTION.fullmatch(fraction) else None


def _task(metadata: Json) -> Json:
    """Return the task that a pod's containers are told, or {}: anyone may write the annotation."""
    try:
        task = json.loads((metadata.get("annotations") or {}).get(names.SPEC_ANNOTATION, "{}"))
    except (ValueError, RecursionError):
        return {}
    return task if isinstance(task, dict) else {}


def _replicas_managers(metadata: Json) -> tuple[str, ...]:
    return tuple(
        entry.get("manager", "")
        for entry in metadata.get("managedFields") or ()
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    )
