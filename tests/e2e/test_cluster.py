"""The embedded cluster itself: up twice is up once, up works after a hard kill, and down leaves nothing behind."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.cluster.mounts import mounts_below
from tests.cluster.node import sandbox_networks
from tests.cluster.sysctls import current
from tests.support.waiting import eventually

INSTANCE = 9
POD = """
apiVersion: v1
kind: Pod
metadata: {name: sleeper}
spec:
  containers: [{name: pause, image: "docker.io/library/tftrt-pause:1", imagePullPolicy: Never}]
"""


@pytest.fixture
def fresh() -> Iterator[Cluster]:
    cluster = Cluster(INSTANCE)
    cluster.down(purge=True)
    yield cluster
    cluster.down(purge=True)


def machine() -> dict[str, object]:
    """What a cluster may have changed on this machine."""

    def output(*command: str) -> list[str]:
        return sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    folder = Cluster(INSTANCE).layout.folder
    return {
        "links": [line.split(":")[1] for line in output("ip", "-o", "link", "show")],
        "routes": output("ip", "route", "show", "table", "all"),
        "firewall": [line for line in output("iptables-save") if not line.startswith(("#", ":"))],
        "mounts": mounts_below(folder),
        "sysctls": current(),
        "cgroups": sorted(
            str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{Cluster(INSTANCE).layout.first.namespace}*")
        ),
        "processes": processes_of(folder),
    }


def processes_of(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{folder}/" in words:
            found.append(words)
    return found


def run_a_pod(cluster: Cluster) -> None:
    eventually(lambda: cluster.kubectl("get", "serviceaccount", "default", "-o", "name"), seconds=30)
    cluster.kubectl("apply", "-f", "-", stdin=POD)
    cluster.kubectl("wait", "pod/sleeper", "--for=condition=Ready", "--timeout=60s")


def test_it_comes_up_once_survives_a_hard_kill_and_leaves_nothing_behind(fresh: Cluster) -> None:
    before = machine()
    fresh.up(gpus=2, labels={"nvidia.com/gpu.product": "NVIDIA-A10"})
    run_a_pod(fresh)
    node = fresh.layout.first.name
    assert fresh.kubectl("get", "node", node, "-o", r"jsonpath={.status.capacity.nvidia\.com/gpu}") == "2"
    assert "NVIDIA-A10" in fresh.kubectl("get", "node", node, "--show-labels")
    assert all(fresh.processes().values())

    records = {path.name: path.read_text() for path in (fresh.layout.folder / "run").iterdir()}
    fresh.up()
    assert {path.name: path.read_text() for path in (fresh.layout.folder / "run").iterdir()} == records

    for path in (fresh.layout.folder / "run").iterdir():
        os.kill(int(path.read_text().split('"pid": ')[1].split(",")[0]), signal.SIGKILL)
    eventually(lambda: not any(fresh.processes().values()))
    fresh.up()
    fresh.kubectl("delete", "pod", "sleeper", "--grace-period=1", "--wait")
    run_a_pod(fresh)

    inside = ["nsenter", f"--net={fresh.layout.namespace_path}", "ip", "route", "show", "default"]
    assert subprocess.run(inside, capture_output=True, text=True, check=True).stdout == "", "nothing leaves the machine"

    namespaces = [*map(Path, sandbox_networks(fresh.layout.first)), fresh.layout.namespace_path]
    assert len(namespaces) >= 2
    fresh.down()
    assert machine() == before
    assert not [path for path in namespaces if path.exists()]
    fresh.down()


def test_a_pid_that_belongs_to_somebody_else_is_not_touched(fresh: Cluster) -> None:
    run = fresh.layout.folder / "run"
    run.mkdir(parents=True)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (run / "etcd.json").write_text(f'{{"pid": {bystander.pid}, "start_time": 1}}')
        fresh.down()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_what_is_missing_is_one_clear_sentence(tmp_path: Path) -> None:
    import sys

    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-m", "tests.cluster", "up"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 2
    assert done.stderr == "tests.cluster: the embedded cluster needs root: run it as root, or with sudo\n"
