"""What becomes of a plan when the API server does not take a part of it."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tftrt_operator.controller.cluster import ApiError, Cluster
from tftrt_operator.controller.metrics import Metrics
from tftrt_operator.controller.worker import Workers
from tftrt_operator.domain.manifests.engine_record import engine_record
from tftrt_operator.domain.plan import plan
from tftrt_operator.domain.stages.deletion import FINALIZER
from tftrt_operator.domain.step import Writes

from . import builders
from .builders import CATALOGUE

KEY = ("default", "resnet50")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Refusing:
    """An API server that takes what it is told to take, and keeps it."""

    def __init__(self) -> None:
        self.refuses: dict[str, ApiError] = {}
        self.events: list[str] = []
        self.questions: list[str] = []
        self.statuses: list[dict[str, Any]] = []
        self.body: dict[str, Any] = {
            "kind": "TRTModel",
            "metadata": {
                "name": "resnet50",
                "namespace": "default",
                "uid": "uid-1",
                "generation": 1,
                "resourceVersion": "1",
            },
            "spec": {"source": {"uri": "pvc://models/resnet50"}},
        }

    def _answer(self, what: str) -> None:
        if what in self.refuses:
            raise self.refuses[what]

    async def get(self, reference: Any) -> dict[str, Any] | None:
        self.questions.append(reference.kind)
        return self.body if reference.kind == "TRTModel" else None

    async def metadata(self, reference: Any) -> dict[str, Any] | None:
        return await self.get(reference)

    async def create(self, manifest: Any) -> dict[str, Any]:
        self._answer(manifest.kind)
        metadata = {"uid": "uid-job", "resourceVersion": "2", "creationTimestamp": "2026-01-01T00:00:00Z"}
        return {**manifest.body, "metadata": {**manifest.body["metadata"], **metadata}}

    async def apply(self, manifest: Any, *, force: bool) -> dict[str, Any]:
        assert not force, "there was nothing of ours"
        self._answer(manifest.kind)
        return applied(manifest, 2)

    async def patch(self, reference: Any, body: dict[str, Any]) -> dict[str, Any]:
        self.questions.append(f"patch {reference.kind}")
        return {**self.body, "metadata": {**self.body["metadata"], **body["metadata"], "resourceVersion": "99"}}

    async def apply_status(self, _reference: Any, status: dict[str, Any]) -> dict[str, Any]:
        self._answer("status")
        self.statuses.append(status)
        version = str(int(self.body["metadata"]["resourceVersion"]) + 1)
        self.body = {**self.body, "metadata": {**self.body["metadata"], "resourceVersion": version}, "status": status}
        return self.body

    async def record_event(self, body: dict[str, Any]) -> None:
        self._answer("event")
        self.events.append(body["reason"])


@pytest.fixture
def cluster() -> Refusing:
    return Refusing()


@pytest.fixture
def workers(cluster: Refusing) -> Workers:
    made = Workers(cast("Cluster", cluster), CATALOGUE, Metrics())
    made.caches.see_model(cluster.body)
    return made


def reasons(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["reason"] for condition in status["conditions"]}


def seen(cluster: Refusing, workers: Workers) -> list[dict[str, Any]]:
    """Have something been said of the model before; returns the statuses until now."""
    version = str(int(cluster.body["metadata"]["resourceVersion"]) + 1)
    cluster.body = {
        **cluster.body,
        "metadata": cluster.body["metadata"] | {"resourceVersion": version},
        "status": {"observedGeneration": 1},
    }
    workers.caches.see_model(cluster.body)
    return list(cluster.statuses)


async def test_of_a_model_of_which_nothing_was_said_yet_the_first_failure_is_told(
    cluster: Refusing, workers: Workers
) -> None:
    cluster.refuses["Job"] = ApiError(500, "InternalError", "failed calling webhook policy.example")
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "WriteFailed"


async def test_an_event_that_is_forbidden_waits_for_the_next_look(cluster: Refusing, workers: Workers) -> None:
    cluster.refuses["event"] = ApiError(403, "Forbidden", "the namespace is being terminated")
    cluster.refuses["Job"] = ApiError(403, "Forbidden", "exceeded quota")
    await workers.work_on(KEY)
    assert (cluster.events, workers.queue._failures) == ([], {})
    del cluster.refuses["event"]
    await workers.work_on(KEY)
    assert cluster.events == ["WriteForbidden"]


@pytest.mark.parametrize("code", [0, 413, 429, 500, 503])
async def test_a_write_that_fails_twice_is_told_in_the_servers_words(
    cluster: Refusing, workers: Workers, code: int
) -> None:
    cluster.refuses["Job"] = ApiError(code, "InternalError", "failed calling webhook policy.example")
    before = seen(cluster, workers)
    await workers.work_on(KEY)
    assert cluster.statuses == before, "once may be chance"
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1]) == {
        "Ready": "WriteFailed",
        "Reconciling": "WriteFailed",
        "Converted": "WriteFailed",
        "Available": "NotDeployed",
    }
    assert "failed calling webhook policy.example" in cluster.statuses[-1]["conditions"][0]["message"]
    del cluster.refuses["Job"]
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "ConversionPending"


async def test_a_conflict_is_told_later_for_a_watch_may_lag(cluster: Refusing, workers: Workers) -> None:
    cluster.refuses["Job"] = ApiError(409, "Conflict", "the object has been modified")
    before = seen(cluster, workers)
    for _ in range(4):
        await workers.work_on(KEY)
    assert cluster.statuses == before
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "WriteFailed"


async def test_an_event_that_failed_does_not_make_the_next_write_the_second_that_fails(
    cluster: Refusing, workers: Workers
) -> None:
    seen(cluster, workers)
    cluster.refuses["event"] = ApiError(503, "", "busy")
    await workers.work_on(KEY)  # creates the Job, and cannot say so
    workers.caches._jobs[0]._remove("uid-job")
    cluster.refuses["Job"] = ApiError(503, "", "busy")
    before = list(cluster.statuses)
    await workers.work_on(KEY)
    assert cluster.statuses == before


async def test_an_event_that_cannot_be_written_is_written_later(cluster: Refusing, workers: Workers) -> None:
    cluster.refuses["event"] = ApiError(503, "", "busy")
    cluster.refuses["Job"] = ApiError(403, "Forbidden", "exceeded quota")
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "WriteForbidden"
    assert cluster.events == []
    del cluster.refuses["event"]
    await workers.work_on(KEY)
    assert cluster.events == ["WriteForbidden"]


@pytest.mark.parametrize("others", [0, 300])
async def test_a_deletion_asks_as_much_in_a_namespace_of_many_models_as_in_one_of_few(
    cluster: Refusing, workers: Workers, others: int
) -> None:
    for number in range(others):
        metadata = cluster.body["metadata"] | {"name": f"other-{number}", "uid": f"uid-other-{number}"}
        workers.caches.see_model({**cluster.body, "metadata": metadata})
    deleted = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER], "resourceVersion": "7"}
    workers.caches.see_model(
        {
            **cluster.body,
            "metadata": cluster.body["metadata"] | deleted,
            "spec": cluster.body["spec"] | {"artifacts": {"deletionPolicy": "Delete"}},
        }
    )
    await workers.work_on(KEY)
    assert cluster.questions == ["Namespace", "patch TRTModel"]


async def test_no_job_is_made_where_its_network_policy_is_refused(cluster: Refusing, workers: Workers) -> None:
    cluster.refuses["NetworkPolicy"] = ApiError(403, "Forbidden", "exceeded quota")
    cluster.refuses["Job"] = ApiError(500, "InternalError", "it was asked for")
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "WriteForbidden"


async def test_a_fault_of_the_operator_ends_in_the_models_status_and_is_tried_again(
    cluster: Refusing, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("Invalid IPv6 URL" + " and so on" * 1000)

    available = {"type": "Available", "status": "True", "reason": "ReplicasAvailable"}
    cluster.body["status"] = {"conditions": [available | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    cluster.body["metadata"]["resourceVersion"] = "2"
    workers.caches.see_model(cluster.body)
    monkeypatch.setattr("tftrt_operator.controller.reconciler.plan", fail)
    for _ in range(2):
        await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1]) == {
        "Ready": "InternalError",
        "Reconciling": "InternalError",
        "Available": "ReplicasAvailable",
    }
    message = cluster.statuses[-1]["conditions"][0]["message"]
    assert "“ValueError: Invalid IPv6 URL and so on" in message
    assert len(message) < 1500
    assert cluster.questions == [], "nothing else is written, nor asked for"
    assert (len(cluster.statuses), cluster.events) == (1, ["InternalError"]), "the same news is told once"
    assert workers.queue._failures[KEY] == 2

    monkeypatch.undo()
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "ConversionPending"


async def test_a_fault_that_cannot_be_told_is_told_later(
    cluster: Refusing, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("engine")

    monkeypatch.setattr("tftrt_operator.controller.reconciler.plan", fail)
    cluster.refuses["status"] = ApiError(500, "InternalError", "etcdserver: request timed out")
    await workers.work_on(KEY)
    assert cluster.statuses == []
    del cluster.refuses["status"]
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "InternalError"


async def test_what_is_written_is_logged_by_name(
    cluster: Refusing, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        await workers.work_on(KEY)
    assert any(line.startswith("default/resnet50: Created Job resnet50-") for line in caplog.messages)
    (line,) = (record for record in caplog.records if getattr(record, "kind", "") == "Job")
    told = {"action": "Created", "namespace": "default", "trtmodel": "resnet50", "generation": 1}
    assert told.items() <= vars(line).items()


def applied(manifest: Any, version: int) -> dict[str, Any]:
    """What a webhook makes of a Deployment, and the API server of everything."""
    metadata = {"uid": f"uid-{manifest.kind}", "resourceVersion": f"{version}", "generation": 1}
    body: dict[str, Any] = copy.deepcopy({**manifest.body, "metadata": {**manifest.body["metadata"], **metadata}})
    if manifest.kind == "Deployment":
        body["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/converter:1"
        done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        body["status"] = {"observedGeneration": 1, "conditions": [done], **counts}
    return body


def converted(workers: Workers) -> Writes:
    """Have the model's record seen; returns the writes that come of it."""
    model = workers.caches.model(KEY)
    assert model is not None
    record = builders.engine_record(model)
    config_map = engine_record(model, record, [model.owner_reference(controller=False)])
    workers.caches._records[0]._upsert(
        {
            **config_map.body,
            "metadata": {
                **config_map.body["metadata"],
                "uid": "uid-record",
                "resourceVersion": "3",
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
        }
    )
    observation = workers.caches.observation(model, builders.target(model))
    return plan(model, CATALOGUE, observation, NOW).writes


async def test_no_server_stands_where_its_network_policy_is_refused(cluster: Refusing, workers: Workers) -> None:
    converted(workers)
    cluster.refuses["NetworkPolicy"] = ApiError(403, "Forbidden", "exceeded quota")
    for kind in ("Deployment", "Service"):
        cluster.refuses[kind] = ApiError(500, "InternalError", "it was asked for")
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "WriteForbidden"


async def test_an_operator_that_has_just_started_applies_once_over_what_a_webhook_changed_and_does_not_lower_ready(
    cluster: Refusing, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = converted(workers)
    manifests = (*writes.prerequisites, *writes.applies)
    for manifest in manifests:  # what an earlier process applied
        informers = [informer for informer in workers.caches.informers if informer.kind == manifest.kind]
        informers[0]._upsert(applied(manifest, 5))
    applies: list[str] = []

    async def apply(manifest: Any, *, force: bool) -> dict[str, Any]:
        applies.append(manifest.kind)
        return applied(manifest, 5)  # it changes nothing

    monkeypatch.setattr(cluster, "apply", apply, raising=False)
    await workers.work_on(KEY)
    await workers.work_on(KEY)
    assert applies == ["Deployment"]
    assert [reasons(status)["Ready"] for status in cluster.statuses] == ["Serving"]


async def test_three_twins_and_a_refusal_between_come_to_one_job(
    cluster: Refusing, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is refused by a quota while the second waits for it; the third comes while the second is at work."""
    names = ("a", "b", "c")
    bodies = {
        name: {**cluster.body, "metadata": cluster.body["metadata"] | {"name": name, "uid": f"uid-{name}"}}
        for name in names
    }
    for body in bodies.values():
        workers.caches.see_model(body)
    asked: list[str] = []
    created: list[str] = []
    go_on = {name: asyncio.Event() for name in names}

    async def create(manifest: Any) -> dict[str, Any]:
        owner = manifest.body["metadata"]["ownerReferences"][0]["name"]
        asked.append(owner)
        await go_on[owner].wait()
        if owner == "a":
            raise ApiError(403, "Forbidden", "exceeded quota")
        created.append(owner)
        metadata = {"uid": f"uid-job-{owner}", "resourceVersion": "5"}
        metadata["creationTimestamp"] = datetime.now(UTC).isoformat()  # one of long ago would not be waited for
        return {**manifest.body, "metadata": {**manifest.body["metadata"], **metadata}}

    async def get(reference: Any) -> dict[str, Any] | None:
        return bodies[reference.name] if reference.kind == "TRTModel" else None

    async def apply_status(reference: Any, status: dict[str, Any]) -> dict[str, Any]:
        return {**bodies[reference.name], "status": status}

    monkeypatch.setattr(cluster, "create", create)
    monkeypatch.setattr(cluster, "get", get)
    monkeypatch.setattr(cluster, "apply_status", apply_status)
    first = asyncio.create_task(workers.work_on(("default", "a")))
    second = asyncio.create_task(workers.work_on(("default", "b")))
    async with asyncio.timeout(20):
        while asked != ["a"]:
            await asyncio.sleep(0)
        go_on["a"].set()
        await first
        third = asyncio.create_task(workers.work_on(("default", "c")))
        while asked != ["a", "b"]:
            await asyncio.sleep(0)
        for _ in range(100):  # the third has had every chance
            await asyncio.sleep(0)
        assert asked == ["a", "b"]
        go_on["b"].set()
        go_on["c"].set()
        await asyncio.gather(second, third)
    assert created == ["b"]
