"""What the only module that talks to the API server makes of one that refuses, delays, breaks off and says nonsense."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client
from kubernetes.aio.config import kube_config

from tftrt_operator.api import API_VERSION, PLURAL
from tftrt_operator.controller import cluster as cluster_module
from tftrt_operator.controller.cluster import ApiError, Cluster, Page, WatchEvent
from tftrt_operator.controller.metrics import Metrics
from tftrt_operator.domain.manifest import Manifest
from tftrt_operator.domain.observation import Reference

from .fake_api_server import (
    Answer,
    End,
    FakeApiServer,
    feed_of,
    hangs_up,
    is_silent,
    refuses,
    says,
    status_object,
    streams,
)
from .fake_cluster import config_map

TOO_LONG_SECONDS = 10
"""What has not come by then will not come."""
MODEL = Reference("TRTModel", "default", "resnet50", "uid-1")
MODEL_PATH = f"/apis/{API_VERSION}/namespaces/default/{PLURAL}/resnet50"
JOB = Reference("Job", "default", "convert", "uid-2")
JOB_PATH = "/apis/batch/v1/namespaces/default/jobs/convert"
CONFIG_MAP = Manifest({"apiVersion": "v1", "data": {"words": "größer"}, **config_map("a", 1)})
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
EVENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "resnet50.ready", "namespace": "default"},
    "count": 1,
    "lastTimestamp": "2026-01-01T00:00:00Z",
}
EVENTS = "/api/v1/namespaces/default/events"
EVENT_PATH = f"{EVENTS}/resnet50.ready"
HTML = b"<html>502 Bad Gateway</html>"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client heeds $HTTP_PROXY, and a proxy knows nothing of a server on this machine.
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as started:
        yield started


@pytest.fixture
async def cluster(server: FakeApiServer) -> AsyncIterator[Cluster]:
    connection = connection_to(server.address)
    yield connection
    await connection.close()


def connection_to(address: str) -> Cluster:
    return Cluster(client.ApiClient(client.Configuration(host=address)), Metrics())


async def refusal(request: Awaitable[object]) -> tuple[int, str, str]:
    """What a request is refused with."""
    async with asyncio.timeout(TOO_LONG_SECONDS):
        with pytest.raises(ApiError) as caught:
            await request
    return caught.value.status, caught.value.reason, caught.value.message


def watch(cluster: Cluster) -> AsyncIterator[WatchEvent]:
    return cluster.watch("ConfigMap", "a=b", "7")


async def watched(cluster: Cluster) -> list[WatchEvent]:
    """All that a watch brings until it ends."""
    async with asyncio.timeout(TOO_LONG_SECONDS):
        return [event async for event in watch(cluster)]


async def next_of(events: AsyncIterator[WatchEvent]) -> WatchEvent:
    async with asyncio.timeout(TOO_LONG_SECONDS):
        return await anext(events)


def line(name: str = "a", *, kind: str = "ADDED") -> bytes:
    """An event as it comes, as UTF-8 and not escaped."""
    return json.dumps({"type": kind, "object": config_map(name, 1)}, ensure_ascii=False).encode() + b"\n"


def added(*names: str) -> list[WatchEvent]:
    return [WatchEvent("ADDED", config_map(name, 1)) for name in names]


# Refusals and broken answers


async def test_what_is_absent_is_none(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(404, "NotFound", 'jobs.batch "convert" not found')]
    assert await cluster.get(JOB) is None


async def test_what_is_there_is_given_as_it_is(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says({"kind": "Job", "spec": {"words": "größer", "nothing": None}})]
    assert await cluster.get(JOB) == {"kind": "Job", "spec": {"words": "größer", "nothing": None}}
    assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [("GET", JOB_PATH, None)]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden"), (429, "TooManyRequests"), (500, "InternalError")],
)
async def test_another_refusal_has_its_status_its_reason_and_the_servers_own_words(
    server: FakeApiServer, cluster: Cluster, status: int, reason: str
) -> None:
    server.answers = [refuses(status, reason, "this is why")]
    assert await refusal(cluster.get(JOB)) == (status, reason, "this is why")
    assert len(server.asked) == 1, "when it is tried again is the caller's decision"


async def test_a_refusal_that_is_no_json_is_told_by_its_first_words(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says(HTML + b"\xff" + b"." * 10_000, 502)]
    status, reason, message = await refusal(cluster.get(JOB))
    assert (status, reason) == (502, "")
    assert message.startswith(HTML.decode())
    assert len(message) == 500


async def test_what_the_schema_does_not_allow_is_refused_by_status_though_the_apply_is_answered_with_500(
    server: FakeApiServer, cluster: Cluster
) -> None:
    server.answers = [
        refuses(500, "", "some words of some release"),
        refuses(400, "BadRequest", 'strict decoding error: unknown field "data.c"'),
    ]
    told = await refusal(cluster.apply(CONFIG_MAP, force=True))
    assert told == (400, "BadRequest", 'strict decoding error: unknown field "data.c"')
    tried = server.asked[1]
    assert (tried.method, tried.query["dryRun"], tried.query["fieldValidation"]) == ("POST", "All", "Strict")


@pytest.mark.parametrize("tried", [says({}, 201), refuses(409, "AlreadyExists"), refuses(500), refuses(503)])
async def test_an_apply_that_a_server_in_trouble_did_not_take_is_its_trouble(
    server: FakeApiServer, cluster: Cluster, tried: Answer
) -> None:
    server.answers = [refuses(500, "InternalError", "etcd is away"), tried]
    assert await refusal(cluster.apply(CONFIG_MAP, force=True)) == (500, "InternalError", "etcd is away")


@pytest.mark.parametrize("content", [b"null", b'"bad gateway"', b"[]", b"7", b'{"message": null, "code": 500}'])
async def test_a_refusal_that_is_no_object_is_an_api_error(
    server: FakeApiServer, cluster: Cluster, content: bytes
) -> None:
    server.answers = [says(content, 500)]
    assert (await refusal(cluster.get(JOB)))[0] == 500


@pytest.mark.parametrize("content", [b"null", b"[]", b"{}"])
async def test_a_list_of_another_shape_is_an_api_error(server: FakeApiServer, cluster: Cluster, content: bytes) -> None:
    server.answers = [says(content)]
    assert (await refusal(cluster.list_page("Job")))[1] == "Unreadable"


async def test_an_answer_of_any_depth_is_read_and_its_depth_cut(server: FakeApiServer, cluster: Cluster) -> None:
    deep = b'{"kind": "Job", "deep": ' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b', "after": "[{"}'
    server.answers = [says(deep), streams(feed_of(b'{"type": "ADDED", "object": ' + deep + b"}\n"))]
    found = await cluster.get(JOB)
    assert found is not None
    assert found["after"] == "[{"
    assert (await next_of(watch(cluster))).object["after"] == "[{"


async def test_an_event_that_went_between_create_and_get_is_not_taken_for_told(
    server: FakeApiServer, cluster: Cluster
) -> None:
    server.answers = [refuses(409, "AlreadyExists"), refuses(404, "NotFound")]
    assert (await refusal(cluster.record_event(EVENT)))[0] == 409


async def test_a_name_stays_one_part_of_the_path(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says({})]
    await cluster.get(Reference("Job", "default", "../../../x?y=1"))
    assert server.asked[0].path.startswith("/apis/batch/v1/namespaces/default/jobs/")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HTML, id="a proxy's page"),
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"kind": "Jo', id="half of it"),
        pytest.param(b'{"kind": "\xff"}', id="no UTF-8"),
    ],
)
async def test_an_answer_that_is_no_json_is_an_api_error(
    server: FakeApiServer, cluster: Cluster, content: bytes
) -> None:
    server.answers = [says(content)]
    status, reason, message = await refusal(cluster.get(JOB))
    assert (status, reason) == (200, "Unreadable")
    assert message.startswith("the answer is no JSON: ")


async def test_a_server_that_is_away_was_not_reached() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens: nobody else gets this port meanwhile
        cluster = connection_to(f"http://127.0.0.1:{taken.getsockname()[1]}")
        status, reason, message = await refusal(cluster.get(JOB))
        await cluster.close()
    assert (status, reason) == (0, "Unreachable")
    assert "ClientConnectorError" in message


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: is_silent, id="with nothing"),
        pytest.param(lambda: streams(feed_of(b'{"kind": "Jo')), id="with half of it"),
    ],
)
async def test_a_server_that_does_not_answer_in_time_was_not_reached(
    server: FakeApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Answer]
) -> None:
    monkeypatch.setattr(cluster_module, "REQUEST_TIMEOUT_SECONDS", 1)
    server.answers = [answer()]
    status, reason, message = await refusal(cluster.get(JOB))
    assert (status, reason) == (0, "Unreachable")
    assert "TimeoutError" in message
    async with asyncio.timeout(TOO_LONG_SECONDS):
        await server.left.wait()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: hangs_up, id="before it begins"),
        pytest.param(lambda: streams(feed_of(b'{"kind": "Job"}', End.BROKEN)), id="before its end is told"),
        pytest.param(lambda: streams(feed_of(b'{"kind": "Jo', End.BROKEN), length=15), id="before it is whole"),
    ],
)
async def test_an_answer_that_breaks_off_is_none_and_the_next_request_goes_through(
    server: FakeApiServer, cluster: Cluster, answer: Callable[[], Answer]
) -> None:
    server.answers = [answer(), says({"kind": "Job"})]
    status, reason, _ = await refusal(cluster.create(CONFIG_MAP))
    assert (status, reason) == (0, "Unreachable")
    assert len(server.asked) == 1, "what may have been done is not asked for twice"
    assert await cluster.get(JOB) == {"kind": "Job"}


# Connecting, and where objects are


async def test_outside_a_cluster_a_kubeconfig_says_where_and_by_which_token(
    server: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kubeconfig"
    kubeconfig = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": server.address}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    path.write_text(json.dumps(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    # The client has read $KUBECONFIG when it was imported.
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    server.answers = [refuses(404)]
    cluster = await Cluster.connect(Metrics())
    await cluster.get(JOB)
    await cluster.close()
    assert server.asked[0].headers["Authorization"] == "Bearer secret"
    assert server.asked[0].headers["User-Agent"] == "tftrt-operator"


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        (MODEL, MODEL_PATH),
        (JOB, JOB_PATH),
        (Reference("Namespace", "default", "default"), "/api/v1/namespaces/default"),
        (Reference("Service", "default", "resnet50"), "/api/v1/namespaces/default/services/resnet50"),
    ],
)
async def test_an_object_is_asked_for_where_its_kind_is(
    server: FakeApiServer, cluster: Cluster, reference: Reference, path: str
) -> None:
    server.answers = [says({})]
    await cluster.get(reference)
    assert server.asked[0].path == path


@pytest.mark.parametrize(("served", "expected"), [([PLURAL], True), (["others", PLURAL], True), (["others"], False)])
async def test_a_kind_is_served_where_its_plural_is_listed(
    server: FakeApiServer, cluster: Cluster, served: list[str], expected: bool
) -> None:
    server.answers = [says({"kind": "APIResourceList", "resources": [{"name": name} for name in served]})]
    assert await cluster.serves(API_VERSION, PLURAL) is expected
    assert server.asked[0].path == f"/apis/{API_VERSION}"


async def test_a_kind_of_a_group_that_is_unknown_is_not_served(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says(b"404 page not found\n", 404)]
    assert await cluster.serves(API_VERSION, PLURAL) is False


async def test_a_server_that_will_not_say_has_not_said_no(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(503, "ServiceUnavailable", "not yet")]
    assert await refusal(cluster.serves(API_VERSION, PLURAL)) == (503, "ServiceUnavailable", "not yet")


# Writes


async def test_what_is_created_is_sent_whole_and_in_our_name(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says({"metadata": {"uid": "1"}}, 201)]
    assert await cluster.create(CONFIG_MAP) == {"metadata": {"uid": "1"}}
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.query) == ("POST", CONFIG_MAPS, {"fieldManager": "tftrt-operator"})
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.body == CONFIG_MAP.body


async def test_who_creates_what_exists_is_told(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(409, "AlreadyExists", 'configmaps "a" already exists')]
    assert await refusal(cluster.create(CONFIG_MAP)) == (409, "AlreadyExists", 'configmaps "a" already exists')


@pytest.mark.parametrize(("force", "sent"), [(True, "true"), (False, "false")])
async def test_an_apply_is_server_side_in_our_name_and_forced_only_on_demand(
    server: FakeApiServer, cluster: Cluster, force: bool, sent: str
) -> None:
    server.answers = [says({"metadata": {"uid": "1"}})]
    assert await cluster.apply(CONFIG_MAP, force=force) == {"metadata": {"uid": "1"}}
    asked = server.asked[0]
    assert (asked.method, asked.path) == ("PATCH", f"{CONFIG_MAPS}/a")
    assert asked.query == {"fieldManager": "tftrt-operator", "force": sent}
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
    assert asked.body == CONFIG_MAP.body


async def test_who_applies_over_somebody_elses_field_is_told(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(409, "Conflict", 'conflict with "kubectl": .data.words')]
    told = await refusal(cluster.apply(CONFIG_MAP, force=False))
    assert told == (409, "Conflict", 'conflict with "kubectl": .data.words')


async def test_a_status_is_for_this_very_object(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says({})]
    await cluster.apply_status(MODEL, {"observedGeneration": 3})
    asked = server.asked[0]
    assert (asked.method, asked.path) == ("PATCH", f"{MODEL_PATH}/status")
    assert asked.query == {"fieldManager": "tftrt-operator", "force": "true"}
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
    assert asked.body == {
        "apiVersion": API_VERSION,
        "kind": "TRTModel",
        "metadata": {"name": "resnet50", "namespace": "default", "uid": "uid-1"},
        "status": {"observedGeneration": 3},
    }


async def test_a_patch_is_merged_in_our_name(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says({"metadata": {"uid": "uid-2"}})]
    body = {"metadata": {"resourceVersion": "7", "finalizers": None}}
    assert await cluster.patch(JOB, body) == {"metadata": {"uid": "uid-2"}}
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.query) == ("PATCH", JOB_PATH, {"fieldManager": "tftrt-operator"})
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert asked.body == body, "a null takes the field away"


@pytest.mark.parametrize(
    ("uid", "preconditions"),
    [("uid-2", {"preconditions": {"uid": "uid-2"}}), (None, {})],
)
async def test_a_delete_is_for_this_very_object_and_what_it_owns(
    server: FakeApiServer, cluster: Cluster, uid: str | None, preconditions: dict[str, Any]
) -> None:
    server.answers = [says({})]
    await cluster.delete(Reference("Job", "default", "convert", uid))
    asked = server.asked[0]
    assert (asked.method, asked.path) == ("DELETE", JOB_PATH)
    assert asked.body == {"propagationPolicy": "Background"} | preconditions


async def test_a_delete_of_what_is_gone_already_is_no_fault(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(404, "NotFound")]
    await cluster.delete(JOB)
    assert len(server.asked) == 1


@pytest.mark.parametrize("now", [refuses(404, "NotFound"), says({"metadata": {"uid": "uid-of-another"}})])
async def test_a_delete_that_finds_another_of_the_name_is_no_fault(
    server: FakeApiServer, cluster: Cluster, now: Answer
) -> None:
    server.answers = [refuses(409, "Conflict", "the UID in the precondition"), now]
    await cluster.delete(JOB)
    assert [asked.method for asked in server.asked] == ["DELETE", "GET"]


async def test_a_conflict_over_what_is_still_there_is_no_deletion(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(409, "Conflict", "try again"), says({"metadata": {"uid": JOB.uid}})]
    assert await refusal(cluster.delete(JOB)) == (409, "Conflict", "try again")


async def test_a_delete_that_is_forbidden_is_refused(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(403, "Forbidden", "you may not")]
    assert await refusal(cluster.delete(JOB)) == (403, "Forbidden", "you may not")


# Lists


def page_body(*items: dict[str, Any], **metadata: str) -> dict[str, Any]:
    return {
        "kind": "JobList",
        "apiVersion": "batch/v1",
        "metadata": {"resourceVersion": "9"} | metadata,
        "items": items,
    }


async def test_a_list_asks_for_what_the_selector_selects_page_by_page(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says(page_body({"spec": 1}, **{"continue": "further/&="})), says(page_body({"spec": 2}))]
    first = await cluster.list_page("Job", "a=b,c in (d)")
    second = await cluster.list_page("Job", "a=b,c in (d)", first.next_page)
    assert [first.next_page, second.next_page] == ["further/&=", ""]
    assert [asked.query for asked in server.asked] == [
        {"labelSelector": "a=b,c in (d)", "limit": "500"},
        {"labelSelector": "a=b,c in (d)", "limit": "500", "continue": "further/&="},
    ]


@pytest.mark.parametrize(
    ("namespace", "path"), [(None, "/apis/batch/v1/jobs"), ("default", "/apis/batch/v1/namespaces/default/jobs")]
)
async def test_a_list_is_of_one_namespace_or_of_all(
    server: FakeApiServer, cluster: Cluster, namespace: str | None, path: str
) -> None:
    server.answers = [says(page_body())]
    await cluster.list_page("Job", namespace=namespace)
    assert server.asked[0].path == path


async def test_number_and_watch_of_one_namespace_are_asked_for_there(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says(page_body())]
    assert await cluster.count("Job", "default") == 0
    server.answers = [streams(feed_of(End.WHOLE))]
    assert [event async for event in cluster.watch("Job", "", "7", "default")] == []
    assert [asked.path for asked in server.asked] == ["/apis/batch/v1/namespaces/default/jobs"] * 2


async def test_items_of_a_list_say_what_they_are(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says(page_body({"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}))]
    kind = {"apiVersion": "batch/v1", "kind": "Job"}
    items = [kind | {"metadata": {"name": "a"}}, kind | {"metadata": {"name": "b"}}]
    assert await cluster.list_page("Job") == Page(items, "9", "")


async def test_a_list_of_nothing_is_empty(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says(page_body() | {"items": None})]
    assert await cluster.list_page("Job") == Page([], "9", "")


async def test_whose_next_page_has_expired_is_told(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says(page_body(**{"continue": "further"})), refuses(410, "Expired", "too old")]
    first = await cluster.list_page("Job")
    assert await refusal(cluster.list_page("Job", "", first.next_page)) == (410, "Expired", "too old")


# Watches


async def test_a_watch_goes_on_where_the_list_ended(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [streams(feed_of(End.WHOLE))]
    assert await watched(cluster) == []
    asked = server.asked[0]
    assert (asked.method, asked.path) == ("GET", "/api/v1/configmaps")
    assert asked.query == {
        "labelSelector": "a=b",
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "7",
        "timeoutSeconds": "300",
    }


async def test_several_events_in_one_chunk_are_several_and_a_repeated_one_is_not_left_out(
    server: FakeApiServer, cluster: Cluster
) -> None:
    server.answers = [streams(feed_of(line("a") + line("b") + line("b") + line("c", kind="BOOKMARK"), End.WHOLE))]
    assert await watched(cluster) == [*added("a", "b", "b"), WatchEvent("BOOKMARK", config_map("c", 1))]


async def test_a_line_may_be_cut_at_any_place_even_within_a_character(server: FakeApiServer, cluster: Cluster) -> None:
    whole = line("größer-als-€-𝄞")
    feed = feed_of(whole)
    server.answers = [streams(feed)]
    events = watch(cluster)
    seen = [await next_of(events)]
    for cut in range(len(whole)):
        # Each chunk is sent when what came before it has been read, so that none runs together with the next.
        feed.put_nowait(whole[cut - 1 :] + whole[:cut] if cut else whole)
        seen.append(await next_of(events))
    feed.put_nowait(whole[len(whole) - 1 :])
    feed.put_nowait(End.WHOLE)
    seen += [event async for event in events]
    assert seen == added("größer-als-€-𝄞") * (len(whole) + 2)


async def test_a_line_of_any_length_is_one_event(server: FakeApiServer, cluster: Cluster) -> None:
    long = "<" * 6 * 2**20
    server.answers = [streams(feed_of(line("before"), line(long), line("after"), End.WHOLE))]
    assert await watched(cluster) == added("before", long, "after")


@pytest.mark.parametrize("rest", [line()[:20], line()[:-1]], ids=["half of it", "all but its end"])
async def test_an_unfinished_last_line_is_no_event(server: FakeApiServer, cluster: Cluster, rest: bytes) -> None:
    server.answers = [streams(feed_of(line("a") + rest, End.WHOLE))]
    assert await watched(cluster) == added("a")


async def test_a_watch_that_breaks_off_has_not_come_to_its_end(server: FakeApiServer, cluster: Cluster) -> None:
    feed = feed_of(line("a"))
    server.answers = [streams(feed)]
    events = watch(cluster)
    assert [await next_of(events)] == added("a")
    feed.put_nowait(line("b")[:-1])
    feed.put_nowait(End.BROKEN)
    with pytest.raises((ApiError, aiohttp.ClientError)):
        await next_of(events)


async def test_a_watch_on_which_nothing_is_heard_for_too_long_has_not_come_to_its_end(
    server: FakeApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "WATCH_SILENCE_SECONDS", 0.05)
    server.answers = [streams(feed_of(line("a")))]
    events = watch(cluster)
    assert [await next_of(events)] == added("a")
    with pytest.raises((ApiError, aiohttp.ServerTimeoutError)):
        await next_of(events)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (status_object(410, "Expired", "too old resource version: 7"), (410, "Expired", "too old resource version: 7")),
        ({"kind": "Status"}, (500, "", "")),
    ],
)
async def test_an_error_in_a_watch_is_a_refusal_after_what_came_before_it(
    server: FakeApiServer, cluster: Cluster, said: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    error = json.dumps({"type": "ERROR", "object": said}).encode() + b"\n"
    server.answers = [streams(feed_of(line("a") + error + line("b")))]
    events = watch(cluster)
    assert [await next_of(events)] == added("a")
    assert await refusal(anext(events)) == expected


async def test_a_watch_may_be_refused_before_it_begins(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(403, "Forbidden", "you may not watch")]
    assert await refusal(watched(cluster)) == (403, "Forbidden", "you may not watch")


async def leaves_the_loop(events: AsyncIterator[WatchEvent]) -> None:
    async for _ in events:
        break


async def is_cancelled(events: AsyncIterator[WatchEvent]) -> None:
    seen = asyncio.Event()

    async def consume() -> None:
        async for _ in events:
            seen.set()

    task = asyncio.create_task(consume())
    await seen.wait()
    task.cancel()


@pytest.mark.parametrize("consumer", [leaves_the_loop, is_cancelled])
async def test_when_the_consumer_stops_the_connection_is_closed(
    server: FakeApiServer,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    consumer: Callable[[AsyncIterator[WatchEvent]], Awaitable[None]],
) -> None:
    send, held = cluster._send, []

    async def hold(*arguments: Any, **named: Any) -> aiohttp.ClientResponse:
        # The garbage collector would close it as well: it must not get it.
        held.append(await send(*arguments, **named))
        return held[-1]

    monkeypatch.setattr(cluster, "_send", hold)
    server.answers = [streams(feed_of(line("a")))]
    async with asyncio.timeout(TOO_LONG_SECONDS):
        await consumer(watch(cluster))
        await server.left.wait()


# The way


async def test_a_request_is_sent_without_another_thread(
    server: FakeApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, hops = asyncio.get_running_loop(), list[Any]()
    run = loop.run_in_executor

    def counted(executor: Any, call: Any, *arguments: Any) -> Any:
        hops.append(call)
        return run(executor, call, *arguments)

    monkeypatch.setattr(loop, "run_in_executor", counted)
    server.answers = [says({"kind": "Job"})]
    await cluster.get(JOB)
    assert hops == []


async def test_a_proxy_of_the_environment_is_on_the_way(server: FakeApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    server.answers = [says({"kind": "Job"})]
    connection = connection_to("http://api.example.invalid:6443")
    assert await connection.get(JOB) == {"kind": "Job"}
    await connection.close()
    server.asked.clear()
    direct = connection_to("http://127.0.0.1:1")  # of which no_proxy says that there is none on the way
    assert (await refusal(direct.get(JOB)))[:2] == (0, "Unreachable")
    assert server.asked == []
    await direct.close()


async def test_of_an_object_its_metadata_alone_is_asked_for(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says({"kind": "PartialObjectMetadata", "metadata": {"name": "convert"}})]
    assert await cluster.metadata(JOB) == {"kind": "PartialObjectMetadata", "metadata": {"name": "convert"}}
    assert server.asked[0].headers["Accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


# Events


async def test_an_event_is_created_in_our_name(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [says({}, 201)]
    await cluster.record_event(EVENT)
    asked = server.asked[0]
    assert (asked.method, asked.path, asked.query) == ("POST", EVENTS, {"fieldManager": "tftrt-operator"})
    assert asked.body == EVENT
    assert len(server.asked) == 1


@pytest.mark.parametrize(("live", "count"), [({"count": 4}, 5), ({}, 2), ({"count": None}, 2)])
async def test_an_event_that_exists_already_is_counted_once_more(
    server: FakeApiServer, cluster: Cluster, live: dict[str, Any], count: int
) -> None:
    server.answers = [refuses(409, "AlreadyExists"), says(EVENT | {"count": None} | live), says({})]
    await cluster.record_event(EVENT)
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", EVENTS),
        ("GET", EVENT_PATH),
        ("PATCH", EVENT_PATH),
    ]
    assert server.asked[-1].body == {"count": count, "lastTimestamp": EVENT["lastTimestamp"]}
    assert server.asked[-1].headers["Content-Type"] == "application/merge-patch+json"


async def test_who_counts_an_event_that_goes_meanwhile_is_told_and_may_say_it_again(
    server: FakeApiServer, cluster: Cluster
) -> None:
    server.answers = [
        refuses(409, "AlreadyExists"),
        says(EVENT),
        refuses(404, "NotFound", "it has gone"),
        says({}, 201),
    ]
    assert await refusal(cluster.record_event(EVENT)) == (404, "NotFound", "it has gone")
    await cluster.record_event(EVENT)
    assert [asked.method for asked in server.asked] == ["POST", "GET", "PATCH", "POST"]


async def test_an_event_that_is_refused_is_not_counted(server: FakeApiServer, cluster: Cluster) -> None:
    server.answers = [refuses(403, "Forbidden", "the namespace is being terminated")]
    told = await refusal(cluster.record_event(EVENT))
    assert told == (403, "Forbidden", "the namespace is being terminated")
    assert len(server.asked) == 1
