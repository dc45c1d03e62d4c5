"""A process with `libconnections.so` in it that makes of its sockets the calls that it is told, as tritonserver would.

One JSON object a line on standard input, one answer a line on standard output: tests/test_connections.py.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any


def main() -> None:
    listening = {
        kind: socket.create_server(("127.0.0.1", int(os.environ[f"TFTRT_{kind.upper()}_PORT"])))
        for kind in ("http", "grpc")
    }
    accepted: dict[int, socket.socket] = {}

    def do(told: dict[str, Any]) -> Any:
        what, fd = told["do"], told.get("fd", 0)
        parts = [bytes.fromhex(part) for part in told.get("parts", [])]
        if what == "accept":
            connection, _ = listening[told["kind"]].accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if told["send_buffer"]:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, told["send_buffer"])
            connection.setblocking(False)
            accepted[connection.fileno()] = connection
            return connection.fileno()
        if what == "sendmsg":
            return accepted[fd].sendmsg(parts)
        if what == "recvmsg":
            return accepted[fd].recvmsg(told["size"])[0].hex()
        if what == "writev":
            return os.writev(fd, parts)
        if what == "readv":
            buffer = bytearray(told["size"])
            return bytes(buffer[: os.readv(fd, [buffer])]).hex()
        if what == "close":
            return accepted.pop(fd).close()
        assert what == "environment"
        return dict(os.environ)

    print("null", flush=True)  # it listens
    for line in sys.stdin:
        try:
            answer = do(json.loads(line))
        except BlockingIOError:
            answer = "again"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
