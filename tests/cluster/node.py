"""The node: containerd, kubelet, kube-proxy and CoreDNS, and how all of it goes again."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import grpc
import yaml

from . import cgroups, processes
from .layout import Layout
from .mounts import unmount_below
from .prerequisites import find
from .progress import say
from .sysctls import remember, restore
from .waiting import wait_for

PAUSE_IMAGE = "docker.io/library/tftrt-pause:1"
NAMESPACE = "k8s.io"  # of containerd, where the kubelet's containers are


def up(layout: Layout, binaries: Path, pause_archive: Path) -> None:
    """Start what does not run, and wait until the node is ready."""
    _write_configuration(layout)
    _start_containerd(layout)
    if PAUSE_IMAGE not in _ctr(layout, "images", "ls", "-q").split():
        load_image(layout, pause_archive)
    remember(layout)
    cgroups.up(layout)
    kubelet: list[str | Path] = [binaries / "kubelet", f"--config={layout.folder / 'etc' / 'kubelet.yaml'}"]
    kubelet += [f"--kubeconfig={layout.kubeconfig('kubelet')}", f"--root-dir={layout.folder / 'kubelet'}"]
    kubelet += [f"--cert-dir={layout.folder / 'kubelet-pki'}", f"--hostname-override={layout.node}"]
    kubelet += [f"--node-ip={layout.node_address}"]
    started = None if processes.is_alive(layout, "kubelet") else datetime.now(UTC).replace(microsecond=0)
    processes.start(layout, "kubelet", kubelet)
    processes.start(layout, "proxy", [binaries / "kube-proxy", f"--config={layout.folder / 'etc' / 'proxy.yaml'}"])
    processes.start(layout, "coredns", [binaries / "coredns", "-conf", layout.folder / "etc" / "Corefile"])

    def ready() -> bool:
        if not processes.is_alive(layout, "kubelet"):
            raise RuntimeError(f"the kubelet ended:\n{processes.log_tail(layout, 'kubelet')}")
        condition = "{range .status.conditions[?(@.type=='Ready')]}{.status} {.lastHeartbeatTime}{end}"
        command = [str(binaries / "kubectl"), f"--kubeconfig={layout.kubeconfig()}", "get", "node", layout.node]
        done = subprocess.run([*command, f"-o=jsonpath={condition}"], capture_output=True, text=True, check=False)
        status, _, heartbeat = done.stdout.partition(" ")
        # What an earlier kubelet said is no news.
        return status == "True" and (started is None or datetime.fromisoformat(heartbeat) >= started)

    wait_for("the node is ready", ready, 120)
    say(f"{layout.node} ready")


def down(layout: Layout) -> None:
    """End the kubelet first, so that nothing starts again, then every container, then containerd."""
    for name in ("kubelet", "proxy", "coredns"):
        processes.stop(layout, name)
    if layout.namespace_path.exists() and (layout.folder / "containerd" / "root").exists():
        _end_containers(layout)
    unmount_below(layout.folder)
    cgroups.down(layout)
    restore(layout)


def sandbox_networks(layout: Layout) -> list[str]:
    """Return the network namespaces that containerd made for Pods, as it has them in its own records."""
    paths = set()
    for container in _ctr(layout, "containers", "ls", "-q").split():
        described = json.loads(_ctr(layout, "containers", "info", container))
        for namespace in described.get("Spec", {}).get("linux", {}).get("namespaces", []):
            if namespace["type"] == "network" and "/netns/cni-" in namespace.get("path", ""):
                paths.add(namespace["path"])
    return sorted(paths)


def _end_containers(layout: Layout) -> None:
    _start_containerd(layout)  # after a hard kill too: only containerd knows which shims are its own
    namespaces = sandbox_networks(layout)
    for task in _ctr(layout, "tasks", "ls", "-q").split():
        _ctr(layout, "tasks", "delete", "--force", task, check=False)
    wait_for("the containers end", lambda: not _ctr(layout, "tasks", "ls", "-q").split(), 30)
    shims = _shims(layout)
    for container in _ctr(layout, "containers", "ls", "-q").split():
        _ctr(layout, "containers", "delete", container, check=False)
    wait_for("the shims end", lambda: not [pid for pid in shims if processes.start_time(pid)], 30)
    processes.stop(layout, "containerd")
    for path in namespaces:
        subprocess.run(["umount", "-l", path], capture_output=True, check=False)
        Path(path).unlink(missing_ok=True)


def load_image(layout: Layout, archive: Path) -> None:
    """Import an image archive where the kubelet finds it."""
    _ctr(layout, "images", "import", "--snapshotter", "overlayfs", str(archive))


def has_image(layout: Layout, name: str) -> bool:
    """Return whether an image is there."""
    return name in _ctr(layout, "images", "ls", "-q").split()


def _socket(layout: Layout) -> Path:
    return layout.folder / "containerd" / "containerd.sock"


def _start_containerd(layout: Layout) -> None:
    processes.start(layout, "containerd", ["containerd", "-c", layout.folder / "etc" / "containerd.toml", "-l", "warn"])

    # Its runtime service, the one that the kubelet asks, and ends if it gets no answer, is initialized last.
    with grpc.insecure_channel(f"unix://{_socket(layout)}") as channel:
        version = channel.unary_unary("/runtime.v1.RuntimeService/Version")

        def answers() -> bool:
            if not processes.is_alive(layout, "containerd"):
                raise RuntimeError(f"containerd ended:\n{processes.log_tail(layout, 'containerd')}")
            try:
                version(b"", timeout=5)  # a VersionRequest without fields
            except grpc.RpcError:
                return False
            return True

        wait_for("containerd answers", answers, 30)


def _ctr(layout: Layout, *arguments: str, check: bool = True) -> str:
    command = [_program("ctr"), "-a", str(_socket(layout)), "-n", NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _program(name: str) -> str:
    return find(name) or name


def _shims(layout: Layout) -> list[int]:
    """Return the pids of this containerd's shims, which say on their command line whose they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"containerd-shim-runc-v2") and str(_socket(layout)).encode() in words:
            found.append(int(path.parent.name))
    return found


def _write_configuration(layout: Layout) -> None:
    folder = layout.folder
    for name in ("etc", "cni", "cni-data", "containerd", "volume-plugins", "pod-logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    contents = {
        "etc/resolv.conf": f"nameserver {layout.node_address}\n",
        "etc/containerd.toml": _containerd(layout),
        "etc/kubelet.yaml": yaml.safe_dump(_kubelet(layout)),
        "etc/proxy.yaml": yaml.safe_dump(_proxy(layout)),
        "etc/Corefile": _corefile(layout),
        "cni/10-bridge.conflist": json.dumps(_cni(layout)),
    }
    for name, content in contents.items():
        path = folder / name
        # kube-proxy ends when its file is written anew, even with the same content.
        if not path.exists() or path.read_text() != content:
            path.write_text(content)


def _containerd(layout: Layout) -> str:
    folder = layout.folder
    plugin = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{_socket(layout)}"
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
      [{plugin}.containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{folder}/containerd/runc"
"""


def _kubelet(layout: Layout) -> dict[str, object]:
    folder = layout.folder
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.node_address,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.certificate("ca.crt"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(layout.certificate("kubelet.crt")),
        "tlsPrivateKeyFile": str(layout.certificate("kubelet.key")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.root(layout),
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{_socket(layout)}",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "maxOpenFiles": 20000,
        "maxPods": 60,
        "resolvConf": str(folder / "etc" / "resolv.conf"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [layout.node_address],
        # Disks of test machines are small and full: only a last percent counts as pressure.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    }


def _proxy(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": layout.node_address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("proxy"))},
        "hostnameOverride": layout.node,
        "clusterCIDR": layout.pods,
        "mode": "iptables",
        # The connection table's size is the whole machine's: leave it.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "nodePortAddresses": [f"{layout.node_address}/30"],
    }


def _corefile(layout: Layout) -> str:
    return f""".:53 {{
    bind {layout.node_address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {layout.kubeconfig("coredns")}
        ttl 5
    }}
}}
"""


def _cni(layout: Layout) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": layout.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(layout.folder / "cni-data"),
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}
