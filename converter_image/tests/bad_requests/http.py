"""How bad requests go over HTTP, and what came of each: a status, or who closed the connection."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
from collections.abc import Sequence

from tests.bad_requests.request import Question, Request

ANSWER_SECONDS = 60.0
"""After which a request counts as never answered."""
CLOSED_BY_SERVER = "closed without an answer"
CLOSED_BY_CLIENT = "the client left"


class Http:
    """One client's connection, kept alive as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)

    def infer(self, request: Request) -> tuple[str, bytes]:
        """Ask with binary data; the status and the body."""
        return self.post(request.path, request.body(), {"Inference-Header-Content-Length": len(request.header())})

    def post(self, path: str, body: bytes, headers: dict[str, int] | dict[str, str] | None = None) -> tuple[str, bytes]:
        """Send any body; the status and the answer's."""
        told = {name: str(value) for name, value in (headers or {}).items()}
        self._connection.request("POST", path, body, told)
        answer = self._connection.getresponse()
        return str(answer.status), answer.read()

    def raw(self, sent: bytes) -> str:
        """Send bytes and no more of them, on a connection of its own; the status, or how the server ended it."""
        with self._socket() as connection:
            with contextlib.suppress(ConnectionError):  # it need not read them all
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
            return _status(connection)

    def left(self, sent: bytes) -> str:
        """Send bytes and leave at once."""
        with self._socket() as connection:
            connection.sendall(sent)
            reset(connection)
        return CLOSED_BY_CLIENT

    def impatient(self, request: Request, seconds: float) -> list[str]:
        """Ask, wait so long and leave; what came of it, which is nothing where the answer was there before."""
        with self._socket() as connection:
            connection.sendall(written(request))
            connection.settimeout(seconds)
            try:
                status = _status(connection)
            except TimeoutError:
                return [CLOSED_BY_CLIENT]
        return [] if status == "200" else [status]

    def left_after(self, first: Sequence[Question], victims: Sequence[Request]) -> list[str]:
        """Send all, and leave the victims once the first of the others is answered; what came of each victim.

        Those that were answered before are none.
        """
        with contextlib.ExitStack() as stack:
            asked = [stack.enter_context(self._socket()) for _ in first]
            for connection, question in zip(asked, first):
                connection.sendall(written(question.request))
            left = [stack.enter_context(self._socket()) for _ in victims]
            for connection, request in zip(left, victims):
                connection.sendall(written(request))
            _expect_answer(asked[0], first[0])
            found = [code for connection in left if (code := _outcome_so_far(connection)) != "200"]
            for connection in left:
                reset(connection)
            for connection, question in zip(asked[1:], first[1:]):
                _expect_answer(connection, question)
        return found

    def _socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)


def written(request: Request) -> bytes:
    """A whole HTTP request."""
    return head(request, len(request.body())) + request.body()


def head(request: Request, length: int) -> bytes:
    """Its head, with a length that need not be the body's."""
    lines = [
        f"POST {request.path} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {length}",
        f"Inference-Header-Content-Length: {len(request.header())}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def reset(connection: socket.socket) -> None:
    """End a connection as a client that dies does: RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _status(connection: socket.socket) -> str:
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
    except (http.client.HTTPException, ConnectionError):
        return CLOSED_BY_SERVER
    with contextlib.suppress(http.client.HTTPException, ConnectionError):
        answer.read()
    return str(answer.status)


def _expect_answer(connection: socket.socket, question: Question) -> None:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    body = answer.read()
    # Answered in JSON whole: none of the outputs is asked for as binary.
    assert answer.status == 200, body
    assert question.is_answered_by_json(body), body


def _outcome_so_far(connection: socket.socket) -> str:
    connection.setblocking(False)
    try:
        begun = connection.recv(15)
    except BlockingIOError:
        return CLOSED_BY_CLIENT
    return begun.split(b" ")[1].decode() if begun else CLOSED_BY_SERVER
