"""Servers of the tests, each answering in threads of its own."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TcpServer(socketserver.ThreadingTCPServer):
    """On a free port of this machine; nobody waits for connections that are still open when it ends."""

    daemon_threads = True

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)


@contextmanager
def listening(server: socketserver.TCPServer) -> Iterator[int]:
    """Have a server answer until the end; its port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
