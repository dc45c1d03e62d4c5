"""Stands for a Service: each connection to it goes to the server that the file names at that moment.

    python -m benchmarks.gpu.relay FILE HTTP_PORT GRPC_PORT

FILE has two ports of this machine, of HTTP and of gRPC; it is read at each new connection.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from pathlib import Path

BUFFER_BYTES = 1 << 18


def main(file: str, *ports: str) -> None:
    """Listen until killed."""
    listeners = [socket.create_server(("127.0.0.1", int(port)), backlog=128) for port in ports]
    threads = [
        threading.Thread(target=_accept, args=(listener, Path(file), index)) for index, listener in enumerate(listeners)
    ]
    for thread in threads:
        thread.start()


def _accept(listener: socket.socket, file: Path, index: int) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", int(file.read_text().split()[index])))
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    try:
        while read := source.recv_into(buffer):
            target.sendall(buffer[:read])
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one side has broken off, and so does the other
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(*sys.argv[1:])
