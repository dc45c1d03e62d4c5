"""What becomes of a plan when the API server does not take a part of it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tftrt_operator.controller.cluster import ApiError, Cluster
from tftrt_operator.controller.worker import Workers

from .builders import CATALOGUE

KEY = ("default", "resnet50")


class Refusing:
    """An API server that takes what it is told to take, and keeps it."""

    def __init__(self) -> None:
        self.refuses: dict[str, ApiError] = {}
        self.events: list[str] = []
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
        return self.body if reference.kind == "TRTModel" else None

    async def create(self, manifest: Any) -> dict[str, Any]:
        self._answer(manifest.kind)
        metadata = {"uid": "uid-job", "resourceVersion": "2", "creationTimestamp": "2026-01-01T00:00:00Z"}
        return {**manifest.body, "metadata": {**manifest.body["metadata"], **metadata}}

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
    made = Workers(cast("Cluster", cluster), CATALOGUE)
    made.caches.see_model(cluster.body)
    return made


def reasons(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["reason"] for condition in status["conditions"]}


@pytest.mark.parametrize("code", [0, 413, 429, 500, 503])
async def test_a_write_that_fails_twice_is_told_in_the_servers_words(
    cluster: Refusing, workers: Workers, code: int
) -> None:
    cluster.refuses["Job"] = ApiError(code, "InternalError", "failed calling webhook policy.example")
    await workers.work_on(KEY)
    assert cluster.statuses == [], "once may be chance"
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
    for _ in range(4):
        await workers.work_on(KEY)
    assert cluster.statuses == []
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "WriteFailed"


async def test_an_event_that_failed_does_not_make_the_next_write_the_second_that_fails(
    cluster: Refusing, workers: Workers
) -> None:
    cluster.refuses["event"] = cluster.refuses["Job"] = ApiError(503, "", "busy")
    await workers.work_on(KEY)
    assert cluster.statuses == []


async def test_an_event_that_cannot_be_written_is_written_later(cluster: Refusing, workers: Workers) -> None:
    cluster.refuses["event"] = ApiError(503, "", "busy")
    await workers.work_on(KEY)
    assert reasons(cluster.statuses[-1])["Ready"] == "ConversionPending"
    assert cluster.events == []
    del cluster.refuses["event"]
    await workers.work_on(KEY)
    assert cluster.events == ["ConversionPending"]
