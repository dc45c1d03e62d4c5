"""A forward proxy, as networks have one that lets nobody out by themselves."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.listening import TcpServer, listening


@dataclass
class ForwardProxy:
    """It passes on what comes through CONNECT, and keeps to whom (`host:port`)."""

    asked_for: list[str] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[ForwardProxy]:
        told = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                found = re.match(rb"CONNECT (.+):(\d+) ", self.rfile.readline())
                assert found, "only HTTPS is asked for here"
                while self.rfile.readline().strip():
                    pass
                host, port = found[1].decode(), int(found[2])
                told.asked_for.append(f"{host}:{port}")
                with socket.create_connection((host, port)) as server:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=_pass_on, args=(server, self.request))
                    back.start()
                    _pass_on(self.request, server)
                    back.join()

        with listening(TcpServer(Handler)) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self


def _pass_on(reader: socket.socket, writer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := reader.recv(1 << 14):
            writer.sendall(piece)
        writer.shutdown(socket.SHUT_WR)
