"""The library that ends tritonserver's connections, between sockets that the tests hold on both sides."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import free_ports, until
from tftrt_runtime.contract.errors import ServerFailed, StoreUnavailable
from tftrt_runtime.serve import connections
from tftrt_runtime.serve.connections import Connections, Phase

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GOAWAY = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


HELLO = frame(SETTINGS, 0, 0)


class Pair:
    """A connection: `client` is the test's end, the other one is in the process with the library."""

    def __init__(self, server: Preloaded, kind: str, send_buffer: int = 0, receive_buffer: int = 0) -> None:
        self._server = server
        self.client = socket.socket()
        if receive_buffer:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.client.settimeout(60)
        self.client.connect(("127.0.0.1", server.ports[kind]))
        self.fd = server.do("accept", kind=kind, send_buffer=send_buffer)

    def do(self, what: str, *parts: bytes, **more: Any) -> Any:
        return self._server.do(what, fd=self.fd, parts=[part.hex() for part in parts], **more)

    def ask(self, sent: bytes, how: str) -> None:
        """The client sends, the server reads it all."""
        self.client.sendall(sent)
        received = b""
        for _ in until("what was sent"):
            got = self.do(how, size=1 << 16)
            received += b"" if got == "again" else bytes.fromhex(got)
            if len(received) == len(sent):
                break
        assert received == sent

    def read(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            part = self.client.recv(size - len(received))
            assert part, "the connection ended"
            received += part
        return received

    def rest(self) -> bytes:
        """What comes after the server closes."""
        self.do("close")
        received = b""
        while part := self.client.recv(1 << 16):
            received += part
        self.client.close()
        return received

    def http(self, request: str, *response: bytes) -> bytes:
        """One request, and what the client gets for the response that the server writes at once."""
        self.ask(f"{request} HTTP/1.1\r\nHost: server\r\n\r\n".encode(), "readv")
        self.do("writev", *response)
        return self.client.recv(1 << 16)

    def has_more(self) -> bool:
        """Whether there is something to read."""
        return bool(select.select([self.client], [], [], 0)[0])

    def call_instead(self, stream: int, other: int) -> None:
        """The client gives a call up and begins another one."""
        self.ask(frame(RST_STREAM, 0, stream, bytes(4)), "recvmsg")
        self.call(other)

    def told(self) -> None:
        """The client makes calls until it is told, which a new connection is not at once: all others are older then."""
        stream = 1
        self.call(stream)
        for _ in until("the GOAWAY"):
            self.call_instead(stream, stream + 2)
            stream += 2
            if self.has_more():
                assert self.read(len(GOAWAY)) == GOAWAY
                return

    def call(self, stream: int) -> None:
        """The client begins a call."""
        self.ask(frame(HEADERS, END_HEADERS, stream, b"head") + frame(DATA, END_STREAM, stream, b"message"), "recvmsg")


class Preloaded:
    """The process with the library."""

    def __init__(self) -> None:
        http, grpc = free_ports(2)
        self.ports = {"http": http, "grpc": grpc}
        self._shared = connections.shared(http)
        self.clients: Connections = self._shared.__enter__()
        environment = {**os.environ, **connections.environment({"LD_PRELOAD": "libm.so.6"}, http, grpc)}
        script = str(Path(__file__).with_name("preloaded.py"))
        command = [sys.executable, script]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def do(self, what: str, **told: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": what, **told}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def grpc(self, **more: int) -> Pair:
        """A connection on which both sides have said hello."""
        pair = Pair(self, "grpc", **more)
        pair.ask(PREFACE + HELLO, "recvmsg")
        pair.do("sendmsg", HELLO)
        assert pair.read(len(HELLO)) == HELLO
        return pair

    def counted(self, connections: int, calls: int) -> None:
        counts = self.clients.counts
        assert (counts.connections, counts.calls) == (connections, calls)

    def close(self) -> None:
        self._process.communicate()
        self._shared.__exit__(None, None, None)


@pytest.fixture
def server() -> Iterator[Preloaded]:
    made = Preloaded()
    yield made
    made.close()


def test_the_library_is_loaded_and_its_children_do_not_get_it(server: Preloaded) -> None:
    assert server.clients.counts.listening
    environment = server.do("environment")
    # Python's copy was made after the library's constructor.
    assert environment["LD_PRELOAD"] == "libm.so.6"
    assert "TFTRT_CONNECTIONS" not in environment


def test_a_second_server_of_a_port_leaves_the_first_ones_file_alone() -> None:
    (port,) = free_ports(1)
    with connections.shared(port) as first:
        first.phase = Phase.CLOSING
        told = f"Another server of this machine has the HTTP port {port}"
        with pytest.raises(ServerFailed, match=told), connections.shared(port):
            pytest.fail("it has the file")
        assert Connections(connections.path(port)).phase == Phase.CLOSING
        assert connections.path(port).exists()
    assert not connections.path(port).exists()
    with connections.shared(port) as next_one:
        assert next_one.phase == Phase.SERVING


def test_the_file_of_a_server_that_was_killed_is_taken_over() -> None:
    (port,) = free_ports(1)
    script = f"""if True:
        import os, signal
        from tftrt_runtime.serve import connections
        with connections.shared({port}) as clients:
            clients.phase = connections.Phase.ENDING
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", script]).returncode == -signal.SIGKILL
    assert Connections(connections.path(port)).phase == Phase.ENDING
    with connections.shared(port) as clients:
        assert clients.phase == Phase.SERVING


def test_a_file_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(connections, "FOLDER", tmp_path / "none")
    with pytest.raises(StoreUnavailable, match="cannot be written"), connections.shared(8000):
        pytest.fail("it has a file")


def test_without_the_library_no_server_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "libconnections.so"
    monkeypatch.setattr(connections, "LIBRARY", broken)
    with pytest.raises(ServerFailed, match=r"connections\.so: cannot open shared object file"):
        connections.environment({}, 8000, 8001)
    broken.write_text("no library")
    with pytest.raises(ServerFailed, match="Install the package tftrt-runtime"):
        connections.environment({}, 8000, 8001)


def test_a_client_is_told_when_a_call_begins_between_frames_wherever_the_writes_end(server: Preloaded) -> None:
    frames = [
        frame(HEADERS, 0, 1, b"first part"),
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, END_HEADERS, 1, b"last"),
        frame(DATA, 0, 1, b"x" * 20),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"trailers"),
    ]
    whole = b"".join(frames)
    ends = [0] + [sum(map(len, frames[:count])) for count in (3, 4, 5)]  # no CONTINUATION follows
    pairs = [server.grpc() for _ in range(len(whole) + 1)]
    for cut, pair in enumerate(pairs):
        pair.call(1)
        if cut:
            assert pair.do("sendmsg", whole[:cut]) == cut
    server.clients.phase = Phase.CLOSING
    server.grpc().told()
    for cut, pair in enumerate(pairs):
        pair.call_instead(1, 3)
        if cut < len(whole):
            # In two parts, the first of which is shorter than a frame's head.
            assert pair.do("sendmsg", whole[cut : cut + 3], whole[cut + 3 :]) == len(whole) - cut
        pair.call_instead(3, 5)
        received = pair.rest()
        at = cut if cut in ends else len(whole)
        assert received == whole[:at] + GOAWAY + whole[at:], f"cut at {cut}"


def test_a_client_with_several_calls_at_a_time_is_told_while_answers_wait(server: Preloaded) -> None:
    pair = server.grpc()
    pair.call(1)
    pair.call(3)
    server.clients.phase = Phase.CLOSING
    server.grpc().told()
    pair.call(5)
    pair.call_instead(3, 7)
    assert not pair.has_more(), "another thread may be about to begin a call"
    answer = frame(DATA, 0, 1, b"answer")
    start = time.monotonic()
    pair.do("sendmsg", answer)
    assert time.monotonic() - start >= 0.2, "before and after"
    assert pair.read(len(GOAWAY) + len(answer)) == GOAWAY + answer
    pair.call_instead(7, 9)
    pair.do("sendmsg", frame(HEADERS, END_HEADERS | END_STREAM, 1))
    assert pair.rest() == frame(HEADERS, END_HEADERS | END_STREAM, 1), "it is told once, and what was begun goes on"


def test_an_idle_connection_is_told_at_the_end(server: Preloaded) -> None:
    grpc, http = server.grpc(), Pair(server, "http")
    server.clients.phase = Phase.ENDING
    assert grpc.read(len(GOAWAY)) == GOAWAY
    assert http.client.recv(1) == b""


def test_a_call_counts_until_it_is_answered_or_given_up(server: Preloaded) -> None:
    pair = server.grpc()
    pair.call(1)
    pair.call(3)
    pair.call(5)
    server.counted(1, 3)
    pair.do("sendmsg", frame(HEADERS, END_HEADERS, 1) + frame(DATA, 0, 1, b"answer"))
    server.counted(1, 3)
    pair.do("sendmsg", frame(HEADERS, END_HEADERS | END_STREAM, 1))
    pair.ask(frame(RST_STREAM, 0, 3, bytes(4)) + frame(RST_STREAM, 0, 1, bytes(4)), "recvmsg")
    server.counted(1, 1)
    pair.do("close")
    server.counted(0, 0)
    assert server.clients.counts.unanswered == 0, "the client left, while the server served"


def test_what_is_cut_off_in_the_end_is_counted(server: Preloaded) -> None:
    grpc, http = server.grpc(), Pair(server, "http")
    grpc.call(1)
    http.ask(b"POST /v2/models/m/infer HTTP/1.1\r\n", "readv")
    server.clients.phase = Phase.ENDING
    grpc.do("close")
    http.do("close")
    assert server.clients.counts.unanswered == 2
    server.counted(0, 0)


ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive\r\nServer: s\r\n\r\n", b"body")
READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: text/plain\r\n\r\n"
PROBES = ("GET /v2/health/ready", "GET /v2/models/resnet50/ready", "GET /v2/models/resnet50/versions/1/ready")


def test_while_a_server_serves_its_responses_are_as_they_are(server: Preloaded) -> None:
    pair = Pair(server, "http")
    assert pair.http("POST /v2/models/m/infer", *ANSWER) == b"".join(ANSWER)
    assert pair.http(PROBES[0], READY) == READY


def test_readiness_turns_before_connections_close(server: Preloaded) -> None:
    pair = Pair(server, "http")
    server.clients.phase = Phase.LEAVING
    not_ready = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nContent-Type: text/plain\r\n\r\n"
    for probe in PROBES:
        assert pair.http(probe, READY) == not_ready
    assert pair.http("GET /v2/health/live", READY) == READY
    assert pair.http("GET /v2/models/ready", READY) == READY, "of a model that is called ready"
    assert pair.http("POST /v2/models/m/infer", *ANSWER) == b"".join(ANSWER)


def test_each_response_of_a_server_that_closes_says_so_once(server: Preloaded) -> None:
    pair = Pair(server, "http")
    server.clients.phase = Phase.CLOSING
    closed = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\nServer: s\r\n\r\nbody"
    assert pair.http("POST /v2/models/m/infer", *ANSWER) == closed
    assert pair.http(PROBES[0], READY).startswith(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n")
    # An interim response is no response, and a body that looks like one is a body.
    pair.ask(b"POST /v2/models/m/infer HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", "readv")
    pair.do("writev", b"HTTP/1.1 100 Continue\r\n\r\n")
    pair.do("writev", b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n")
    server.counted(1, 1)
    pair.do("writev", b"HTTP/1.1 200 OK\r\n\r\n")
    pair.do("writev", b"is it?\n")
    server.counted(1, 0)
    pair.do("writev", b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert pair.rest() == (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 26\r\n\r\nHTTP/1.1 200 OK\r\n\r\nis it?\n"
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


def test_chunks_are_a_call_until_the_last_one(server: Preloaded) -> None:
    pair = Pair(server, "http")
    pair.ask(b"POST /v2/models/m/generate_stream HTTP/1.1\r\n\r\n", "readv")
    pair.do("writev", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    pair.do("writev", b"4\r\n", b"data", b"\r\n")
    server.counted(1, 1)
    pair.do("writev", b"0\r\n\r\n")
    server.counted(1, 0)


def test_a_head_of_which_the_socket_takes_a_part_arrives_whole(server: Preloaded) -> None:
    """The client does not read until the socket is full; the server writes as libevent does: what is left, later."""
    server.clients.phase = Phase.CLOSING
    held = 0
    for extra in range(0, 2000, 100):
        pair = Pair(server, "http", send_buffer=1, receive_buffer=1)
        pair.ask(b"POST /v2/models/m/infer HTTP/1.1\r\n\r\n", "readv")
        head = b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * (1000 + extra) + b"\r\nContent-Length: 3\r\n\r\n"
        expected = head.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") + b"end"
        count = 0
        written: Any = len(head) + 3
        while written == len(head) + 3:
            count += 1
            written = pair.do("writev", head, b"end")
        left = (head + b"end")[0 if written == "again" else written :]
        held += written == len(head) - 1
        assert pair.read(len(expected) * (count - 1)) == expected * (count - 1)
        for _ in until("the rest to be written"):
            more = pair.do("writev", left)
            left = left[0 if more == "again" else more :]
            if not left:
                break
        assert pair.rest() == expected
    assert held > 0, "no head was cut"
