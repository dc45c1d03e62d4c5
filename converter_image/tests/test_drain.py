"""Clients that do not try again, while the servers that they ask end one after the other."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import numpy as np
import pytest
import requests
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.utils import np_to_triton_dtype

from tests.box import Box, Ended, Server, until
from tests.switch import Switch
from tftrt_runtime.serve import connections, limits
from tftrt_runtime.serve.connections import Connections, Phase

SMALL, MIDDLE, LARGE = 1_000, 5_000_000, 19_000_000
TIMEOUT = 300.0


def clients_of(server: Server) -> Connections:
    return Connections(connections.path(server.http))


def drain(server: Server) -> subprocess.Popen[bytes]:
    """Begin what the pod's preStop hook does."""
    environment = {**os.environ, "TFTRT_HTTP_PORT": str(server.http)}
    return subprocess.Popen([sys.executable, "-m", "tftrt_runtime", "drain"], env=environment)


@pytest.fixture
def server(converted: Callable[..., Box], request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(converted("two"), folder=request.node.name)
    made.wait_until_ready()
    yield made
    made.process.kill() if made.process.poll() is None else None


def asked(module: Any, size: int) -> list[Any]:
    """The inputs of a request of about this many bytes."""
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.ones((1, size // 4), np.int32),
        "extra": np.zeros((1, 3), np.float16),
        "unused": np.zeros((1, 1), np.bool_),
    }
    tensors = []
    for name, array in arrays.items():
        tensors.append(module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array)
    return tensors


def expect(size: int, answer: Any) -> None:
    assert answer.as_numpy("total")[0, 0] == size // 4 * 2
    assert answer.as_numpy("even").shape == (1, size // 4)


def grpc_calls(channel: Any, size: int) -> Callable[[], None]:
    inputs = asked(tritonclient.grpc, size)
    return lambda: expect(size, channel.infer("two", inputs))


def http_calls(port: int, size: int) -> Callable[[], None]:
    client = tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{port}", connection_timeout=TIMEOUT, network_timeout=TIMEOUT
    )
    inputs = asked(tritonclient.http, size)
    return lambda: expect(size, client.infer("two", inputs))


def posts(post: Callable[..., Any], port: int, size: int) -> Callable[[], None]:
    """Calls of a client for HTTP alone."""
    parser = tritonclient.http.InferenceServerClient
    body, head = parser.generate_request_body(asked(tritonclient.http, size))
    headers = {"Inference-Header-Content-Length": str(head)}

    def call() -> None:
        response = post(f"http://127.0.0.1:{port}/v2/models/two/infer", content=body, headers=headers)
        assert response.status_code == 200, response.text
        length = int(response.headers["Inference-Header-Content-Length"])
        expect(size, parser.parse_response_body(response.content, header_length=length))

    return call


class Load:
    """Calls, one after the other in each of several threads, until it is ended; what failed."""

    def __init__(self) -> None:
        self.answered: dict[str, int] = {}
        self.failed: list[str] = []
        self._end = Event()
        self._threads: list[Thread] = []

    def of(self, what: str, call: Callable[[], None]) -> None:
        name = f"{len(self._threads)} {what}"
        self.answered[name] = 0

        def once() -> None:
            try:
                call()
                self.answered[name] += 1
            except Exception as error:
                self.failed.append(f"{name}: {type(error).__name__}: {error}")

        def run() -> None:
            while not self._end.is_set():
                once()

        self._threads.append(Thread(target=run))
        self._threads[-1].start()

    def each_answered(self) -> None:
        """Wait until every client has an answer from now on."""
        before = dict(self.answered)
        for _ in until("an answer for every client"):
            assert self.failed == []
            if all(self.answered[name] > count for name, count in before.items()):
                return

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def test_no_request_is_lost_while_servers_take_turns(converted: Callable[..., Box]) -> None:
    servers = [Server(converted("two"), folder=f"turn-{number}") for number in range(3)]
    for server in servers:
        server.wait_until_ready()
    switch = Switch(servers[0].http, servers[0].grpc)
    web, grpc = switch.ports
    load = Load()
    with ExitStack() as stack:
        stack.callback(switch.close)
        pool = stack.enter_context(httpx.Client(timeout=TIMEOUT))
        session = stack.enter_context(requests.Session())
        stack.callback(load.end)  # before what it uses
        # Of a process, channels to one address share a connection, but for those that say that they have their own.
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        channels = [tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{grpc}", channel_args=own) for _ in range(4)]
        for channel, size in zip(channels, (SMALL, MIDDLE, LARGE), strict=False):
            load.of(f"gRPC {size}", grpc_calls(channel, size))
        for size in (SMALL, MIDDLE, MIDDLE):
            load.of(f"gRPC shared {size}", grpc_calls(channels[3], size))
        for size in (SMALL, MIDDLE, LARGE):
            load.of(f"tritonclient.http {size}", http_calls(web, size))
        for size in (SMALL, MIDDLE):
            load.of(f"httpx {size}", posts(lambda url, **told: pool.post(url, **told), web, size))
        load.of(
            f"requests {SMALL}",
            posts(lambda url, content, headers: session.post(url, content, headers=headers), web, SMALL),
        )

        for old, new in zip(servers, servers[1:], strict=False):
            load.each_answered()
            leaving = drain(old)
            # An endpoint moves within ENDPOINT_SECONDS.
            for _ in until("readiness to turn"):
                if clients_of(old).phase == Phase.LEAVING:
                    break
            switch.to(new.http, new.grpc)
            assert leaving.wait(limits.LEAST_SECONDS + limits.CALL_SECONDS + TIMEOUT) == 0
            left = clients_of(old).counts
            assert (left.connections, left.calls) == (0, 0)
            start = time.monotonic()
            ended = old.stop()
            assert ended.code == 0, ended.log
            assert "Drained" in messages(ended)
            assert time.monotonic() - start < limits.EXIT_TIMEOUT_SECONDS
        load.each_answered()
    print(load.answered)
    assert load.failed == []


def messages(ended: Ended) -> list[str]:
    return [str(line["message"]) for line in ended.lines]


def get(connection: http.client.HTTPConnection, path: str) -> http.client.HTTPResponse:
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response


def test_readiness_turns_first_and_connections_close_later(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=TIMEOUT)
    assert get(connection, "/v2/health/ready").status == 200
    socket = connection.sock
    leaving = drain(server)
    for _ in until("readiness to turn"):
        response = get(connection, "/v2/health/ready")
        if response.status == 503:
            break
    assert response.getheader("Connection") is None
    assert get(connection, "/v2/models/two/ready").status == 503
    assert get(connection, "/v2/health/live").status == 200
    for _ in until("connections to be closed"):
        response = get(connection, "/v2/models/two")
        assert response.status == 200
        if response.getheader("Connection") == "close":
            break
        assert connection.sock is socket
    assert connection.sock is None, "the client has closed it"
    assert leaving.wait(TIMEOUT) == 0
    assert clients_of(server).counts.connections == 0
    assert "Drained" in messages(server.stop())


def test_a_call_that_has_begun_is_waited_for_after_sigterm(server: Server) -> None:
    """Neither a hook nor time: half of the request comes after the signal."""
    body, head = tritonclient.http.InferenceServerClient.generate_request_body(asked(tritonclient.http, MIDDLE))
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=TIMEOUT)
    connection.putrequest("POST", "/v2/models/two/infer")
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Inference-Header-Content-Length", str(head))
    connection.endheaders(body[: len(body) // 2])
    clients = clients_of(server)
    for _ in until("the call to be seen"):
        if clients.counts.calls == 1:
            break
    server.process.terminate()
    start = time.monotonic()
    for _ in until("more than the least time"):
        if time.monotonic() - start > limits.CLOSING_SECONDS + 1:
            break
    assert clients.phase == Phase.CLOSING
    assert server.process.poll() is None
    connection.send(body[len(body) // 2 :])
    response = connection.getresponse()
    assert (response.status, response.getheader("Connection")) == (200, "close")
    response.read()
    ended = server.ended()
    assert ended.code == 0, ended.log
    assert "Drained" in messages(ended)


def test_who_never_asks_again_holds_nobody_up(server: Server) -> None:
    """Idle connections of both protocols, one of which says nothing at all."""
    web = http.client.HTTPConnection("127.0.0.1", server.http, timeout=TIMEOUT)
    assert get(web, "/v2/health/live").status == 200
    silent = http.client.HTTPConnection("127.0.0.1", server.http, timeout=TIMEOUT)
    silent.connect()
    channel = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc}")
    expect(SMALL, channel.infer("two", asked(tritonclient.grpc, SMALL)))
    start = time.monotonic()
    ended = server.stop()
    assert ended.code == 0, ended.log
    assert time.monotonic() - start < limits.EXIT_TIMEOUT_SECONDS
    assert web.sock.recv(1) == b""
    assert silent.sock.recv(1) == b""


def test_drain_without_a_server_ends_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "TFTRT_HTTP_PORT": "1"}
    command = [sys.executable, "-m", "tftrt_runtime", "drain"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "No server runs here" in done.stderr
