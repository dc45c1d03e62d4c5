"""A real control plane without nodes, and the operator from source, with the rights that the chart gives it."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.cluster import Cluster
from tests.cluster.deploy import NAMESPACE, RELEASE, account_kubeconfig
from tests.support.api import Api
from tests.support.waiting import eventually

TEST_INSTANCE = 1
HEALTH_PORT = 18080
ROOT = Path(__file__).parents[2]
STARTED = datetime.now(UTC)
CONFIG = """
runtimes:
  - name: triton
    image: converter:test
    tensorflow: 2.14.1
    tensorrt: 8.5.3.1
    accelerator: GPU
    maxComputeCapability: "9.0"
  - {name: cpu, image: "converter:test", tensorflow: 2.14.1, accelerator: None}
defaultRuntime: triton
"""


LAST = "test_rights.py"
left_out: list[pytest.Item] = []
"""Tests that this session collected and does not run."""


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    left_out.extend(items)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last, of the tests of this folder, those of what all others had the operator do."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    in_order = sorted((items[place] for place in places), key=lambda item: item.path.name == LAST)
    for place, item in zip(places, in_order, strict=True):
        items[place] = item


class OperatorProcess:
    """The operator, run from source; stopped and started as tests ask."""

    def __init__(
        self, kubeconfig: Path, folder: Path, config: str = CONFIG, port: int = HEALTH_PORT, release: str = RELEASE
    ) -> None:
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._port = port
        self._lease = f"{NAMESPACE}/{release}"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "operator.log"
        (folder / "config.yaml").write_text(config)

    def start(self) -> None:
        self.launch()
        try:
            self.wait_until_healthy()
        except BaseException:
            self.kill()  # it would answer on the port of whoever is started after it
            raise

    def wait_until_healthy(self) -> None:
        eventually(self._healthy, seconds=30)

    def launch(self) -> None:
        command = [sys.executable, "-m", "tftrt_operator", "--config", str(self._folder / "config.yaml")]
        command += ["--health-port", str(self._port), "--lease", self._lease]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, "KUBECONFIG": str(self._kubeconfig)}, stdout=log, stderr=log
            )

    def _healthy(self) -> bool:
        return self.answer("readyz")[0] == 200

    def answer(self, path: str) -> tuple[int, str]:
        """What the operator answers to a probe: status and words; 0 where it does not listen yet."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        try:
            response = httpx.get(f"http://127.0.0.1:{self._port}/{path}", timeout=10)
        except httpx.TransportError:
            return 0, ""
        return response.status_code, response.text

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(timeout=20) == 0, self.log.read_text()[-2000:]

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def ended(self, seconds: float) -> int:
        """Wait until it has ended by itself; its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=seconds)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The test cluster's control plane; taken down again only if this session brought it up."""
    found = Cluster(TEST_INSTANCE)
    was_running = found.is_running()
    try:
        if not was_running:
            found.down(purge=True)  # what an earlier session left in etcd is no part of this one
        found.up(control_plane_only=True)
        found.install_crds(ROOT / "crds")
        yield found
    finally:
        if not was_running:
            found.down()


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> Api:
    """The API server as its administrator."""
    return Api.from_kubeconfig(cluster.kubeconfig)


@pytest.fixture(scope="session")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator, running."""
    folder = tmp_path_factory.mktemp("operator")
    process = OperatorProcess(account_kubeconfig(cluster, RELEASE, folder, {}), folder)
    process.start()
    yield process
    process.stop()
    # Whatever befalls it, a cut connection too, it has a sentence for.
    faults = [line for line in process.log.read_text().splitlines() if "Traceback" in line]
    assert not faults, "\n".join(faults)[:4000]


@pytest.fixture
def bare_api(admin: Api) -> Iterator[Api]:
    """A namespace of its own, where no operator need run."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    inside = admin.within(name)
    yield inside
    # Before their namespace: its controller was seen to leave them behind as orphans when the API server restarted.
    for model in inside.list("TRTModel"):
        inside.delete("TRTModel", model["metadata"]["name"])
    admin.delete("Namespace", name)


@pytest.fixture
def api(bare_api: Api, operator: OperatorProcess) -> Api:
    """A namespace of its own, with the operator at work."""
    return bare_api
