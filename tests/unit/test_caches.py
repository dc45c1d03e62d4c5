"""Which news has a TRTModel looked at."""

from typing import Any, cast

import pytest

from tftrt_operator.api import GROUP, VERSION
from tftrt_operator.controller.caches import Caches, Key
from tftrt_operator.controller.cluster import Cluster
from tftrt_operator.controller.obstacles import FRESH_SECONDS
from tftrt_operator.domain.conditions import kept_status
from tftrt_operator.domain.observation import Reference
from tftrt_operator.domain.stages.deletion import FINALIZER
from tftrt_operator.domain.unreadable import release

from .builders import CATALOGUE

NO_CLUSTER = cast("Cluster", None)
KEY = ("default", "resnet50")
REFERENCE = Reference("TRTModel", *KEY, "uid-1")


def body(version: int, uid: str = "uid-1", **changes: Any) -> dict[str, Any]:
    metadata = {
        "name": "resnet50",
        "namespace": "default",
        "uid": uid,
        "generation": 1,
        "resourceVersion": f"{version}",
    }
    return {"metadata": metadata, "spec": {"source": {"uri": "pvc://models/resnet50"}}} | changes


def test_the_status_that_we_wrote_is_no_news_and_anybody_elses_is() -> None:
    looked_at: list[Key] = []
    observed = Caches(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(1))
    assert looked_at == [KEY]
    model = observed.model(KEY)
    assert model is not None
    ours = {"observedGeneration": 1, "fingerprint": "ab"}
    observed.expect_status(REFERENCE, ours)
    observed.see_model(body(2, status=ours))
    assert looked_at == [KEY]
    observed.see_model(body(3, status={"observedGeneration": 1, "fingerprint": "somebody else's"}))
    assert looked_at == [KEY] * 2


def test_a_change_that_comes_with_our_status_is_news() -> None:
    looked_at: list[Key] = []
    observed = Caches(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(1))
    model = observed.model(KEY)
    assert model is not None
    ours = {"observedGeneration": 1}
    observed.expect_status(REFERENCE, ours)
    changed = body(2, status=ours, spec={"source": {"uri": "pvc://models/other"}})
    observed.see_model(changed)
    assert looked_at == [KEY] * 2
    namesake = body(4, uid="uid-2", status=ours)
    observed.see_model(namesake)
    assert looked_at == [KEY] * 3
    observed.see_model(changed)  # each UID's events come in order, and no more than that
    observed.forget_model(KEY, "uid-1")
    found = observed.model(KEY)
    assert found is not None
    assert found.metadata.uid == "uid-2"


def owned(version: int, uid: str) -> dict[str, Any]:
    """A Service of the model's."""
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TRTModel", "name": KEY[1], "uid": uid, "controller": True}
    metadata = {"name": "resnet50", "namespace": KEY[0], "uid": f"of-{uid}", "resourceVersion": f"{version}"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata | {"ownerReferences": [owner], "labels": {}}}


@pytest.mark.parametrize(("owner", "is_asked_for"), [("uid-1", True), ("uid-of-a-namesake", False)])
def test_a_model_of_whose_own_something_has_gone_is_asked_for_before_anything_is_made_for_it(
    owner: str, is_asked_for: bool
) -> None:
    """It may have gone with its model, of which the watch has not told yet."""
    looked_at: list[Key] = []
    observed = Caches(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(1))
    (services,) = (informer for informer in observed.informers if informer.kind == "Service")
    services.write_through(owned(2, owner))
    assert observed.silent_seconds(KEY) < FRESH_SECONDS
    looked_at.clear()
    services.lose(f"of-{owner}")
    assert looked_at == [KEY]
    assert (observed.silent_seconds(KEY) > FRESH_SECONDS) == is_asked_for
    observed.see_model(body(3))
    assert observed.silent_seconds(KEY) < FRESH_SECONDS, "it is there"


def test_an_older_state_of_a_model_changes_nothing() -> None:
    looked_at: list[Key] = []
    observed = Caches(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(7))
    observed.see_model(body(6, spec={"source": {"uri": "pvc://models/older"}}))
    assert looked_at == [KEY]
    model = observed.model(KEY)
    assert model is not None
    assert model.spec.source.uri == "pvc://models/resnet50"


@pytest.mark.parametrize(
    "spec",
    [
        {"source": {"uri": "pvc://models/resnet50"}, "conversion": {"maxWorkspaceSize": "1e999999"}},
        {
            "source": {"uri": "pvc://models/resnet50"},
            "conversion": {"resources": {"requests": {"cpu": "1e9999999999"}}},
        },
        {},
        None,
    ],
)
def test_a_model_that_cannot_be_read_is_looked_at_once_and_told_so(spec: Any) -> None:
    looked_at: list[Key] = []
    observed = Caches(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(1))
    observed.see_model(body(2, spec=spec))
    observed.see_model(body(3, spec=spec))
    assert looked_at == [KEY] * 2
    assert observed.model(KEY) is None, "it is not acted on by what it was before"
    unreadable = observed.unreadable(KEY)
    assert unreadable is not None
    status = kept_status(unreadable.verdict, unreadable.status, unreadable.generation, "2026-01-01T00:00:00Z")
    told = {condition.type: (condition.status, condition.reason) for condition in status.conditions}
    assert told == {"Ready": ("False", "SpecUnreadable"), "Stalled": ("True", "SpecUnreadable")}
    assert "spec" in status.conditions[0].message
    observed.see_model(body(4))
    assert observed.unreadable(KEY) is None
    assert observed.model(KEY) is not None


def test_a_status_of_another_version_does_not_make_a_model_unreadable() -> None:
    observed = Caches(NO_CLUSTER, CATALOGUE, lambda _key: None)
    observed.see_model(body(1, status={"conversion": {"latency": {"newName": 1}}}))
    assert observed.model(KEY) is not None


def test_one_that_cannot_be_read_is_not_held_back_from_going() -> None:
    observed = Caches(NO_CLUSTER, CATALOGUE, lambda _key: None)
    gone = body(2, spec=None)
    gone["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["other/one", FINALIZER]}
    observed.see_model(gone)
    unreadable = observed.unreadable(KEY)
    assert unreadable is not None
    (patch,) = release(unreadable).patches
    assert patch.body == {"metadata": {"finalizers": ["other/one"], "resourceVersion": "2"}}
    observed.forget_model(KEY, "uid-1")
    assert observed.unreadable(KEY) is None


def test_an_answer_that_comes_after_the_news_that_a_model_is_gone_brings_it_not_back() -> None:
    looked_at: list[Key] = []
    observed = Caches(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(1))
    observed.forget_model(KEY, "uid-1")
    observed.write_through(body(2) | {"kind": "TRTModel"})
    assert observed.model(KEY) is None
    observed.see_model(body(1))
    assert observed.model(KEY) is not None, "a store that goes back to a backup may bring it back"


def test_an_older_state_that_cannot_be_read_does_not_hide_the_corrected_one() -> None:
    looked_at: list[Key] = []
    observed = Caches(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(20))
    observed.see_model(body(19, spec=None))
    assert observed.unreadable(KEY) is None
    assert observed.model(KEY) is not None
    assert looked_at == [KEY]
