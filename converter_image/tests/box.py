"""Runs the command line as a pod does: the contract's paths in a folder of the test's own, and real processes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

Mount = Callable[[Path, str], None]
"""Mounts an empty file system (tmpfs) on a folder, with these options."""

FINGERPRINT = "0123456789abcdef0123456789abcdef"
# After which something hangs, and is not only slow: a large model beside other tests takes a minute and more.
WAIT_SECONDS = 300
CPU_RUNTIME = {"name": "cpu", "accelerator": "None", "tensorflow": "2.14.1", "tensorrt": ""}


@dataclass
class Ended:
    """How a command ended."""

    code: int
    output: str
    log: str
    termination: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.termination["message"])

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]


@dataclass
class Box:
    """One conversion's world: volumes, workspace, spec."""

    root: Path
    name: str = "model"
    models: Path | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    build: str = "build-1"

    def __post_init__(self) -> None:
        self.pvc = self.root / "pvc"
        self.workspace = self.root / "workspace"
        self.secrets = self.root / "secrets"
        (self.pvc / "store").mkdir(parents=True)
        if self.models:
            (self.pvc / "models").symlink_to(self.models)
        self.spec = {
            "version": 1,
            "model": {"namespace": "default", "name": self.name},
            "fingerprint": FINGERPRINT,
            "source": {
                "uri": f"pvc://models/{self.name}",
                "signature": "serve" if self.name in {"cnn", "resnet50"} else "serving_default",
            },
            "conversion": {"precision": "FP32", "maxWorkspaceSizeBytes": 1 << 30, "batchSizes": [1, 4]},
            "runtime": CPU_RUNTIME,
            "artifacts": {"uri": "pvc://store/tftrt"},
        }

    @property
    def product(self) -> Path:
        """Where the artifact lies."""
        return self.pvc / "store/tftrt/default" / FINGERPRINT / "cpu"

    @property
    def manifest(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads((self.product / "manifest.json").read_text())
        return made

    @property
    def published(self) -> Path:
        """The folder of the build that the manifest names."""
        return self.product / "builds" / str(self.manifest["build"])

    def environment(self, log: Path) -> dict[str, str]:
        return {
            **os.environ,
            "TFTRT_PVC_ROOT": str(self.pvc),
            "TFTRT_SECRETS": str(self.secrets),
            # No test asks a cloud's metadata server who it is.
            "AWS_EC2_METADATA_DISABLED": "true",
            "TFTRT_BUILD": self.build,
            "TFTRT_TERMINATION_LOG": str(log),
            "TFTRT_ARTIFACT": str(self.product),
        }

    def command(self, step: str) -> list[str]:
        path = self.root / "spec.json"
        path.write_text(json.dumps(self.spec))
        return [sys.executable, "-m", "tftrt_runtime", step, "--spec", str(path), "--workspace", str(self.workspace)]

    def start(self, step: str) -> subprocess.Popen[str]:
        """Start a step; its log is on standard error."""
        log = self.root / "termination"
        log.unlink(missing_ok=True)
        return subprocess.Popen(
            self.command(step), env=self.environment(log), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def finish(self, process: subprocess.Popen[str]) -> Ended:
        output, text = process.communicate(timeout=WAIT_SECONDS)
        log = self.root / "termination"
        told = json.loads(log.read_text()) if log.exists() else {}
        return Ended(code=process.returncode, output=output, log=text, termination=told)

    def run(self, step: str) -> Ended:
        return self.finish(self.start(step))

    def convert_and_publish(self) -> Ended:
        """All four steps, each of which must end well; what the last one said."""
        for step in ("lookup", "fetch", "convert", "publish"):
            ended = self.run(step)
            assert ended.code == 0, ended.log
        return ended

    def serve(self) -> Server:
        return Server(self)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class Server:
    """A `tftrt serve` that runs."""

    started: ClassVar[list[Server]] = []

    def __init__(
        self,
        box: Box,
        memory_fraction: str | None = None,
        folder: str = "server",
        ports: Sequence[int] = (),
        shared_memory: str | None = None,
        within: Callable[[Sequence[str]], list[str]] = list,
        **told: Any,
    ) -> None:
        """Start it, with a /dev/shm of its own of this size (as `mount` takes it) where one is given: root may.

        `within` makes of its command the one that is run.
        """
        self.http, self.grpc, self.metrics = ports or free_ports(3)
        root = box.root / folder
        root.mkdir(exist_ok=True)
        self.log, self.termination = root / "log", root / "termination"
        self.termination.unlink(missing_ok=True)
        keys = ("version", "model", "fingerprint", "runtime")
        spec = {**{key: box.spec[key] for key in keys}, "memoryFraction": memory_fraction}
        spec["artifact"] = {"uri": box.spec["artifacts"]["uri"]}
        (root / "spec.json").write_text(json.dumps({**spec, "maxQueueDelayMicroseconds": 2000, **told}))
        environment = {
            **box.environment(self.termination),
            "TFTRT_HTTP_PORT": str(self.http),
            "TFTRT_GRPC_PORT": str(self.grpc),
            "TFTRT_METRICS_PORT": str(self.metrics),
        }
        command = within([sys.executable, "-m", "tftrt_runtime", "serve", "--spec", str(root / "spec.json")])
        if shared_memory:
            mounted = f'mount -t tmpfs -o size={shared_memory} tmpfs /dev/shm && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", mounted, "sh", *command]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log, text=True)
        self.started.append(self)

    def get(self, path: str, port: int | None = None) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.http}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def wait_until_ready(self) -> None:
        for _ in until(f"ready: {self.log}"):
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                self.get("/v2/health/ready")
                self.get("/metrics", self.metrics)  # listens a moment later
                return

    def line(self, message: str) -> dict[str, Any]:
        """The first log line with this message, waited for."""
        for _ in until(message):
            for text in self.log.read_text().splitlines():
                line: dict[str, Any] = json.loads(text) if text.endswith("}") else {}
                if line.get("message") == message:
                    return line
        raise AssertionError

    def ended(self) -> Ended:
        code = self.process.wait(WAIT_SECONDS)
        told = json.loads(self.termination.read_text()) if self.termination.exists() else {}
        return Ended(code=code, output="", log=self.log.read_text(), termination=told)

    def stop(self) -> Ended:
        self.process.terminate()
        return self.ended()


def until(what: str) -> Iterator[None]:
    """Look again every few milliseconds, until the caller leaves the loop or too much time has passed."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        yield
        time.sleep(0.02)
    raise AssertionError(f"waited {WAIT_SECONDS} s for: {what}")
