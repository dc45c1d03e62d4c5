"""A server that cannot answer is not Ready, and is started again with its reason, while the other one answers on."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

import httpx
import numpy as np

from tests.support.api import Api, Json
from tests.support.trtmodels import conditions, message, trtmodel
from tests.support.waiting import eventually
from tests.zero_loss.clients import CLIENTS
from tests.zero_loss.images import images, totals
from tests.zero_loss.load import Traffic, under_load

from .conftest import Workspace
from .test_served_model import is_serving

SOON_SECONDS = 10
"""Within which the kubelet has told the API server of an end, and kube-proxy has heard of it, on a busy machine."""
KILL_THE_MODELS_PROCESS = """
import os, pathlib, signal
for told in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"tftrt_runtime.serve.model_process" in told.read_bytes().split(b"\\0"):
        os.kill(int(told.parent.name), signal.SIGKILL)
        print("killed")
        break
"""


@dataclass(frozen=True)
class Look:
    """What was found at a moment: whether the API server has the pod as Ready, and whether it is, and answers."""

    asked: float
    ready_pod: bool
    ready: bool
    answered: bool


class Watcher:
    """Looks at a pod again and again, past its Service."""

    def __init__(self, api: Api, pod: Json) -> None:
        self._api, self._name, self._address = api, pod["metadata"]["name"], pod["status"]["podIP"]
        self._images = images(1, 1)
        self._known = totals(self._images)
        self.looks: list[Look] = []
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator["Watcher"]:
        """It does so for a while."""
        looking = threading.Thread(target=self._look_on)
        looking.start()
        try:
            yield self
        finally:
            self._over.set()
            looking.join()

    def _look_on(self) -> None:
        while not self._over.wait(0.05):
            asked = time.monotonic()
            ready_pod = is_ready(self._api.get("Pod", self._name))
            self.looks.append(Look(asked, ready_pod, self._is("/v2/health/ready"), self._answers()))

    def _is(self, path: str) -> bool:
        try:
            return httpx.get(f"http://{self._address}:8000{path}", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _answers(self) -> bool:
        ask = CLIENTS["httpx"](self._address, "totals")
        try:
            return np.array_equal(ask(self._images), self._known)
        except httpx.HTTPError:
            return False


def servers(api: Api) -> list[Json]:
    return api.list("Pod", "app.kubernetes.io/component=server")


def is_ready(pod: Json) -> bool:
    found = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in found)


def last_end(api: Api, pod: Json) -> Json:
    """How the pod's container ended before it was started again; nothing as long as it was not."""
    (status,) = api.get("Pod", pod["metadata"]["name"])["status"]["containerStatuses"]
    found: Json = status["lastState"].get("terminated", {})
    return found if status["restartCount"] else {}


def told(api: Api, words: str) -> list[str]:
    """The messages of the TRTModel's Events that have these words."""
    found = [event for event in api.list("Event") if event["involvedObject"]["kind"] == "TRTModel"]
    return [event["message"] for event in found if words in event["message"]]


def test_a_server_whose_models_process_is_killed_is_started_again_while_the_other_one_answers(
    workspace: Workspace,
) -> None:
    api = workspace.api
    source = {"uri": "pvc://models/totals"}
    api.create(trtmodel("totals", source=source, conversion={"maxBatchSize": 8}, serving={"replicas": 2}))
    eventually(lambda: is_serving(api, "totals"), seconds=240)
    dies, stays = servers(api)

    traffic = [Traffic(client, 1, 0.05) for client in CLIENTS]
    with ExitStack() as at_work:
        load = at_work.enter_context(under_load(workspace.address("totals"), "totals", traffic))
        watched, other = (at_work.enter_context(Watcher(api, pod).watching()) for pod in (dies, stays))
        eventually(lambda: watched.looks[-1] and other.looks[-1], seconds=60)
        kill = ("--container", "server", "--", "python3", "-c", KILL_THE_MODELS_PROCESS)
        assert "killed" in workspace.kubectl("exec", dies["metadata"]["name"], *kill)
        killed = time.monotonic()
        eventually(lambda: "ServerFailed" in message(api, "Ready", "totals"), seconds=60)
        assert conditions(api, "totals")["Available"] == ("True", "ReplicasAvailable")
        end = eventually(lambda: last_end(api, dies), seconds=60)
        eventually(lambda: is_serving(api, "totals"), seconds=240)
        asked = load.asked()
        eventually(lambda: load.asked() > asked + 100, seconds=60)
        outcomes = load.end()

    assert end["exitCode"] == 35
    assert json.loads(end["message"])["reason"] == "ServerFailed"
    assert "was ended by SIGKILL" in json.loads(end["message"])["message"]
    assert [pod["metadata"]["uid"] for pod in servers(api)] == [pod["metadata"]["uid"] for pod in (dies, stays)]
    assert last_end(api, stays) == {}
    assert any("SIGKILL" in words for words in told(api, "ServerFailed")), api.list("Event")

    after = [look for look in watched.looks if look.asked > killed + SOON_SECONDS]
    assert [look for look in after if (look.ready_pod or look.ready) and not look.answered] == []
    assert [look for look in watched.looks if look.asked > killed and not look.ready_pod], "it was never not Ready"
    assert watched.looks[-1].answered
    assert [look for look in other.looks if not (look.ready_pod and look.ready and look.answered)] == []

    # A connection that led to the one that died breaks, and none after.
    failures = [failure for one in outcomes for failure in one.failures]
    assert all("wrong answer" not in failure.words for failure in failures), failures
    assert len(failures) < 10 * len(traffic), failures
    requests = sum(one.requests for one in outcomes)
    print(f"{requests} requests, {len(failures)} failed when a server of two died: {failures}")


def test_a_server_that_the_kernel_kills_at_its_limit_of_memory_says_so_and_is_started_again(
    workspace: Workspace,
) -> None:
    api = workspace.api
    limit = {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    api.create(trtmodel("tiny", source={"uri": "pvc://models/tiny"}, serving={"resources": limit}))
    eventually(lambda: is_serving(api, "tiny"), seconds=240)
    (server,) = servers(api)

    # What is sent lies in the server's memory until the last byte has come: 3 GiB in all.
    with repeated(lambda: post_zeros(server["status"]["podIP"], ZEROS), threads=24):
        end = eventually(lambda: last_end(api, server), seconds=120)
    assert end["reason"] == "OOMKilled" or json.loads(end["message"])["reason"] == "OutOfMemory", end
    eventually(lambda: told(api, "OutOfMemory"), seconds=30)
    assert any("spec.serving.resources" in words for words in told(api, "OutOfMemory"))
    eventually(lambda: is_serving(api, "tiny"), seconds=240)


ZEROS = bytes(2**27)


@contextmanager
def repeated(act: Callable[[], None], threads: int) -> Iterator[None]:
    """Have threads do something again and again."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            act()

    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in started:
            thread.join()


def post_zeros(address: str, zeros: bytes) -> None:
    """Send these bytes over HTTP, if they are taken."""
    connection = HTTPConnection(address, 8000, timeout=20)
    with suppress(OSError, HTTPException):
        connection.request("POST", "/v2/models/tiny/infer", zeros)
        connection.getresponse().read()
    connection.close()
