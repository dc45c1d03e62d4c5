"""A node: containerd, kubelet and kube-proxy, and how all of it goes again."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import yaml

from . import certificates, cgroups, devices, node_images, processes
from .ctr import ctr, program, socket
from .layout import NodeLayout
from .mounts import unmount_below
from .progress import say
from .waiting import wait_for

PAUSE_IMAGE = "docker.io/library/tftrt-pause:1"


def up(node: NodeLayout, binaries: Path, pause_archive: Path) -> None:
    """Start what does not run, and wait until the node is ready."""
    certificates.make_kubelet(node)
    _write_configuration(node)
    _start_containerd(node)
    if not node_images.has(node, PAUSE_IMAGE):
        node_images.load(node, pause_archive)
    cgroups.up(node)
    kubelet: list[str | Path] = [binaries / "kubelet", f"--config={node.folder / 'etc' / 'kubelet.yaml'}"]
    kubelet += [f"--kubeconfig={node.kubeconfig('kubelet')}", f"--root-dir={node.folder / 'kubelet'}"]
    kubelet += [f"--cert-dir={node.folder / 'kubelet-pki'}", f"--hostname-override={node.name}"]
    kubelet += [f"--node-ip={node.address}"]
    started = None if processes.is_alive(node, "kubelet") else datetime.now(UTC).replace(microsecond=0)
    processes.start(node, "kubelet", kubelet)
    processes.start(node, "proxy", [binaries / "kube-proxy", f"--config={node.folder / 'etc' / 'proxy.yaml'}"])

    def ready() -> bool:
        if not processes.is_alive(node, "kubelet"):
            raise RuntimeError(f"the kubelet ended:\n{processes.log_tail(node, 'kubelet')}")
        condition = "{range .status.conditions[?(@.type=='Ready')]}{.status} {.lastHeartbeatTime}{end}"
        command = [str(binaries / "kubectl"), f"--kubeconfig={node.cluster.kubeconfig()}", "get", "node", node.name]
        done = subprocess.run([*command, f"-o=jsonpath={condition}"], capture_output=True, text=True, check=False)
        status, _, heartbeat = done.stdout.partition(" ")
        # What an earlier kubelet said is no news.
        return status == "True" and (started is None or datetime.fromisoformat(heartbeat) >= started)

    wait_for(f"{node.name} is ready", ready, 120)
    say(f"{node.name} ready")


def down(node: NodeLayout) -> None:
    """End the kubelet first, so that nothing starts again, then every container, then containerd."""
    for name in ("kubelet", "proxy"):
        processes.stop(node, name)
    if node.namespace_path.exists() and (node.folder / "containerd" / "root").exists():
        _end_containers(node)
    unmount_below(node.folder)
    cgroups.down(node)


def sandbox_networks(node: NodeLayout) -> list[str]:
    """Return the network namespaces that containerd made for Pods, as it has them in its own records."""
    paths = set()
    for container in ctr(node, "containers", "ls", "-q").split():
        described = json.loads(ctr(node, "containers", "info", container))
        for namespace in described.get("Spec", {}).get("linux", {}).get("namespaces", []):
            if namespace["type"] == "network" and "/netns/cni-" in namespace.get("path", ""):
                paths.add(namespace["path"])
    return sorted(paths)


def _end_containers(node: NodeLayout) -> None:
    _start_containerd(node)  # after a hard kill too: only containerd knows which shims are its own
    namespaces = sandbox_networks(node)
    for task in ctr(node, "tasks", "ls", "-q").split():
        ctr(node, "tasks", "delete", "--force", task, check=False)
    wait_for("the containers end", lambda: not ctr(node, "tasks", "ls", "-q").split(), 30)
    shims = _shims(node)
    for container in ctr(node, "containers", "ls", "-q").split():
        ctr(node, "containers", "delete", container, check=False)
    _end_shims(shims)
    processes.stop(node, "containerd")
    for path in namespaces:
        subprocess.run(["umount", "-l", path], capture_output=True, check=False)
        Path(path).unlink(missing_ok=True)


def _end_shims(shims: Sequence[int]) -> None:
    """Wait until the shims of containers that have ended do so as well; one that containerd has forgotten is killed."""

    def left() -> list[int]:
        return [pid for pid in shims if processes.start_time(pid)]

    try:
        wait_for("the shims end by themselves", lambda: not left(), 10)
    except TimeoutError:
        for pid in left():
            say(f"containerd has forgotten the shim {pid}: it is killed")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for("the shims end", lambda: not left(), 30)


def _start_containerd(node: NodeLayout) -> None:
    processes.start(node, "containerd", ["containerd", "-c", node.folder / "etc" / "containerd.toml", "-l", "warn"])

    # Its runtime service, the one that the kubelet asks, and ends if it gets no answer, is initialized last.
    with grpc.insecure_channel(f"unix://{socket(node)}") as channel:
        version = channel.unary_unary("/runtime.v1.RuntimeService/Version")

        def answers() -> bool:
            if not processes.is_alive(node, "containerd"):
                raise RuntimeError(f"containerd ended:\n{processes.log_tail(node, 'containerd')}")
            try:
                version(b"", timeout=5)  # a VersionRequest without fields
            except grpc.RpcError:
                return False
            return True

        wait_for("containerd answers", answers, 30)


def _shims(node: NodeLayout) -> list[int]:
    """Return the pids of this containerd's shims, which say on their command line whose they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"containerd-shim-runc-v2") and str(socket(node)).encode() in words:
            found.append(int(path.parent.name))
    return found


def _write_configuration(node: NodeLayout) -> None:
    folder = node.folder
    for name in ("etc", "cni", "cni-data", "containerd", "volume-plugins", "pod-logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    devices.make_place(node)
    contents = {
        "etc/resolv.conf": f"nameserver {node.cluster.control_plane_address}\n",
        "etc/containerd.toml": _containerd(node),
        "etc/runtime-spec.json": json.dumps(_runtime_spec(node)),
        "etc/kubelet.yaml": yaml.safe_dump(_kubelet(node)),
        "etc/proxy.yaml": yaml.safe_dump(_proxy(node)),
        "cni/10-bridge.conflist": json.dumps(_cni(node)),
    }
    for name, content in contents.items():
        path = folder / name
        # kube-proxy ends when its file is written anew, even with the same content.
        if not path.exists() or path.read_text() != content:
            path.write_text(content)


def _containerd(node: NodeLayout) -> str:
    folder = node.folder
    plugin = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{socket(node)}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd/opt"
[{plugin}]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE a lower score is refused, and no sandbox starts.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [{plugin}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [{plugin}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [{plugin}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      base_runtime_spec = "{folder}/etc/runtime-spec.json"
      [{plugin}.containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{folder}/containerd/runc"
"""


def _runtime_spec(node: NodeLayout) -> dict[str, object]:
    """What every container of the node begins with: containerd's own default, and the place of the node's GPU."""
    done = subprocess.run([program("ctr"), "oci", "spec"], capture_output=True, text=True, check=True)
    spec: dict[str, Any] = json.loads(done.stdout)
    place = {"source": str(node.gpu), "destination": devices.PLACE, "type": "bind", "options": ["rbind", "rw"]}
    return spec | {"mounts": [*spec["mounts"], place]}


def _kubelet(node: NodeLayout) -> dict[str, object]:
    folder = node.folder
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(node.cluster.certificate("ca.crt"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(node.certificate("kubelet.crt")),
        "tlsPrivateKeyFile": str(node.certificate("kubelet.key")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.root(node),
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{socket(node)}",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "maxOpenFiles": 20000,
        "maxPods": 60,
        "resolvConf": str(folder / "etc" / "resolv.conf"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [node.cluster.control_plane_address],
        # Disks of test machines are small and full: only a last percent counts as pressure.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    }


def _proxy(node: NodeLayout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": node.address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": str(node.cluster.kubeconfig("proxy"))},
        "hostnameOverride": node.name,
        "clusterCIDR": node.cluster.pods,
        "mode": "iptables",
        # The connection table's size is the whole machine's: leave it.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "nodePortAddresses": [node.network],
    }


def _cni(node: NodeLayout) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": node.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(node.folder / "cni-data"),
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}
