"""What kube-proxy does, for the tests: each new connection goes to the server that is in the Service at that moment.

A process of its own: it prints the ports that it listens on, one for each port of a server, and reads the ports of
another server from standard input. Connections that are open stay where they are.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from threading import Thread


class Switch:
    """The process; `ports` are those that clients connect to."""

    def __init__(self, *targets: int) -> None:
        command = [sys.executable, __file__, json.dumps(targets)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports: list[int] = self._answer()

    def to(self, *targets: int) -> None:
        """Send new connections there."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(targets) + "\n")
        self._process.stdin.flush()
        self._answer()

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> list[int]:
        assert self._process.stdout
        ports: list[int] = json.loads(self._process.stdout.readline())
        return ports


def main() -> None:
    targets: list[int] = json.loads(sys.argv[1])
    listening = [socket.create_server(("127.0.0.1", 0), backlog=100) for _ in targets]

    def pump(source: socket.socket, sink: socket.socket) -> None:
        """One direction, until it ends; its end, too, is passed on."""
        buffer = memoryview(bytearray(1 << 18))
        with contextlib.suppress(OSError):
            while size := source.recv_into(buffer):
                sink.sendall(buffer[:size])
            sink.shutdown(socket.SHUT_WR)

    def connect(client: socket.socket, port: int) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = Thread(target=pump, args=(server, client))
        back.start()
        pump(client, server)
        back.join()
        client.close()
        server.close()

    def accept(place: int) -> None:
        while True:
            client, _ = listening[place].accept()
            Thread(target=connect, args=(client, targets[place]), daemon=True).start()

    for place in range(len(targets)):
        Thread(target=accept, args=(place,), daemon=True).start()
    ports = [one.getsockname()[1] for one in listening]
    print(json.dumps(ports), flush=True)
    for line in sys.stdin:
        targets[:] = json.loads(line)
        print(json.dumps(ports), flush=True)


if __name__ == "__main__":
    main()
