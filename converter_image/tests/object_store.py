"""A real S3 endpoint over TLS, and web servers that behave as web servers do on a bad day."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3

from tests.authority import Authority
from tests.box import Box, free_ports, until
from tests.listening import TcpServer, listening

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests-secret", "AWS_REGION": "us-east-1"}
BUCKET = "bucket"


class ObjectStore:
    """moto's S3 server in a process of its own, with one bucket."""

    def __init__(self, authority: Authority) -> None:
        (port,) = free_ports(1)
        self.authority = authority
        self.endpoint = f"https://127.0.0.1:{port}"
        tls = [str(authority.certificate), str(authority.key)]
        command = [sys.executable, "-m", "tests.moto_server", str(port), *tls]
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in until("moto's answer"):
            try:
                urllib.request.urlopen(self.endpoint, timeout=1, context=authority.trusted()).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                continue
        self._keys: Any = {
            "aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"],
            "region_name": KEYS["AWS_REGION"],
            "endpoint_url": self.endpoint,
            "verify": str(authority.file),
        }
        self.client: Any = boto3.client("s3", **self._keys)
        self.client.create_bucket(Bucket=BUCKET)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def empty(self) -> None:
        for key in self.keys():
            self.client.delete_object(Bucket=BUCKET, Key=key)

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def upload(self, folder: Path, prefix: str) -> None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def secret(self, box: Box, *roles: str) -> None:
        """Mount the Secret that opens the store where these roles have theirs."""
        for role in roles:
            secret(box, role, KEYS | self.place(self.endpoint))

    def place(self, endpoint: str) -> dict[str, str]:
        """The keys of a Secret that say where the store is, and that it is the one meant."""
        host = endpoint.removeprefix("https://")
        return {"AWS_ENDPOINT_URL": endpoint, "hosts": host, "ca.crt": self.authority.text}

    @contextmanager
    def reader(self) -> Iterator[dict[str, str]]:
        """The keys of a user who may read and not write, in a store that asks for them."""
        iam = boto3.client("iam", **self._keys)
        iam.create_user(UserName="reader")
        policy = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
        made = iam.create_access_key(UserName="reader")["AccessKey"]
        self._ask_for_keys(after=0)
        try:
            yield {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
        finally:
            self._ask_for_keys(after=1 << 60)
            iam.delete_access_key(UserName="reader", AccessKeyId=made["AccessKeyId"])
            iam.delete_user_policy(UserName="reader", PolicyName="read")
            iam.delete_user(UserName="reader")

    def _ask_for_keys(self, after: int) -> None:
        """Have moto hold users to their policies, after so many requests."""
        place, plain = f"{self.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        request = urllib.request.Request(place, data=str(after).encode(), headers=plain)
        urllib.request.urlopen(request, timeout=5, context=self.authority.trusted()).close()


def secret(box: Box, role: str, keys: dict[str, str]) -> None:
    folder = box.secrets / role
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in keys.items():
        (folder / name).write_text(value + "\n")


@dataclass
class Line:
    """A connection to a server that is cut: `cuts` times, each when the client has sent `after` bytes over it."""

    endpoint: str  # https://host:port
    cuts: int
    after: int
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[Line]:
        told = self
        host, _, port = self.endpoint.removeprefix("https://").partition(":")

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((host, int(port))) as server:
                    back = threading.Thread(target=self._back, args=(server,))
                    back.start()
                    sent = 0
                    while piece := self._received():
                        sent += len(piece)
                        if told.cuts > 0 and sent > told.after:
                            told.cuts -= 1
                            # A reset, not an orderly end.
                            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            break
                        server.sendall(piece)
                    server.shutdown(socket.SHUT_RDWR)
                    back.join()

            def _received(self) -> bytes:
                try:
                    return bytes(self.request.recv(1 << 14))
                except ConnectionError:
                    return b""

            def _back(self, server: socket.socket) -> None:
                with contextlib.suppress(OSError):
                    while piece := server.recv(1 << 14):
                        self.request.sendall(piece)
                    self.request.shutdown(socket.SHUT_WR)

        with listening(TcpServer(Handler)) as own_port:
            self.url = f"https://127.0.0.1:{own_port}"
            yield self


@dataclass
class WebServer:
    """One file on a web server.

    `breaks`: how many of the first answers end in the middle. `authorization`: the header that it asks for.
    `authority`: who vouches for it; without one, it speaks plain HTTP. `leads_to`: where every request is sent on to,
    with a cookie. `refuses`: the status of every answer. `tells`: further headers of its answers. `before`: is called
    before each answer with content, with how many there were.
    """

    content: bytes
    ranges: bool = True
    breaks: int = 0
    authorization: str | None = None
    authority: Authority | None = None
    leads_to: str | None = None
    refuses: int | None = None
    tells: dict[str, str] = field(default_factory=dict)
    before: Callable[[int], None] = lambda _count: None
    requests: list[str] = field(default_factory=list)  # the Range of each GET, or "whole"
    headers: list[dict[str, str]] = field(default_factory=list)  # of every request
    paths: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def base(self) -> str:
        """Its URL, without a path."""
        return self.url.rpartition("/")[0]

    @property
    def host(self) -> str:
        """With its port: what `hosts` of a Secret has to name."""
        return self.url.partition("://")[2].partition("/")[0]

    @contextmanager
    def running(self, name: str) -> Iterator[WebServer]:
        told = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def do_PUT(self) -> None:
                self._answer(body=True)

            def do_POST(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                told.headers.append({name.lower(): value for name, value in self.headers.items()})
                told.paths.append(self.path)
                if told.refuses is not None:
                    self.send_response(told.refuses)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if told.leads_to is not None:
                    self.send_response(307)
                    self.send_header("Location", told.leads_to)
                    self.send_header("Set-Cookie", "session=planted")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if told.authorization is not None and self.headers.get("Authorization") != told.authorization:
                    self.send_response(401)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if body:
                    told.before(len(told.requests))
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if told.ranges else None
                start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, len(told.content))
                piece = told.content[start:end]
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(piece)))
                self.send_header("Accept-Ranges", "bytes" if told.ranges else "none")
                for header, value in told.tells.items():
                    self.send_header(header, value)
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(told.content)}")
                self.end_headers()
                if not body:
                    return
                told.requests.append(asked[0] if asked else "whole")
                if told.breaks > 0 and len(piece) > 1:
                    told.breaks -= 1
                    self.wfile.write(piece[: len(piece) // 2])
                    self.close_connection = True
                    return
                self.wfile.write(piece)

            def log_message(self, *_arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self.authority is not None:
            server.socket = self.authority.serving().wrap_socket(server.socket, server_side=True)
        scheme = "http" if self.authority is None else "https"
        with listening(server) as port:
            self.url = f"{scheme}://127.0.0.1:{port}/{name}"
            yield self


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
