"""A build of the operator, run from the source of its checkout."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.cluster.waiting import wait_for

ROOT = Path(__file__).parents[1]
HEALTH_PORT = 18084
START_SECONDS = 60
STOP_SECONDS = 20
CONFIG = """
runtimes:
  - {name: cpu, image: "converter:test", tensorflow: 2.14.1, accelerator: None}
defaultRuntime: cpu
"""


@dataclass(frozen=True, slots=True)
class Build:
    """A checkout, and the Python whose environment its operator runs in."""

    folder: Path
    python: Path = Path(sys.executable)

    @property
    def commit(self) -> str:
        """The commit that is checked out, abbreviated as git does, with a + where files differ from it."""
        command = ["git", "-C", str(self.folder), "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @contextmanager
    def running(self, kubeconfig: Path) -> Iterator["Operator"]:
        """Have the operator of this build run, from when it is healthy.

        Raises:
            RuntimeError: it ended by itself; the message has the end of its log.
            TimeoutError: it does not become healthy.
        """
        with self.started(kubeconfig) as operator:
            operator.wait_until_healthy()
            yield operator
            operator.look()

    @contextmanager
    def started(self, kubeconfig: Path) -> Iterator["Operator"]:
        """Have the operator of this build run, from when its process is there."""
        with tempfile.TemporaryDirectory() as temporary:
            config, log = Path(temporary) / "config.yaml", Path(temporary) / "operator.log"
            config.write_text(CONFIG)
            command = [str(self.python), "-m", "tftrt_operator", "--config", str(config)]
            command += ["--health-port", str(HEALTH_PORT)]
            environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(self.folder / "operator")}
            with log.open("wb") as output:
                process = subprocess.Popen(command, cwd=temporary, env=environment, stdout=output, stderr=output)
            try:
                yield Operator(process, log)
            finally:
                _stop(process)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator that was started."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_healthy(self) -> None:
        """Wait until it says that it is ready.

        Raises:
            RuntimeError: it ended by itself; the message has the end of its log.
            TimeoutError: it does not become healthy.
        """

        def healthy() -> bool:
            self.look()
            return _is_healthy()

        wait_for("the operator is healthy", healthy, START_SECONDS)

    def look(self) -> None:
        """See that it runs.

        Raises:
            RuntimeError: it ended by itself; the message has the end of its log.
        """
        if self.process.poll() is not None:
            raise RuntimeError(f"the operator ended:\n{self.log.read_text()[-2000:]}")


def _is_healthy() -> bool:
    address = f"http://127.0.0.1:{HEALTH_PORT}"
    try:
        ready = httpx.get(f"{address}/readyz", timeout=5).status_code
        if ready == 404:  # an older build, which has one answer for both
            ready = httpx.get(f"{address}/healthz", timeout=5).status_code
        return ready == 200
    except httpx.TransportError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
