"""However events come, the plan goes by what is: and what it writes once, it writes once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tftrt_operator.controller import informer
from tftrt_operator.controller.caches import Caches, Key
from tftrt_operator.controller.cluster import ApiError, Cluster, Page, WatchEvent
from tftrt_operator.domain.plan import Plan, plan
from tftrt_operator.domain.target import Target, target_of

from .builders import CATALOGUE
from .kept_api import Event, Json, KeptApi

NOW = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
NAMES = ("first", "twin", "other")


def model(name: str, **spec: Any) -> Json:
    source = {"uri": "pvc://models/other" if name == "other" else "pvc://models/resnet50"}
    body = {"source": source, "runtime": "cpu", "artifacts": {"uri": "pvc://models/tftrt"}, **spec}
    metadata = {"name": name, "generation": 1, "resourceVersion": "0"}
    return {"apiVersion": "tftrt.dev/v1alpha1", "kind": "TRTModel", "metadata": metadata, "spec": body}


class Told:
    """A cluster that tells each kind what it is to be told, then that its version is too old, and then lists."""

    def __init__(self, events: list[Event], now: KeptApi) -> None:
        self._events = events
        self._now = now
        self._lists: dict[str, int] = {}
        self._watches: dict[str, int] = {}
        self.done: set[str] = set()

    async def list_page(self, kind: str, _selector: str = "", _next: str = "", _namespace: Any = None) -> Page:
        self._lists[kind] = self._lists.get(kind, 0) + 1
        if self._lists[kind] == 1:
            return Page([], "0", "")
        return Page([_whole(body) for body in self._now.of(kind)], str(self._now.version), "")

    async def watch(
        self, kind: str, _selector: str, _version: str, _namespace: Any = None
    ) -> AsyncIterator[WatchEvent]:
        self._watches[kind] = self._watches.get(kind, 0) + 1
        if self._watches[kind] > 1:
            self.done.add(kind)
            await asyncio.Event().wait()
        for event in self._events:
            if event.kind == kind:
                yield WatchEvent(event.type, _whole(event.body))
        raise ApiError(410, "Expired", "too old resource version")


def _whole(body: Json) -> Json:
    return {"apiVersion": "v1", **body}


@pytest.fixture(autouse=True, scope="module")
def no_pauses() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(informer, "FIRST_PAUSE_SECONDS", 0.0)
        yield


async def seen(events: list[Event], now: KeptApi) -> Caches:
    """The caches after these events, and after a list of what is now."""
    cluster = Told(events, now)
    caches = Caches(cast("Cluster", cluster), CATALOGUE, lambda _key: None)
    for event in events:
        if event.kind != "TRTModel":
            continue
        metadata = event.body["metadata"]
        if event.type == "DELETED":
            caches.forget_model((metadata["namespace"], metadata["name"]), metadata["uid"])
        else:
            caches.see_model(event.body)
    kinds = {one.kind for one in caches.informers}
    running = [asyncio.create_task(one.run()) for one in caches.informers]
    while cluster.done != kinds:
        await asyncio.sleep(0)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    there = {("default", body["metadata"]["name"]): body for body in now.of("TRTModel")}
    for key, (uid, _) in caches.seen_models().items():
        if key not in there or there[key]["metadata"]["uid"] != uid:
            caches.forget_model(key, uid)
    for body in there.values():
        caches.see_model(body)
    return caches


def planned(caches: Caches, key: Key) -> Plan:
    one = caches.model(key)
    assert one is not None
    target = target_of(one, CATALOGUE)
    assert isinstance(target, Target)
    return plan(one, CATALOGUE, caches.observation(one, target), NOW)


def plans(caches: Caches) -> dict[Key, Plan]:
    """What is planned for each model."""
    return {key: planned(caches, key) for key in caches.seen_models()}


def look_and_act(api: KeptApi) -> int:
    """One pass over every model, each by what there is after the one before it; how many events came of it."""
    before = len(api.events)
    for body in api.of("TRTModel"):
        key = ("default", body["metadata"]["name"])
        made = planned(asyncio.run(seen([], api)), key)
        api.carry_out(made.writes)
        if made.status is not None:
            status = made.status.model_dump(by_alias=True, exclude_none=True, mode="json")
            api.put({**api.objects["TRTModel", key[1]], "status": status})
    return len(api.events) - before


def settle(api: KeptApi) -> None:
    """Pass by pass, until nothing is left to write."""
    for _ in range(10):
        if not look_and_act(api):
            return
    raise AssertionError("there is always something to write")


@cache
def life() -> KeptApi:
    """Three models, two of which ask for one engine, from apply to Ready, through a change, and one to its end."""
    api = KeptApi()

    def go_on() -> None:
        settle(api)
        for play in (api.start_jobs, api.finish_jobs, api.start_servers):
            play()
            settle(api)

    for name in NAMES:
        api.put(model(name))
    go_on()
    first = api.objects["TRTModel", "first"]
    spec = {**first["spec"], "conversion": {"maxBatchSize": 4}, "serving": {"replicas": 2}}
    api.put({**first, "metadata": {**first["metadata"], "generation": 2}, "spec": spec})
    go_on()
    gone = api.objects["TRTModel", "other"]
    api.delete("TRTModel", "other")
    for (kind, name), body in list(api.objects.items()):
        if any(owner["uid"] == gone["metadata"]["uid"] for owner in body["metadata"].get("ownerReferences", ())):
            api.delete(kind, name)
    settle(api)
    return api


def ready(api: KeptApi, name: str) -> bool:
    conditions = api.objects["TRTModel", name]["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def test_the_life_that_the_others_go_by_is_one() -> None:
    api = life()
    assert ready(api, "first")
    assert ready(api, "twin")
    made = [event for event in api.events if (event.kind, event.type) == ("Job", "ADDED")]
    assert len(made) == 3, "one for the twins, one for the other, and one for the change"
    assert {event.kind for event in api.events} >= {"Pod", "ConfigMap", "Deployment", "Service", "NetworkPolicy"}
    assert any(event.type == "DELETED" for event in api.events)


def at_some_time(data: st.DataObject) -> KeptApi:
    """Some time of that life, where somebody has deleted objects."""
    now = life().until(data.draw(st.integers(1, len(life().events)), "events until now"))
    kept = st.sampled_from(sorted(now.objects))
    for kind, name in data.draw(st.lists(kept, max_size=3, unique=True), "deleted by somebody"):
        now.delete(kind, name)
    return now


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_after_a_list_the_plan_is_the_same_however_events_came(data: st.DataObject) -> None:
    now = at_some_time(data)
    places = st.lists(st.integers(0, len(now.events) - 1), max_size=3 * len(now.events))
    told = [now.events[place] for place in data.draw(places, "those that came")]
    assert plans(asyncio.run(seen(told, now))) == plans(asyncio.run(seen([], now)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_a_plan_that_is_carried_out_twice_writes_once(data: st.DataObject) -> None:
    api = at_some_time(data)
    for made in plans(asyncio.run(seen([], api))).values():
        api.carry_out(made.writes)
        before = len(api.events)
        api.carry_out(made.writes)
        assert len(api.events) == before, api.events[before:]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_from_wherever_it_stands_there_is_an_end_after_which_nothing_is_written(data: st.DataObject) -> None:
    api = at_some_time(data)
    settle(api)
    before = len(api.events)
    assert look_and_act(api) == 0, api.events[before:]
