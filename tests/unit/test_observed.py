"""Which news has a TRTModel looked at."""

from typing import Any, cast

from tftrt_operator.api.status import TRTModelStatus
from tftrt_operator.controller.cluster import Cluster
from tftrt_operator.controller.observed import Key, Observed

from .builders import CATALOGUE

NO_CLUSTER = cast("Cluster", None)
KEY = ("default", "resnet50")


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
    observed = Observed(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(1))
    assert looked_at == [KEY]
    model = observed.model(KEY)
    assert model is not None
    ours = {"observedGeneration": 1, "fingerprint": "ab"}
    observed.expect_status(model, TRTModelStatus.model_validate(ours))
    observed.see_model(body(2, status=ours))
    assert looked_at == [KEY]
    observed.see_model(body(3, status={"observedGeneration": 1, "fingerprint": "somebody else's"}))
    assert looked_at == [KEY] * 2


def test_a_change_that_comes_with_our_status_is_news() -> None:
    looked_at: list[Key] = []
    observed = Observed(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(1))
    model = observed.model(KEY)
    assert model is not None
    ours = {"observedGeneration": 1}
    observed.expect_status(model, TRTModelStatus.model_validate(ours))
    changed = body(2, status=ours, spec={"source": {"uri": "pvc://models/other"}})
    observed.see_model(changed)
    assert looked_at == [KEY] * 2
    namesake = body(4, uid="uid-2", status=ours)
    observed.see_model(namesake)
    assert looked_at == [KEY] * 3


def test_an_older_state_of_a_model_changes_nothing() -> None:
    looked_at: list[Key] = []
    observed = Observed(NO_CLUSTER, CATALOGUE, looked_at.append)
    observed.see_model(body(7))
    observed.see_model(body(6, spec={"source": {"uri": "pvc://models/older"}}))
    assert looked_at == [KEY]
    model = observed.model(KEY)
    assert model is not None
    assert model.spec.source.uri == "pvc://models/resnet50"
