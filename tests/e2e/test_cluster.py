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
metadata: {{name: sleeps-on-{node}}}
spec:
  nodeName: {node}
  containers: [{{name: pause, image: "docker.io/library/tftrt-pause:1", imagePullPolicy: Never}}]
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


def run_a_pod_on_each_node(cluster: Cluster) -> None:
    eventually(lambda: cluster.kubectl("get", "serviceaccount", "default", "-o", "name"), seconds=30)
    for node in cluster.layout.nodes:
        cluster.kubectl("apply", "-f", "-", stdin=POD.format(node=node.name))
    cluster.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s")


def records(cluster: Cluster) -> dict[Path, str]:
    """What is known of the cluster's processes."""
    return {path: path.read_text() for node in cluster.layout.nodes for path in (node.folder / "run").iterdir()}


def test_it_comes_up_once_survives_a_hard_kill_and_leaves_nothing_behind(fresh: Cluster) -> None:
    before = machine()
    both = fresh.layout.nodes
    fresh.up(nodes=len(both), gpus=2, labels={"nvidia.com/gpu.product": "NVIDIA-A10"})
    run_a_pod_on_each_node(fresh)
    for node in both:
        assert fresh.kubectl("get", "node", node.name, "-o", r"jsonpath={.status.capacity.nvidia\.com/gpu}") == "2"
        assert "NVIDIA-A10" in fresh.kubectl("get", "node", node.name, "--show-labels")
    assert all(fresh.processes().values())

    first = records(fresh)
    fresh.up()
    assert records(fresh) == first

    for record in first.values():
        os.kill(int(record.split('"pid": ')[1].split(",")[0]), signal.SIGKILL)
    eventually(lambda: not any(fresh.processes().values()))
    fresh.up(nodes=len(both))
    fresh.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait")
    run_a_pod_on_each_node(fresh)

    namespaces = [node.namespace_path for node in both]
    for namespace in namespaces:
        inside = ["nsenter", f"--net={namespace}", "ip", "route", "show", "default"]
        default = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
        assert default == "", "nothing leaves the machine"
    namespaces += [Path(path) for node in both for path in sandbox_networks(node)]
    assert len(namespaces) >= 4
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
