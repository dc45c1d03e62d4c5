"""How bad requests go over gRPC, and what came of each: a status code, or who closed the connection."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence

import grpc  # type: ignore[import-untyped]

from tests.bad_requests.http import ANSWER_SECONDS, CLOSED_BY_CLIENT, CLOSED_BY_SERVER, reset
from tests.bad_requests.request import Question, Request

METHOD = "/inference.GRPCInferenceService/ModelInfer"
# RFC 9113: what a client sends first, and the types of the frames after it.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_HEADERS = 4


class Grpc:
    """One client's channel; messages travel as they are given, whether or not they are protobuf."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self._call = self._channel.unary_unary(METHOD)

    def infer(self, request: Request) -> tuple[str, bytes]:
        """Ask; the status code, and the answer or the words of the refusal."""
        return self.send(request.message())

    def send(self, message: bytes, seconds: float = ANSWER_SECONDS) -> tuple[str, bytes]:
        """Send any message."""
        try:
            return "OK", self._call(message, timeout=seconds)
        except grpc.RpcError as error:
            return _code(error), str(error.details()).encode()

    def cancelled_after(self, first: Sequence[Question], victims: Sequence[Request]) -> list[str]:
        """Send all, and cancel the victims once the first of the others is answered; what came of each victim.

        Those that were answered before are none.
        """
        asked = [self._call.future(question.request.message(), timeout=ANSWER_SECONDS) for question in first]
        left = [self._call.future(request.message(), timeout=ANSWER_SECONDS) for request in victims]
        for index, (call, question) in enumerate(zip(asked, first)):
            answer = call.result()
            assert question.is_answered_by(answer), answer
            if index == 0:
                for victim in left:
                    victim.cancel()
        return [code for victim in left if (code := _code(victim)) != "OK"]

    def raw(self, sent: bytes) -> str:
        """Send bytes and no more of them to the port; how it ended, as there is no status without a call."""
        with self._socket() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        return CLOSED_BY_SERVER

    def cut_off(self, request: Request) -> str:
        """Send half of a message on a connection of its own, and leave."""
        message = request.message()
        framed = struct.pack(">BI", 0, len(message)) + message[: len(message) // 2]
        with self._socket() as connection:
            connection.sendall(PREFACE + _frame(SETTINGS, 0, 0, b""))
            connection.sendall(_frame(HEADERS, END_HEADERS, 1, _headers()) + _frame(DATA, 0, 1, framed))
            reset(connection)
        return CLOSED_BY_CLIENT

    def _socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)


def _code(call: grpc.Call) -> str:
    return str(call.code().name)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _headers() -> bytes:
    """A call's headers in HPACK (RFC 7541): two from its table, the others as literals."""
    literal = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in (
            (b":path", METHOD.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )
    return b"\x83\x86" + literal  # :method POST, :scheme http
